#!/usr/bin/env python3
"""Whole training steps of Plumb, statistics included, beside those of what a user would take instead.

  training_steps.py [--shapes a,b,c] [--dtypes fp32,bf16] [--threads 1,2] [--peers NAME,...] [--rounds N] [--json FILE]
  training_steps.py --device cuda [--python PROGRAM] ...

All contenders hold the same model and stand ready in processes of their own, on the same cores; in a round each makes a few
steps while the others sleep, in an order that changes from round to round. A round gives one ratio per peer (peer's time per
step / Plumb's), so that a change of the machine's speed meets both; of the ratios it prints the median and its 95 % interval
(order statistics). Above 1 Plumb is faster. Peak memory is of the whole process; in brackets what it had before the model
(an interpreter with its libraries, for PyTorch). That models are the same is checked by their numbers of parameters. Peers
that are not installed are named and left out:

  torch-1.13     Debian's python3-torch, tuned: AVX-512 kernels, tcmalloc, OpenBLAS with OpenMP (launch/setup.sh --peers)
  torch          the current one of PyPI as it is, in build/peers, eager
  torch-compile  the same, by torch.compile
  torch-graphs   the same, by torch.compile with CUDA graphs (mode="reduce-overhead")
  NAME-hooks     torch-1.13 or torch, with hooks that take what Plumb takes (it takes it in every line of the table); with the
                 peer without them the script also prints what they cost
  plumb@FOLDER   another build of Plumb (tests/benchmarks/compare)
  NAME=PROGRAM   any program that takes the options of training_step.cpp and answers as it does; it knows its device itself

On a GPU Plumb replays captured steps, and memory is what was allocated on the device; --python names the interpreter that has
PyTorch, where it is not that of build/peers.
"""
import argparse
import contextlib
import json
import math
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
SHAPES = {
    "a": {"blocks": 6, "width": 384, "heads": 6, "tokens": 256, "batch": 8, "vocabulary": 256},
    "b": {"blocks": 12, "width": 768, "heads": 12, "tokens": 256, "batch": 4, "vocabulary": 50257},
    "c": {"blocks": 48, "width": 128, "heads": 4, "tokens": 128, "batch": 8, "vocabulary": 256},
    "gpt2": {"blocks": 12, "width": 768, "heads": 12, "tokens": 1024, "batch": 16, "vocabulary": 50304},
    "deep": {"blocks": 96, "width": 512, "heads": 8, "tokens": 512, "batch": 8, "vocabulary": 50304},
}
LIBRARIES = pathlib.Path("/usr/lib/x86_64-linux-gnu")
# Debian's own setting is up to three times slower.
TUNED = {**({"ATEN_CPU_CAPABILITY": "avx512"} if "avx512f" in pathlib.Path("/proc/cpuinfo").read_text() else {}), "LD_PRELOAD": str(LIBRARIES / "libtcmalloc_minimal.so.4"),
         "LD_LIBRARY_PATH": str(LIBRARIES / "openblas-openmp")}
# Time for the threads of the contender before to stop waiting actively.
PAUSE = 0.3
PEER_PYTHON = ROOT / "build/peers/bin/python"  # launch/setup.sh --peers


class Contender:
    """A process that makes steps when told to (training_step.cpp)."""

    def __init__(self, command, size, dtype, threads, environment):
        arguments = [word for key, value in size.items() for word in ("--" + key, str(value))]
        cores = sorted(os.sched_getaffinity(0))[:threads]
        variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads), **environment}
        self.process = subprocess.Popen(
            [*command, *arguments, "--dtype", dtype, "--threads", str(threads)], stdin=subprocess.PIPE, env=variables,
            stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores))
        self.facts = self.answer()
        self.peak = None

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"training_steps: '{' '.join(self.process.args)}' ended with status {self.process.wait()}")
        return json.loads(line)

    def steps(self, count):
        """Seconds of each."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        said = self.answer()
        self.peak = said["peak_megabytes"]
        return said["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def contenders(peers, build, device="cpu", python=PEER_PYTHON):
    """{name: (command, environment)} of those that are here; says which are not."""
    torch = str(FOLDER / "peers/torch_step.py")
    on_device = ["--device", device]
    own_device = on_device + (["--captured"] if device == "cuda" else [])
    compiled = {"torch-compile": ["--compile"], "torch-graphs": ["--compile", "reduce-overhead"]}
    here = {"plumb": ([str(build / "tests/benchmarks/training_step"), *own_device], {})}
    if not pathlib.Path(here["plumb"][0][0]).exists():
        sys.exit(f"training_steps: {here['plumb'][0][0]} is not built")
    for name in peers:
        plain, hooks = name.removesuffix("-hooks"), ["--hooks"] if name.endswith("-hooks") else []
        if plain == "torch-1.13" and device != "cpu":
            sys.exit("training_steps: torch-1.13 is Debian's, which has no GPUs: leave it out of --peers")
        elif plain == "torch-1.13":
            missing = [path for path in (TUNED["LD_PRELOAD"], TUNED["LD_LIBRARY_PATH"]) if not os.path.exists(path)]
            if missing or subprocess.run(["/usr/bin/python3", "-c", "import torch"], capture_output=True).returncode:
                print(f"training_steps: {name} left out: launch/setup.sh --peers brings it", file=sys.stderr)
            else:
                here[name] = (["/usr/bin/python3", torch, *hooks], TUNED)
        elif plain == "torch" or name in compiled:
            if not python.exists():
                print(f"training_steps: {name} left out: launch/setup.sh --peers brings it", file=sys.stderr)
            else:
                here[name] = ([str(python), torch, *on_device, *compiled.get(name, hooks)], {})
        elif name.startswith("plumb@"):
            here[name] = ([str(pathlib.Path(name.removeprefix("plumb@")) / "tests/benchmarks/training_step"), *own_device], {})
            if not os.path.exists(here[name][0][0]):
                sys.exit(f"training_steps: {here[name][0][0]} is not built")
        elif "=" in name:
            title, _, program = name.partition("=")
            if not os.access(program, os.X_OK):
                sys.exit(f"training_steps: {program} of '{name}' is no program")
            here[title] = ([program], {})
        else:
            sys.exit(f"training_steps: no peer '{name}'; known: torch-1.13, torch, torch-compile, torch-graphs, torch-1.13-hooks, torch-hooks, "
                     "plumb@FOLDER, NAME=PROGRAM")
    return here


def interval(values):
    """The order statistics between which the median lies with 95 %, whatever the distribution."""
    ordered, count = sorted(values), len(values)
    half = 0.98 * math.sqrt(count)
    low, high = max(0, math.floor((count - 1) / 2 - half)), min(count - 1, math.ceil((count - 1) / 2 + half))
    return ordered[low], ordered[high]


def model_flops(size):
    """Of a step: 6 N per token, and 12 L T C for attention's products (PaLM's count, causal not halved)."""
    width, tokens = size["width"], size["batch"] * size["tokens"]
    weights = size["blocks"] * 12 * width * width + size["vocabulary"] * width
    return tokens * (6 * weights + 12 * size["blocks"] * size["tokens"] * width)


def measure(shape, dtype, threads, arguments, here):
    size, order, results = SHAPES[shape], random.Random(1), {name: [] for name in here}
    with contextlib.ExitStack() as stack:
        ready = {}
        for name, (command, environment) in here.items():
            ready[name] = Contender(command, size, dtype, threads, environment)
            stack.callback(ready[name].close)
            ready[name].steps(arguments.warm_up)
        parameters = {name: contender.facts["parameters"] for name, contender in ready.items()}
        if len(set(parameters.values())) != 1:
            sys.exit(f"training_steps: not the same model: {parameters}")
        for _ in range(arguments.rounds):
            for name in order.sample(list(ready), len(ready)):
                time.sleep(PAUSE)
                results[name].append(statistics.median(ready[name].steps(arguments.steps)))
        peaks = {name: contender.peak for name, contender in ready.items()}
        facts = {name: contender.facts for name, contender in ready.items()}
    for name in results:
        plain = name.removesuffix("-hooks")
        if plain != name and plain in results:
            ratios = [hooked / without for hooked, without in zip(results[name], results[plain])]
            print("hooks of {}, {} {}, {} threads: {:.3f} ({:.3f} to {:.3f})".format(
                plain, shape, dtype, threads, statistics.median(ratios), *interval(ratios)), file=sys.stderr)
    rows = []
    for name, seconds in results.items():
        ratios = [peer / own for peer, own in zip(seconds, results["plumb"])]
        low, high = interval(ratios)
        rows.append({"shape": shape, "dtype": dtype, "threads": threads, "contender": name, "title": facts[name]["name"],
                     "milliseconds": [1e3 * value for value in seconds], "ratio": statistics.median(ratios), "low": low,
                     "high": high, "peak_megabytes": peaks[name], "facts": facts[name],
                     "gigaflops": model_flops(size) / statistics.median(seconds) / 1e9})
    return rows


def show(row):
    milliseconds = row["milliseconds"]
    ratio = "1" if row["contender"] == "plumb" else f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
    print(f"| {row['shape']} | {row['dtype']} | {row['threads']} | {row['contender']} ({row['title']}) "
          f"| {min(milliseconds):.1f} / {statistics.median(milliseconds):.1f} / {max(milliseconds):.1f} "
          f"| {row['gigaflops']:.0f} | {row['peak_megabytes']:.0f} ({row['facts']['base_megabytes']:.0f}) | {ratio} |", flush=True)


def main():
    def listed(known):
        def words(text):
            for word in (found := [word for word in text.split(",") if word]):
                if known and word not in known:
                    raise argparse.ArgumentTypeError(f"'{word}' is none of {', '.join(known)}")
            return found
        return words

    def rounds(text):
        if int(text) < 6:
            raise argparse.ArgumentTypeError("fewer than 6 rounds have no 95 % interval")
        return int(text)

    cores = [str(count + 1) for count in range(len(os.sched_getaffinity(0)))]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=listed(SHAPES), default=["a", "b", "c"])
    parser.add_argument("--dtypes", type=listed(["fp32", "bf16"]), default=["fp32", "bf16"])
    parser.add_argument("--threads", type=listed(cores), default=cores[:2])
    parser.add_argument("--peers", type=listed([]), help="default: torch-1.13 (on a CPU), torch, torch-compile")
    parser.add_argument("--rounds", type=rounds, default=12)
    parser.add_argument("--steps", type=int, default=3, help="of each contender in a round")
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--python", type=pathlib.Path, default=PEER_PYTHON)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.peers is None:
        arguments.peers = [*(["torch-1.13"] if arguments.device == "cpu" else []), "torch", "torch-compile"]
    here = contenders(arguments.peers, arguments.build, arguments.device, arguments.python)
    print(f"Load {' '.join(f'{value:.2f}' for value in os.getloadavg())} at the start; {arguments.rounds} rounds of "
          f"{arguments.steps} steps.\n")
    print("| shape | dtype | threads | contender | ms a step: least / median / most | GFLOP/s | peak MB "
          "| its time / Plumb's, median and 95 % |\n|---|---|---|---|---|---|---|---|")
    rows = []
    for shape in arguments.shapes:
        for dtype in arguments.dtypes:
            for threads in map(int, arguments.threads):
                for row in measure(shape, dtype, threads, arguments, here):
                    show(row)
                    rows.append(row)
    print(f"\nLoad {' '.join(f'{value:.2f}' for value in os.getloadavg())} at the end.")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
