#!/usr/bin/env python3
"""Word and character errors by jiwer and a bootstrap interval by numpy on random strings, for the tests of harmonica-eval.

usage: golden_errors.py crates/harmonica-eval/tests/golden/errors.json
needs: pip install jiwer numpy
The bootstrap draws are those of `RandomStream` (SplitMix64), so that the intervals are equal and not only alike.
"""
import json
import random
import sys
from importlib.metadata import version

import jiwer
import numpy as np

MASK, GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15
WORDS = "one two three open close the red blue box ball door o'clock garden".split()
N_SAMPLES = 1000


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def stream(seed, purpose, position):
    state = mix((seed + GOLDEN) & MASK)
    for byte in purpose.encode():
        state = (mix(state ^ byte) + GOLDEN) & MASK
    for value in position:
        state = (mix(state ^ mix(value + 1)) + GOLDEN) & MASK
    while True:
        state = (state + GOLDEN) & MASK
        yield mix(state)


def edits(output):
    return [output.substitutions, output.deletions, output.insertions]


def main():
    draw = random.Random(7)
    pairs, wrong, words, characters_wrong, characters = [], [], [], 0, 0
    for _ in range(120):
        reference = [draw.choice(WORDS) for _ in range(draw.randint(1, 12))]
        if draw.random() < 0.7:  # a damaged copy, else other words altogether
            heard = []
            for word in reference:
                kind = draw.random()
                if kind < 0.12:
                    continue
                heard.append(draw.choice(WORDS) if kind < 0.25 else word)
                if kind > 0.9:
                    heard.append(draw.choice(WORDS))
        else:
            heard = [draw.choice(WORDS) for _ in range(draw.randint(0, 12))]
        a, b = " ".join(reference), " ".join(heard)
        by_word = jiwer.process_words(a, b)
        by_character = jiwer.process_characters("".join(reference), "".join(heard))
        pairs.append([a, b, edits(by_word), edits(by_character)])
        wrong.append(sum(edits(by_word)))
        words.append(len(reference))
        characters_wrong += sum(edits(by_character))
        characters += len("".join(reference))
    whole = jiwer.process_words([p[0] for p in pairs], [p[1] for p in pairs])
    wrong, words, n = np.array(wrong), np.array(words), len(pairs)
    assert abs(whole.wer - wrong.sum() / words.sum()) < 1e-15
    rates = []
    for sample in range(N_SAMPLES):
        numbers = stream(0, "bootstrap", [sample])
        picked = np.array([(next(numbers) * n) >> 64 for _ in range(n)])
        rates.append(wrong[picked].sum() / words[picked].sum())
    golden = {"made_by": f"jiwer {version('jiwer')}, numpy {np.__version__}",
              "corpus_wer": whole.wer, "corpus_cer": characters_wrong / characters,
              "mean_wer": float((wrong / words).mean()), "n_samples": N_SAMPLES,
              "interval": [float(v) for v in np.percentile(rates, [2.5, 97.5])]}
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        rows = ",\n".join(json.dumps(p) for p in pairs)
        out.write(json.dumps(golden)[:-1] + f', "pairs": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
