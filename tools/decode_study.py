#!/usr/bin/env python3
"""Which way of drawing codes is best: word errors, loops and voices of one bundle under several decode settings.

usage: decode_study.py BUNDLE OUTPUT [--lab PROGRAM] [--sentences N] [--seed N] [--trained-per-voice N] [--only SETTING ...]
Sentences come from the sampler of assets/demo-corpus/make.py with another seed, without any text of that corpus at its larger
size (--trained-per-voice, default 2500: what the committed bundle was trained on); the four voices read them in turn, and flite
makes recordings of them, which are the references of speaker similarity. `harmonica-lab evaluate` speaks and judges every
setting, pocketsphinx listens (tools/recognize.py). An evaluation that is there already is not made again; OUTPUT/study.json says of
which arguments it is, and others are refused.
Prints a table in Markdown: 95 % bootstrap intervals over sentences; differences to the bundle's own settings are paired.
needs (Debian packages): flite, sox; (Python packages): numpy, pocketsphinx, soundfile
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "assets", "demo-corpus"))
import make  # noqa: E402

DIGIT_SHARE = 0.25  # as in the corpus's own held-out sentences
N_RESAMPLES = 10000
# Neither repetition-aware draws nor the guard.
UNGUARDED = ["decode.ar.repetition_window=0", "decode.ar.loop_retries=0", "decode.ar.stall_chars=0"]
GREEDY = ["decode.ar.temperature=0", "decode.best_of=1"]
DRAWN = ["decode.ar.temperature=1", "decode.best_of=1"]
COOL = ["decode.ar.temperature=0.6", "decode.best_of=1"]
SETTINGS = [
    ("default", "the bundle's own", []),
    ("greedy", "greedy", GREEDY),
    ("plain", "temperature 1, plain", [*DRAWN, *UNGUARDED]),
    ("aware-0.1", "temperature 1, repetition-aware (0.1)", [*DRAWN, "decode.ar.repetition_share=0.1"]),
    ("cool-best-of-5", "temperature 0.6, best of 5", ["decode.ar.temperature=0.6", "decode.best_of=5"]),
    ("greedy-unguarded", "greedy, no guard", [*GREEDY, *UNGUARDED]),
    ("aware-0.3", "temperature 1, repetition-aware (0.3)", DRAWN),
    ("cool", "temperature 0.6, repetition-aware (0.3)", COOL),
    ("best-of-5", "temperature 1, best of 5", ["decode.ar.temperature=1", "decode.best_of=5"]),
]
REFERENCES = ["source", "codec", "generated, codebook 1", "generated, argmax"]
PRODUCT = "generated, expected"


def fresh_texts(seed, n, trained_per_voice):
    known = {text for _, _, _, text in make.utterances(trained_per_voice)}
    known |= {line.rstrip("\n").split("\t")[-1] for line in open(os.path.join(ROOT, "assets", "demo-corpus", "index.tsv"))}
    stream, texts = make.sentences(seed, DIGIT_SHARE), []
    while len(texts) < n:
        text = next(stream)
        if text not in known:
            known.add(text)
            texts.append(text)
    return texts


def content(bundle):
    """A hash of all files of a bundle."""
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(bundle):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            with open(path, "rb") as handle:
                digest.update(f"{os.path.relpath(path, bundle)}\n{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def remember(asked):
    """Writes what a study was asked for to its study.json; a rerun with anything else would mix two studies."""
    arguments = {key: value for key, value in vars(asked).items() if key not in ("bundle", "output", "lab", "only")}
    arguments["bundle_sha256"] = content(asked.bundle)
    path = os.path.join(asked.output, "study.json")
    if os.path.exists(path):
        before = json.load(open(path))
        differing = [f"{key} was {before.get(key)} and is {arguments.get(key)}"
                     for key in sorted({*before, *arguments}) if before.get(key) != arguments.get(key)]
        if differing:
            sys.exit(f"{asked.output} holds another study: {'; '.join(differing)}; give another OUTPUT, or remove it")
    elif os.path.exists(asked.output) and os.listdir(asked.output):
        sys.exit(f"{asked.output} is not empty and has no study.json: nothing says of which arguments it is; give another OUTPUT")
    else:
        os.makedirs(asked.output, exist_ok=True)
        with open(path, "w") as handle:
            json.dump(arguments, handle, indent=1, sort_keys=True)


def write_suite(out, texts):
    """One sentence a line, with a recording of each by flite."""
    wavs = os.path.join(out, "recordings")
    os.makedirs(wavs, exist_ok=True)
    rows = [{"id": f"{make.VOICES[i % 4]}-{i:03d}", "text": text, "speaker": make.VOICES[i % 4],
             "audio": f"recordings/{i:03d}.wav"} for i, text in enumerate(texts)]
    missing = [row for row in rows if not os.path.exists(os.path.join(out, row["audio"]))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda r: make.speak(r["speaker"], r["text"], os.path.join(out, r["audio"])), missing))
    path = os.path.join(out, "suite.jsonl")
    with open(path, "w") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def evaluate(lab, bundle, suite, output, systems, settings, seed=1):
    """The record of one evaluation; made only if it is not there."""
    record = os.path.join(output, "eval.json")
    if not os.path.exists(record):
        words = os.path.join(ROOT, "assets", "demo-corpus", "words.txt")
        hear = os.path.join(ROOT, "tools", "recognize.py")
        command = [lab, "--json", "evaluate", "--bundle", bundle, "--suite", suite, "--output", output, "--seed", str(seed),
                   "--recognizer", f"{sys.executable} {hear} {words} {{list}}"]
        command += [word for system in systems for word in ("--system", system)]
        command += [word for setting in settings for word in ("--set", setting)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"decode_study: {' '.join(command)}\n{done.stderr}")
    return json.load(open(record))


def edits_and_words(system):
    pairs = [(sum(u["word_errors"]), u["n_words"]) for u in system["utterances"]]
    return np.array(pairs, dtype=np.float64).T


def difference(a, b):
    """Word error rate of a minus that of b with its interval, over the same draws of sentences."""
    (edits_a, words), (edits_b, _) = a, b
    draws = np.random.default_rng(0).integers(0, len(words), (N_RESAMPLES, len(words)))
    gaps = (edits_a[draws].sum(1) - edits_b[draws].sum(1)) / words[draws].sum(1)
    return (edits_a.sum() - edits_b.sum()) / words.sum(), *np.quantile(gaps, [0.025, 0.975])


def row(name, system, similarity, baseline):
    """A line of the table."""
    rate, failures = system["word_error_rate"], system["failures"]
    gap = difference(edits_and_words(system), edits_and_words(baseline)) if baseline else None
    others = ", ".join(f"{n} {kind}" for kind, n in failures.items() if n and kind != "looping") or "none"
    margin = similarity["margin"]
    cells = [name, f"{100 * rate['value']:.1f} % ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})",
             "" if gap is None else f"{100 * gap[0]:+.1f} ({100 * gap[1]:+.1f} to {100 * gap[2]:+.1f})",
             str(failures.get("looping", 0)), others,
             f"{margin['value']:+.3f} ({margin['low']:+.3f} to {margin['high']:+.3f})",
             f"{100 * similarity['nearest_share']:.1f} %"]
    return "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("output")
    parser.add_argument("--lab", default=os.path.join(ROOT, "target", "release", "harmonica-lab"))
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--seed", type=int, default=271828)
    parser.add_argument("--trained-per-voice", type=int, default=2500)
    parser.add_argument("--only", nargs="+", metavar="SETTING", choices=[name for name, _, _ in SETTINGS],
                        help="besides the bundle's own, only these settings, and no references")
    asked = parser.parse_args()
    remember(asked)
    suite = write_suite(asked.output, fresh_texts(asked.seed, asked.sentences, asked.trained_per_voice))
    baseline, lines = None, []
    chosen = [*SETTINGS, ("references", None, [])]
    if asked.only:
        chosen = [setting for setting in SETTINGS if setting[0] in ("default", *asked.only)]
    for folder, name, settings in chosen:
        systems = [PRODUCT] if name else REFERENCES
        record = evaluate(asked.lab, asked.bundle, suite, os.path.join(asked.output, folder), systems, settings)
        voices = {s["system"]: s for s in record["similarity"]["systems"]}
        for system in record["systems"]:
            known = baseline if system["system"].startswith("generated") else None
            lines.append(row(name or system["system"], system, voices[system["system"]], known))
            baseline = baseline or system
            print(lines[-1], file=sys.stderr, flush=True)
    n_words = sum(u["n_words"] for u in baseline["utterances"])
    print(f"{asked.sentences} sentences, {n_words} words, seed {asked.seed}; similarity by {record['similarity']['embedder']}\n")
    print("| codes | WER | against the default | loops | other failures | similarity minus best other | nearest to own |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
