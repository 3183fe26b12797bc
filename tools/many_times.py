"""A corpus N times as large as another one of LJSpeech layout, every recording another one.

python3 tools/many_times.py CORPUS OUTPUT N

Copies differ from the original in one sample (16-bit WAV), so that no two are the same audio.
"""

import array
import os
import sys
import wave

source, target, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.makedirs(os.path.join(target, "wavs"), exist_ok=True)
with open(os.path.join(source, "metadata.csv")) as table:
    rows = [line.rstrip("\n").split("|") for line in table]
with open(os.path.join(target, "metadata.csv"), "w") as table:
    for k in range(n):
        for row in rows:
            with wave.open(os.path.join(source, "wavs", row[0] + ".wav")) as file:
                parameters, samples = file.getparams(), array.array("h", file.readframes(file.getnframes()))
            middle = len(samples) // 2
            samples[middle] = max(-32768, min(32767, samples[middle] + 3 * k))
            with wave.open(os.path.join(target, "wavs", f"{row[0]}-{k}.wav"), "w") as file:
                file.setparams(parameters)
                file.writeframes(samples.tobytes())
            table.write("|".join([f"{row[0]}-{k}"] + row[1:]) + "\n")
