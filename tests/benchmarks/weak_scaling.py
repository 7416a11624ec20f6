#!/usr/bin/env python3
"""Two ranks of one thread each beside one rank, and beside two that know nothing of each other.

  weak_scaling.py [--shapes a,b] [--dtypes fp32,bf16] [--peers torch-1.13,torch] [--rounds N] [--steps N] [--set KEY=VALUE ...]
                  [--json FILE]

Every rank makes the same work per step, so that an ideal reduction would take no time: the efficiency is the time per step of
one rank (or of the slower of the two uncoupled ones, which share the memory as two ranks do) over that of two ranks. The
contenders hold their models in processes of their own and sleep while others are measured; of the rounds' ratios the script
prints the median and its 95 % interval. Each rank has one core of its own. --set goes to all of Plumb's. Peers make the same steps
by DistributedDataParallel over gloo on two ranks; of them it prints their time over that of Plumb's two ranks.
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

from training_steps import PAUSE, ROOT, SHAPES, contenders, interval


class Ranks:
    """One job of ranks, one on each of the given cores, which makes steps when told to (ranks_step.cpp, peers/torch_step.py)."""

    def __init__(self, command, size, dtype, cores, environment, by_mpirun):
        self.folder = tempfile.mkdtemp(prefix="plumb_ranks_")
        for rank in range(len(cores)):
            os.mkfifo(f"{self.folder}/{rank}")
        command = [*command, *(word for key, value in size.items() for word in ("--" + key, str(value))), "--dtype", dtype,
                   "--commands", self.folder]
        places = [(command, cores)]
        if by_mpirun and len(cores) > 1:
            if not shutil.which("mpirun"):
                sys.exit("weak_scaling: no mpirun; launch/setup.sh brings it")
            places = [(["mpirun", "-n", str(len(cores)), "--bind-to", "core", "--map-by", "core", *command], cores)]
        elif not by_mpirun:
            places = [([*command, "--world", str(len(cores)), "--rank", str(rank)], [core]) for rank, core in enumerate(cores)]
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **environment}
        self.processes = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=variables,
                                           preexec_fn=lambda own=own: os.sched_setaffinity(0, own)) for words, own in places]
        self.process = self.processes[0]
        # For reading too, or this would wait for ever for a job that has failed.
        self.pipes = [open(os.open(f"{self.folder}/{rank}", os.O_RDWR), "w", buffering=1) for rank in range(len(cores))]
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
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.folder)


def measure(shape, dtype, arguments, cores):
    program = arguments.build / "tests/benchmarks/ranks_step"
    if not program.exists():
        sys.exit(f"weak_scaling: {program} is not built")
    first, second = cores[:2]
    own = ([str(program), *(word for setting in arguments.set for word in ("--set", setting))], {}, True)
    jobs = {"one": (own, [[first]]), "uncoupled": (own, [[first], [second]]), "ranks": (own, [[first, second]])}
    # A peer's ready-made contender: the same program, told that it is one of two.
    peers = contenders(arguments.peers, arguments.build)
    jobs |= {name: ((*peers[name], False), [[first, second]]) for name in arguments.peers if name in peers}
    results, order = {name: [] for name in jobs}, random.Random(1)
    with contextlib.ExitStack() as stack:
        ready = {}
        for name, ((command, environment, by_mpirun), places) in jobs.items():
            ready[name] = [Ranks(command, SHAPES[shape], dtype, place, environment, by_mpirun) for place in places]
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
    for name in jobs.keys() & set(arguments.peers):
        ratios = [peer / ranks for peer, ranks in zip(results[name], results["ranks"])]
        low, high = interval(ratios)
        row[f"peer {name}"] = {"median": statistics.median(ratios), "low": low, "high": high}
    return row


def main():
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="a,b")
    parser.add_argument("--dtypes", default="fp32")
    parser.add_argument("--peers", type=lambda text: [word for word in text.split(",") if word], default=[])
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
            times = " | ".join("{:.1f} / {:.1f} / {:.1f}".format(min(v), statistics.median(v), max(v))
                               for v in list(row["milliseconds"].values())[:3])
            shares = " | ".join("{median:.3f} ({low:.3f} to {high:.3f})".format(**row[f"of_{base}"]) for base in ("one", "uncoupled"))
            print(f"| {shape} | {dtype} | {times} | {shares} |", flush=True)
            for name in arguments.peers:
                if f"peer {name}" in row:
                    print("  {}, two ranks: {:.1f} ms; {median:.3f} ({low:.3f} to {high:.3f}) times Plumb's".format(
                        name, statistics.median(row["milliseconds"][name]), **row[f"peer {name}"]), flush=True)
    print(f"\nLoad {load()} at the end. Times: least / median / most.")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
