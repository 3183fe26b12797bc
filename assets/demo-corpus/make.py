#!/usr/bin/env python3
"""Makes the demo corpus: four synthetic flite voices reading a closed vocabulary of 39 words.

needs (Debian packages): flite, sox, vorbis-tools
usage: python3 make.py [OUT_DIR] [--train-per-voice N] [--wav]

Writes one Vorbis stream per (voice, kind) and index.tsv with the columns
id, split, speaker, stream, start_sample, n_samples, text. Training and validation utterances are coded at quality -1
(bytes are what limits this corpus), in one stream, so that validation measures the models and not the coder; the test
streams at quality 3, because references are judged on them.
Validation and test texts never occur in training, whoever speaks them. The same seed gives the same texts and
the same waveforms; the Vorbis bytes also depend on the encoder's version. A larger N only adds utterances: the first ones and
the held-out sentences stay. --wav writes an LJSpeech layout of WAV files instead (wavs/ and metadata.csv).
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile
import wave
from concurrent.futures import ThreadPoolExecutor

VOICES = ["slt", "rms", "awb", "kal16"]
N_TRAIN, N_VALID, N_TEST = 660, 30, 30  # utterances a voice
SEED = 20
DIGITS = "zero one two three four five six seven eight nine".split()
COLOURS = "red green blue white black yellow orange purple".split()
OBJECTS = "box lamp door table window bottle garden river".split()
VERBS = "open close move find paint take bring turn".split()
PREPOSITIONS = "near under behind over".split()


class Cycle:
    """Deals words from shuffled decks, so that every slot uses each word equally often."""

    def __init__(self, words, rng):
        self.words, self.rng, self.deck = words, rng, []

    def __call__(self):
        if not self.deck:
            self.deck = self.words[:]
            self.rng.shuffle(self.deck)
        return self.deck.pop()


def sentences(seed, digit_share):
    """An endless stream of sentences; `digit_share` of them are strings of 3 to 5 digits."""
    rng = random.Random(seed)
    verb, colour, thing, place, digit = (Cycle(w, rng) for w in (VERBS, COLOURS, OBJECTS, PREPOSITIONS, DIGITS))
    while True:
        draw = rng.random()
        if draw < digit_share:
            yield " ".join(digit() for _ in range(rng.choice([3, 4, 5, 5])))
            continue
        draw = (draw - digit_share) / (1 - digit_share)
        if draw < 0.40:
            yield f"{verb()} the {colour()} {thing()}"
        elif draw < 0.70:
            yield f"{verb()} {rng.choice(DIGITS[1:])} {colour()} {thing()} {place()} the {thing()}"
        else:
            yield f"{verb()} the {colour()} {thing()} {place()} the {colour()} {thing()}"


def speak(voice, text, path):
    """16 kHz mono, silence trimmed to 50 and 80 ms, peak at -3 dBFS, no dither."""
    raw = path + ".raw.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", raw], check=True, capture_output=True)
    trim = ["silence", "1", "0.02", "0.3%", "reverse"] * 2
    subprocess.run(["sox", "-D", raw, "-r", "16000", "-c", "1", "-b", "16", path, *trim, "pad", "0.05", "0.08", "gain", "-n", "-3"], check=True)
    os.remove(raw)
    with wave.open(path) as handle:
        return handle.readframes(handle.getnframes())


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--train-per-voice", type=int, default=N_TRAIN, metavar="N")
    parser.add_argument("--wav", action="store_true")
    return parser.parse_args()


def write_wavs(jobs, out):
    """One WAV file an utterance, and `metadata.csv`: id|text|text|speaker|split."""
    wavs = os.path.join(out, "wavs")
    os.makedirs(wavs, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seconds = sum(len(pcm) for pcm in pool.map(lambda j: speak(j[0], j[3], os.path.join(wavs, j[2] + ".wav")), jobs)) / 32000
    with open(os.path.join(out, "metadata.csv"), "w") as handle:
        handle.writelines(f"{name}|{text}|{text}|{voice}|{split}\n" for voice, split, name, text in jobs)
    print(f"{len(jobs)} utterances, {seconds / 60:.1f} minutes")


def utterances(train_per_voice):
    """(voice, split, name, text) of the whole corpus."""
    held, held_stream = [], sentences(SEED, 0.25)
    while len(held) < len(VOICES) * (N_VALID + N_TEST):
        text = next(held_stream)
        if text not in held:
            held.append(text)
    jobs = []
    for number, voice in enumerate(VOICES):
        seen, stream, train = set(held), sentences(SEED + 1000 + number, 0.40), []
        while len(train) < train_per_voice:
            text = next(stream)
            if text not in seen:
                seen.add(text)
                train.append(text)
        mine = held[number :: len(VOICES)]
        for split, texts in (("train", train), ("valid", mine[:N_VALID]), ("test", mine[N_VALID:])):
            jobs += [(voice, split, f"{voice}-{split}-{i:04d}", text) for i, text in enumerate(texts)]
    return jobs


def main():
    asked = arguments()
    out, jobs = asked.out, utterances(asked.train_per_voice)
    if asked.wav:
        return write_wavs(jobs, out)
    rows, streams = [], {}
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        pcm = pool.map(lambda j: speak(j[0], j[3], os.path.join(scratch, j[2] + ".wav")), jobs)
        for (voice, split, name, text), samples in zip(jobs, pcm):
            stream = f"{voice}-{'test' if split == 'test' else 'train'}.ogg"
            buffer = streams.setdefault(stream, bytearray())
            rows.append((name, split, voice, stream, len(buffer) // 2, len(samples) // 2, text))
            buffer += samples
        for stream, buffer in streams.items():
            quality = "-1" if "train" in stream else "3"
            subprocess.run(["oggenc", "-Q", "-r", "-B", "16", "-C", "1", "-R", "16000", "-q", quality, "--serial", "1",
                            "-o", os.path.join(out, stream), "-"], input=bytes(buffer), check=True)
    with open(os.path.join(out, "index.tsv"), "w") as handle:
        handle.write("id\tsplit\tspeaker\tstream\tstart_sample\tn_samples\ttext\n")
        handle.writelines("\t".join(map(str, row)) + "\n" for row in rows)
    seconds = sum(row[5] for row in rows) / 16000
    print(f"{len(rows)} utterances, {seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
