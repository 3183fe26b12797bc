"""How well preprocessing uses its threads, and what it holds in memory.

python3 tools/preprocess_cost.py LAB CONFIG CORPUS... [--rounds N]

Makes the cache of each corpus (of CONFIG's layout) anew, N times in turn, and prints for each round: seconds by the clock, processor
seconds of all stages over the threads, their ratio, and the largest resident memory of the process. A ratio of 1 is the best that there is.
"""

import argparse
import json
import os
import subprocess
import tempfile

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("lab")
parser.add_argument("config")
parser.add_argument("corpora", nargs="+")
parser.add_argument("--rounds", type=int, default=3)
arguments = parser.parse_args()

print("| corpus | rows | wall, s | stages / threads, s | ratio | process, s | peak memory, MiB |")
print("|---|---:|---:|---:|---:|---:|---:|")
for _ in range(arguments.rounds):
    peaks = []
    for corpus in arguments.corpora:
        with tempfile.TemporaryDirectory() as scratch:
            places = [f"data.corpus_dir={json.dumps(corpus)}", f"data.cache_dir={json.dumps(scratch + '/cache')}"]
            command = [arguments.lab, "preprocess", "--json", "--config", arguments.config]
            command += [word for place in places for word in ("--set", place)]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            told = json.loads(child.stdout.read())
            # wait4 tells of this child alone.
            _, status, usage = os.wait4(child.pid, 0)
            if status != 0:
                raise SystemExit(f"{command} ended with {status}: {told}")
            peaks.append((told["rows"], usage.ru_maxrss * 1024))
            cost, stages = told["cost"], told["effort"]["stages"]
            share = cost["stages_s"] / cost["threads"]
            print(
                f"| {corpus} | {told['rows']} | {cost['wall_s']:.2f} | {share:.2f} | {cost['over_share']:.3f} "
                f"| {cost['processor_s']:.2f} | {usage.ru_maxrss / 1024:.0f} |",
                flush=True,
            )
            breakdown = {name: round(seconds, 3) for name, seconds in stages.items()}
print("\nprocessor seconds by stage, last round:", json.dumps(breakdown))
(first_rows, first), (last_rows, last) = peaks[0], peaks[-1]
if last_rows > first_rows:
    print(f"memory grows by {(last - first) / (last_rows - first_rows):.0f} bytes a row")
