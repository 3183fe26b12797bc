#!/usr/bin/env python3
"""Fundamental frequency by Praat (autocorrelation, Boersma 1993) of nine test utterances of the demo corpus, for the tests of
`harmonica_audio::pitch_track`.

usage: golden_pitch.py assets/demo-corpus crates/harmonica-audio/tests/golden/pitch.json
needs: pip install praat-parselmouth numpy soundfile
Frame t is centred on (t + 1/2) * 10 ms; null is unvoiced.
"""
import json
import math
import sys

import parselmouth
import soundfile

VOICES, PER_VOICE, STEP_S = ("slt", "rms", "awb"), 3, 0.01


def track(samples, rate):
    pitch = parselmouth.Sound(samples.astype("float64"), sampling_frequency=rate).to_pitch_ac(
        time_step=STEP_S / 2, pitch_floor=60.0, pitch_ceiling=500.0)
    values = (pitch.get_value_at_time((t + 0.5) * STEP_S) for t in range(int(len(samples) / rate / STEP_S)))
    return [None if math.isnan(v) else round(v, 2) for v in values]


def main():
    corpus, output = sys.argv[1:]
    rows = [line.rstrip("\n").split("\t") for line in open(f"{corpus}/index.tsv", encoding="utf-8")][1:]
    utterances = []
    for voice in VOICES:
        chosen = [r for r in rows if r[1] == "test" and r[2] == voice][:PER_VOICE]
        for name, _, _, stream, first, n, _ in chosen:
            audio, rate = soundfile.read(f"{corpus}/{stream}", dtype="float32")
            first, n = int(first), int(n)
            utterances.append({"id": name, "stream": stream, "first_sample": first, "n_samples": n,
                               "f0_hz": track(audio[first:first + n], rate)})
    with open(output, "w", encoding="utf-8") as out:
        rows = ",\n".join(json.dumps(u, separators=(",", ":")) for u in utterances)
        out.write(f'{{"tracker":"Praat {parselmouth.PRAAT_VERSION}, to_pitch_ac, 60 to 500 Hz",'
                  f'"utterances":[\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
