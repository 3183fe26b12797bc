#!/usr/bin/env python3
"""A worse bundle, to see whether a regression gate catches it: noise is added to the weights of both models.

usage: degrade_bundle.py BUNDLE OUTPUT [--noise SHARE] [--seed N] [--temperature T]
Every weight tensor gets Gaussian noise of SHARE (default 0.3) times its own standard deviation. OUTPUT is a sealed bundle:
its manifest holds the hashes of the new files, so that it opens as any other does.
With --temperature, the AR model draws its codes (0 takes the likeliest), so that seeds differ; --noise 0 leaves weights alone.
needs: pip install numpy safetensors blake3
"""
import argparse
import json
import os
import shutil
import sys

import blake3
import numpy as np
from safetensors.numpy import load_file, save_file


def add_noise(path, share, generator):
    tensors = load_file(path)
    for name in sorted(tensors):
        clean = tensors[name].astype(np.float32)
        noise = generator.standard_normal(clean.shape).astype(np.float32) * clean.std() * share
        tensors[name] = (clean + noise).astype(tensors[name].dtype)
    save_file(tensors, path)


def seal(directory):
    """Writes manifest.json anew as harmonica-storage spells it."""
    path = os.path.join(directory, "manifest.json")
    manifest = json.load(open(path))
    hasher = blake3.blake3()
    for name in sorted(manifest["files"]):
        content = open(os.path.join(directory, name), "rb").read()
        digest = {"bytes": len(content), "blake3": blake3.blake3(content).hexdigest()}
        manifest["files"][name] = digest
        hasher.update(len(name.encode()).to_bytes(8, "little") + name.encode())
        hasher.update(digest["bytes"].to_bytes(8, "little") + digest["blake3"].encode())
    manifest["seal"] = hasher.hexdigest()
    open(path, "w").write(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("output")
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--temperature", type=float)
    arguments = parser.parse_args()
    if os.path.exists(arguments.output):
        sys.exit(f"degrade_bundle: {arguments.output} exists; give another place")
    shutil.copytree(arguments.bundle, arguments.output)
    generator = np.random.default_rng(arguments.seed)
    for model in ("ar", "nar"):
        add_noise(os.path.join(arguments.output, f"{model}.safetensors"), arguments.noise, generator)
    if arguments.temperature is not None:
        path = os.path.join(arguments.output, "bundle.json")
        bundle = json.load(open(path))
        bundle["decode"]["ar"]["temperature"] = arguments.temperature
        json.dump(bundle, open(path, "w"), indent=2)
    seal(arguments.output)


if __name__ == "__main__":
    main()
