#!/usr/bin/env python3
"""Two ranks of one thread each beside one rank, and beside two that know nothing of each other.

  weak_scaling.py [--shapes a,b] [--dtypes fp32,bf16] [--rounds N] [--steps N] [--set KEY=VALUE ...] [--json FILE]

Every rank makes the same work per step, so that an ideal reduction would take no time: the efficiency is the time per step of
one rank (or of the slower of the two uncoupled ones, which share the memory as two ranks do) over that of two ranks. The
contenders hold their models in processes of their own and sleep while others are measured; of the rounds' ratios the script
prints the median and its 95 % interval. Each rank has one core of its own. --set goes to all of them.
"""
import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from training_steps import PAUSE, ROOT, SHAPES, interval


class Ranks:
    """One job of `world` ranks on given cores, which makes steps when told to (ranks_step.cpp)."""

    def __init__(self, program, size, dtype, cores, more):
        arguments = [word for key, value in size.items() for word in ("--" + key, str(value))]
        arguments += ["--dtype", dtype, *(word for setting in more for word in ("--set", setting))]
        self.folder = tempfile.mkdtemp(prefix="plumb_ranks_")
        for rank in range(len(cores)):
            os.mkfifo(f"{self.folder}/{rank}")
        command = [str(program), "--commands", self.folder, *arguments]
        if len(cores) > 1:
            if not shutil.which("mpirun"):
                sys.exit("weak_scaling: no mpirun; launch/setup.sh brings it")
            command = ["mpirun", "-n", str(len(cores)), "--bind-to", "core", "--map-by", "core", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
                                        preexec_fn=lambda: os.sched_setaffinity(0, cores))
        # What cannot be opened for writing has no reader: the job has failed.
        self.pipes = [open(f"{self.folder}/{rank}", "w", buffering=1) for rank in range(len(cores))]
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"weak_scaling: '{' '.join(self.process.args)}' ended with status {self.process.wait()}")
        return json.loads(line)

    def begin(self, steps):
        for pipe in self.pipes:
            pipe.write(f"{steps}\n")

    def seconds(self):
        return statistics.median(self.answer()["seconds"])

    def close(self):
        for pipe in self.pipes:
            pipe.close()
        self.process.wait()
        shutil.rmtree(self.folder)


def measure(shape, dtype, arguments, cores):
    program = arguments.build / "tests/benchmarks/ranks_step"
    if not program.exists():
        sys.exit(f"weak_scaling: {program} is not built")
    first, second = cores[:2]
    jobs = {"one": [[first]], "uncoupled": [[first], [second]], "ranks": [[first, second]]}
    results, order = {name: [] for name in jobs}, random.Random(1)
    with contextlib.ExitStack() as stack:
        ready = {}
        for name, places in jobs.items():
            ready[name] = [Ranks(program, SHAPES[shape], dtype, place, arguments.set) for place in places]
            for job in ready[name]:
                stack.callback(job.close)
                job.begin(arguments.warm_up)
                job.answer()
        for _ in range(arguments.rounds):
            for name in order.sample(list(jobs), len(jobs)):
                time.sleep(PAUSE)
                for job in ready[name]:
                    job.begin(arguments.steps)
                results[name].append(max(job.seconds() for job in ready[name]))
    row = {"shape": shape, "dtype": dtype, "milliseconds": {name: [1e3 * s for s in seconds] for name, seconds in results.items()}}
    for base in ("one", "uncoupled"):
        ratios = [alone / ranks for alone, ranks in zip(results[base], results["ranks"])]
        low, high = interval(ratios)
        row[f"of_{base}"] = {"median": statistics.median(ratios), "low": low, "high": high}
    return row


def main():
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="a,b")
    parser.add_argument("--dtypes", default="fp32")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    if len(cores) < 2:
        sys.exit("weak_scaling: two ranks need two cores")
    if arguments.rounds < 6:
        sys.exit("weak_scaling: fewer than 6 rounds have no 95 % interval")
    for shape in arguments.shapes.split(","):
        if shape not in SHAPES:
            sys.exit(f"weak_scaling: no shape '{shape}'; known: {', '.join(SHAPES)}")

    def load():
        return " ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"Load {load()} at the start; {arguments.rounds} rounds of {arguments.steps} steps.\n")
    print("| shape | dtype | ms, one rank | ms, two uncoupled | ms, two ranks | efficiency against one rank, median and 95 % "
          "| against two uncoupled |\n|---|---|---|---|---|---|---|")
    rows = []
    for shape in arguments.shapes.split(","):
        for dtype in arguments.dtypes.split(","):
            row = measure(shape, dtype, arguments, cores)
            rows.append(row)
            times = " | ".join("{:.1f} / {:.1f} / {:.1f}".format(min(v), statistics.median(v), max(v)) for v in row["milliseconds"].values())
            shares = " | ".join("{median:.3f} ({low:.3f} to {high:.3f})".format(**row[f"of_{base}"]) for base in ("one", "uncoupled"))
            print(f"| {shape} | {dtype} | {times} | {shares} |", flush=True)
    print(f"\nLoad {load()} at the end. Times: least / median / most.")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
