"""Reads a run's event files with TensorBoard's own reader and says what is in them.

    python3 tools/read_events.py runs/demo/ar/tensorboard [TAG ...]

Fails if a TAG is missing, or if a sound is no WAV file or a picture none that TensorBoard shows.
"""

import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.img_mime_type_detector import from_bytes


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "audio": 0, "images": 0, "histograms": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    kinds = ("scalars", "histograms", "audio", "images")
    for tag in tags["audio"]:
        for sound in events.Audio(tag):
            assert sound.encoded_audio_string[:4] == b"RIFF", f"{tag} at {sound.step} is no WAV file"
    for tag in tags["images"]:
        for picture in events.Images(tag):
            kind = from_bytes(picture.encoded_image_string)
            assert kind.startswith("image/"), f"{tag} at {picture.step} is {kind}"
            assert picture.width > 0 and picture.height > 0, f"{tag} at {picture.step} has no size"
    for kind in kinds:
        print(f"{len(tags[kind])} {kind}: {' '.join(tags[kind])}")
    for tag in tags["scalars"]:
        if tag in ("train/cross_entropy", "valid/cross_entropy"):
            print(tag, [(s.step, round(s.value, 4)) for s in events.Scalars(tag)])
    missing = [tag for tag in sys.argv[2:] if not any(tag in tags[kind] for kind in kinds)]
    if missing:
        sys.exit(f"missing: {' '.join(missing)}")


main()
