#!/usr/bin/env python3
"""Does the regression gate catch worse bundles, and only those? The gate on N degraded bundles and on N equal ones.

usage: gate_study.py BUNDLE OUTPUT [--lab PROGRAM] [--repeats N] [--sentences N] [--noise SHARE] [--temperature T]
All utterances are drawn at a temperature above 0, one each, so that no two evaluations are of identical bytes. Equal: the same bundle,
drawn with seed i + 1, against itself, drawn with seed i. Degraded: the bundle with Gaussian noise on every weight tensor
(degrade_bundle.py, noise seed i), drawn with seed i + 1, against the same baseline. Sentences and their recordings are those
of decode_study.py. Only the generated speech is judged. What is there already is not made again;
OUTPUT/study.json says of which arguments it is, and others are refused.
needs (Debian packages): flite, sox; (Python packages): blake3, numpy, pocketsphinx, safetensors, soundfile
"""
import argparse
import json
import os
import subprocess
import sys

import decode_study
from decode_study import PRODUCT, ROOT


def degraded(bundle, output, noise, seed):
    if not os.path.exists(output):
        script = os.path.join(ROOT, "tools", "degrade_bundle.py")
        subprocess.run([sys.executable, script, bundle, output, "--noise", str(noise), "--seed", str(seed)], check=True)
    return output


def gate(lab, new, baseline):
    """The exit code, and what got worse."""
    answer = os.path.join(new, "gate.json")
    if os.path.exists(answer):
        os.remove(answer)
    done = subprocess.run([lab, "--json", "gate", os.path.join(new, "eval.json"), os.path.join(baseline, "eval.json")],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"gate_study: the gate did not answer: {done.stderr}")
    if not os.path.exists(answer):
        sys.exit(f"gate_study: the gate ended with {done.returncode} and wrote no {answer}: {done.stderr}")
    return done.returncode, json.load(open(answer))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("output")
    parser.add_argument("--lab", default=os.path.join(ROOT, "target", "release", "harmonica-lab"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--sentences", type=int, default=60)
    parser.add_argument("--seed", type=int, default=161803)
    parser.add_argument("--noise", type=float, default=0.2)
    parser.add_argument("--temperature", type=float, default=0.6)
    asked = parser.parse_args()
    decode_study.remember(asked)
    texts = decode_study.fresh_texts(asked.seed, asked.sentences, 2500)
    suite = decode_study.write_suite(asked.output, texts)

    def spoken(bundle, name, seed):
        output = os.path.join(asked.output, name)
        settings = [f"decode.ar.temperature={asked.temperature}", "decode.best_of=1"]
        record = decode_study.evaluate(asked.lab, bundle, suite, output, [PRODUCT], settings, seed)
        return output, 100 * record["systems"][0]["word_error_rate"]["value"]

    counts = {"equal": 0, "degraded": 0}
    rates = {"equal": [], "degraded": []}
    for i in range(1, asked.repeats + 1):
        baseline, _ = spoken(asked.bundle, f"equal-{i:02d}", i)
        worse = degraded(asked.bundle, os.path.join(asked.output, f"bundle-{i:02d}"), asked.noise, i)
        for kind, (new, rate) in (("equal", spoken(asked.bundle, f"equal-{i + 1:02d}", i + 1)),
                                  ("degraded", spoken(worse, f"degraded-{i:02d}", i + 1))):
            code, record = gate(asked.lab, new, baseline)
            counts[kind] += code
            rates[kind].append(rate)
            print(f"{kind} {i}: exit code {code}, word errors {rate:.1f} %; {'; '.join(record['regressions']) or 'passed'}",
                  file=sys.stderr, flush=True)
    for kind, n in counts.items():
        span = f"{min(rates[kind]):.1f} to {max(rates[kind]):.1f} %"
        print(f"{kind}: {n} of {asked.repeats} refused, word errors {span}")
    sys.exit(0 if counts == {"equal": 0, "degraded": asked.repeats} else 1)


if __name__ == "__main__":
    main()
