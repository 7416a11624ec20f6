#!/usr/bin/env python3
"""Memory of a rank: what `plumb plan` says beside what real steps take.

  plan_memory.py [--shapes a,b,c] [--ranks 1,2] [--variants plain,sharded,ffn,block] [--steps N] [--build FOLDER] [--json FILE]

Each line plans a run, makes its first steps, and compares the plan's "at most" with the measured peak less a measured base.
Peak: one rank, VmHWM (the largest resident set, kept by the kernel). Several ranks: the largest proportional set (Pss of
smaps_rollup, sampled every 20 ms, mean of the ranks), because a resident set counts what a rank has touched of the windows
of others, and the kernel keeps no peak of Pss. Base: the same measure of a run of a model of one block of width 8 with as
many ranks, less what the plan says that this one takes. Not a timing: other programs may run.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from training_steps import ROOT, SHAPES

VARIANTS = {
    "plain": [],
    "sharded": ["optimizer.sharded=true"],
    "ffn": ["compute.recompute=ffn"],
    "block": ["compute.recompute=block"],
    "sharded+block": ["optimizer.sharded=true", "compute.recompute=block"],
}
TINY = {"blocks": 1, "width": 8, "heads": 1, "tokens": 8, "batch": 1, "vocabulary": 256}


def settings_of(size, variant, ranks):
    return [f"model.blocks={size['blocks']}", f"model.width={size['width']}", f"model.heads={size['heads']}",
            f"model.sequence_length={size['tokens']}", f"model.vocabulary={size['vocabulary']}", "model.placement=pre",
            f"training.sequences_per_step={size['batch'] * ranks}", "compute.dtype=fp32", "compute.threads=1", "device=cpu",
            "data.kind=markov", "log.stability_every=1", "checkpoint.at_end=false", "validation.at_end=false", *VARIANTS[variant]]


def launcher(ranks):
    return [] if ranks == 1 else ["mpirun", "-np", str(ranks), "--oversubscribe", "--bind-to", "none"]


def field_of(path, name):
    """Bytes of a line "Name: 12 kB" of a file in /proc; None once the process is gone."""
    try:
        for line in pathlib.Path(path).read_text().splitlines():
            if line.startswith(name + ":"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return None


def processes_of(folder):
    """Processes whose command line names the folder and whose program is plumb."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"/plumb") and any(str(folder).encode() in word for word in words):
                found.append(entry.name)
    return found


def measured_peak(plumb, size, variant, ranks, steps):
    with tempfile.TemporaryDirectory() as folder:
        command = [*launcher(ranks), plumb, "train", os.devnull, "--set", *settings_of(size, variant, ranks),
                   f"training.steps={steps}", f"run.dir={folder}/run"]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        peaks = {}
        while run.poll() is None:
            for process in processes_of(folder) if len(peaks) < ranks else peaks:
                value = field_of(f"/proc/{process}/status", "VmHWM") if ranks == 1 else field_of(f"/proc/{process}/smaps_rollup", "Pss")
                peaks[process] = max(peaks.get(process, 0), value or 0)
            time.sleep(0.02)
        if run.returncode != 0:
            sys.exit(f"plan_memory: '{' '.join(command)}' ended with status {run.returncode}: {run.stderr.read()}")
    return sum(peaks.values()) / len(peaks)


def planned_peak(plumb, size, variant, ranks):
    """Mean of the ranks; rank 0 stands for all, because nothing is saved here."""
    command = [plumb, "plan", os.devnull, "--set", *settings_of(size, variant, 1), "--ranks", str(ranks), "--ranks-per-host", str(ranks),
               "--json"]
    plan = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return plan["worlds"][0]["memory"]["peak_bytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")
    parser.add_argument("--shapes", type=words, default=list(SHAPES))
    parser.add_argument("--ranks", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2])
    parser.add_argument("--variants", type=words, default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    if os.geteuid() == 0:
        os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    plumb, rows = str(arguments.build / "trainers/plumb"), []
    print("| shape | ranks | variant | planned MB | measured MB | base MB | planned / (measured - base) |\n|---|---|---|---|---|---|---|")
    for ranks in arguments.ranks:
        base = measured_peak(plumb, TINY, "plain", ranks, 20 * arguments.steps) - planned_peak(plumb, TINY, "plain", ranks)
        for shape in arguments.shapes:
            for variant in arguments.variants:
                if ranks == 1 and "sharded" in variant:
                    continue
                planned = planned_peak(plumb, SHAPES[shape], variant, ranks)
                measured = measured_peak(plumb, SHAPES[shape], variant, ranks, arguments.steps)
                ratio = planned / (measured - base)
                rows.append({"shape": shape, "ranks": ranks, "variant": variant, "planned": planned, "measured": measured, "base": base, "ratio": ratio})
                print(f"| {shape} | {ranks} | {variant} | {planned / 1e6:.1f} | {measured / 1e6:.1f} | {base / 1e6:.1f} | {ratio:.4f} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    worst = max(rows, key=lambda row: abs(row["ratio"] - 1))
    print(f"largest error {100 * (worst['ratio'] - 1):+.2f} % (aim: within 2 %)")


if __name__ == "__main__":
    main()
