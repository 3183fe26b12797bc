#!/usr/bin/env python3
"""Words in recordings by CMU pocketsphinx, for `--recognizer "python3 tools/recognize.py WORDS.txt {list}"`.

usage: recognize.py WORDS.txt LIST.txt
WORDS.txt holds the words that may be heard, in any order and number (a free loop: no sentence grammar that would force
right answers out of noise). LIST.txt holds a path a line; a line of words is printed for each.
needs: pip install pocketsphinx numpy soundfile
"""
import os
import sys
import tempfile

import numpy as np
import pocketsphinx
import soundfile


def decoder(words):
    with tempfile.NamedTemporaryFile("w", suffix=".jsgf", delete=False) as grammar:
        grammar.write("#JSGF V1.0;\ngrammar loop;\npublic <s> = (%s)+;\n" % " | ".join(words))
    model = os.path.join(pocketsphinx.get_model_path(), "en-us")
    return pocketsphinx.Decoder(hmm=os.path.join(model, "en-us"), dict=os.path.join(model, "cmudict-en-us.dict"),
                                jsgf=grammar.name, loglevel="FATAL")


def hear(recognizer, path):
    audio, rate = soundfile.read(path, dtype="float32")
    if rate != 16000:
        sys.exit(f"recognize: {path} has {rate} Hz; this recognizer hears 16000 Hz")
    audio = np.concatenate([np.zeros(4000), audio, np.zeros(4000)])
    audio += np.random.RandomState(0).randn(len(audio)) * 1e-4  # a recognizer does not like digital silence
    pcm = (audio / max(np.abs(audio).max(), 1e-9) * 0.7 * 32767).astype(np.int16).tobytes()
    recognizer.reinit_feat()
    recognizer.start_utt()
    recognizer.process_raw(pcm, full_utt=True)
    recognizer.end_utt()
    heard = recognizer.hyp()
    return heard.hypstr if heard else ""


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    recognizer = decoder(open(sys.argv[1]).read().split())
    for line in open(sys.argv[2]):
        print(hear(recognizer, line.rstrip("\n")), flush=True)


if __name__ == "__main__":
    main()
