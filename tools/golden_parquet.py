"""A small table as Hugging Face data sets are, written by pyarrow, for the tests of the `parquet` layout.

python3 tools/golden_parquet.py crates/harmonica-data/src/layouts/golden.parquet    (pyarrow 26)
"""

import io
import sys
import wave

import pyarrow as pa
import pyarrow.parquet as pq


def tone(n):
    """200 samples at 8 kHz, all of them n."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(int(n).to_bytes(2, "little", signed=True) * 200)
    return file.getvalue()


rows = [
    {"audio": {"bytes": tone(i + 1), "path": f"clips/u{i}.wav"}, "text": f"text {i}", "speaker_id": 100 + i % 2}
    for i in range(9)
]
rows[3]["text"] = None
rows[4]["text"] = " "
rows[5]["audio"]["bytes"] = None
rows[6]["audio"]["path"] = "clips/u0.wav"
audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
schema = pa.schema([("audio", audio), ("text", pa.string()), ("speaker_id", pa.int64())])
# Two rows a page, four a row group.
pq.write_table(
    pa.Table.from_pylist(rows, schema=schema),
    sys.argv[1],
    row_group_size=4,
    data_page_size=500,
    write_batch_size=2,
    use_dictionary=["text"],
    compression="snappy",
)
