"""EnCodec of this project, of `transformers` and of candle on the same ten seconds of audio and the same weights, in turn.

usage: encodec_race.py MODEL_DIR [--rounds N] [--runs N]

MODEL_DIR is `encodec-24khz` of `golden_encodec.py --full`. A round runs every program once with one thread and once with two; each takes the median of
its runs. The table has the medians over the rounds, the ratios of processor seconds to those of `transformers`, of every round too, and
how much sooner two threads are done than one. Wall times count on a quiet machine only.
Needs: torch, transformers, safetensors; cargo builds the rest.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

KBPS = 6.0


def measure(work, runs, run):
    run()
    cpu, wall = [], []
    for _ in range(runs):
        usage, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        run()
        spent = resource.getrusage(resource.RUSAGE_SELF)
        cpu.append(spent.ru_utime + spent.ru_stime - usage.ru_utime - usage.ru_stime)
        wall.append(time.perf_counter() - start)
    print(json.dumps({"work": work, "cpu_s": cpu, "wall_s": wall, "compared": None}))


def transformers(directory, runs, threads):
    """The reference; it also writes what the others are held against."""
    import torch
    from safetensors.torch import load_file
    from transformers import EncodecConfig, EncodecModel

    from golden_encodec import voice

    torch.set_num_threads(threads)
    with open(f"{directory}/config.json") as file:
        config = EncodecConfig(**json.load(file))
    model = EncodecModel(config).eval()
    model.load_state_dict(load_file(f"{directory}/model.safetensors"))
    audio = voice(config, 10 * config.sampling_rate, 1)
    with torch.no_grad():
        codes = model.encode(audio, bandwidth=KBPS).audio_codes
        decoded = model.decode(codes, [None]).audio_values
        os.makedirs(f"{directory}/race", exist_ok=True)
        for name, tensor in (("audio.f32", audio), ("codes.i32", codes.to(torch.int32)), ("decoded.f32", decoded)):
            tensor.contiguous().numpy().tofile(f"{directory}/race/{name}")
        measure("encode", runs, lambda: model.encode(audio, bandwidth=KBPS))
        measure("decode", runs, lambda: model.decode(codes, [None]))


def built(root, *arguments):
    """Builds a program and returns its path."""
    command = ["cargo", "build", "--release", "--message-format", "json", *arguments]
    lines = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    return [made for made in (json.loads(line).get("executable") for line in lines) if made][-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--reference-threads", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reference_threads:
        return transformers(arguments.model, arguments.runs, arguments.reference_threads)
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    ours = built(root, "-p", "harmonica-codec", "--example", "encodec_speed")
    candle = built(f"{root}/benches/peers/candle-encodec")
    itself = [sys.executable, os.path.abspath(__file__), arguments.model, "--runs", str(arguments.runs)]
    programs = {
        "transformers": lambda threads: itself + ["--reference-threads", str(threads)],
        "ours": lambda threads: [ours, arguments.model, str(arguments.runs)],
        "candle": lambda threads: [candle, arguments.model, str(arguments.runs)],
    }
    seconds = {}
    compared = {}
    for _ in range(arguments.rounds):
        for threads in (1, 2):
            for program, command in programs.items():
                environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
                output = subprocess.run(command(threads), env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout
                for line in filter(lambda line: line.startswith("{"), output.splitlines()):
                    result = json.loads(line)
                    compared[program, result["work"]] = result["compared"]
                    for clock in ("cpu_s", "wall_s"):
                        key = (program, result["work"], threads, clock)
                        seconds.setdefault(key, []).append(statistics.median(result[clock]))
    print(f"load {os.getloadavg()[0]:.1f}; medians of {arguments.rounds} rounds of {arguments.runs} runs\n")
    print("| work | program | cpu s, 1 thread | ratio | of each round | cpu s, 2 threads | wall s, 1 thread | wall s, 2 threads | sooner by |")
    print("|---|---|---|---|---|---|---|---|---|")
    for work in ("encode", "decode"):
        for program in programs:
            rounds = {(t, c): seconds[program, work, t, c] for t in (1, 2) for c in ("cpu_s", "wall_s")}
            reference = seconds["transformers", work, 1, "cpu_s"]
            each = " / ".join(f"{a / b:.2f}" for a, b in zip(rounds[1, "cpu_s"], reference))
            cells = {key: statistics.median(values) for key, values in rounds.items()}
            ratio = cells[1, "cpu_s"] / statistics.median(reference)
            sooner = cells[1, "wall_s"] / cells[2, "wall_s"]
            print(
                f"| {work} | {program} | {cells[1, 'cpu_s']:.3f} | {ratio:.2f} | {each} | {cells[2, 'cpu_s']:.3f} "
                f"| {cells[1, 'wall_s']:.3f} | {cells[2, 'wall_s']:.3f} | {sooner:.2f} |"
            )
    print()
    for (program, work), result in compared.items():
        if result:
            print(f"{program}, {work}, against transformers: {result}")


if __name__ == "__main__":
    main()
