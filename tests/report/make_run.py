#!/usr/bin/env python3
"""Writes a made-up run folder for tests of `plumb report`: the files and fields of a real one, also of the
statistics that a run need not have, with planted spikes and a planted bad rank.

    make_run.py FOLDER [--steps 10000] [--sublayers 96] [--ranks 4] [--every 50] [--placement peri] [--plain]
                       [--stopped-at STEP] [--torn] [--nan-at STEP] [--seed 1]

--plain leaves out what not every run logs: kappa, rho, attention, noise scale, bounds.
"""
import argparse
import json
import math
import os
import random


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--sublayers", type=int, default=96)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--every", type=int, default=50, help="steps between records of stability.jsonl")
    parser.add_argument("--placement", default="peri", choices=["pre", "post", "peri"])
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--stopped-at", type=int, default=0)
    parser.add_argument("--torn", action="store_true")
    parser.add_argument("--nan-at", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


SPIKES = (0.31, 0.62)  # places in the run, as shares of its steps
BAD_RANK = 2


class MadeUpRun:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.blocks = options.sublayers // 2
        self.last = options.stopped_at or options.steps
        self.spikes = {max(int(place * options.steps), 2) for place in SPIKES}
        kinds = ["ffn.contract.weight", "ffn.expand.weight", "ffn.norm_in.gain",
                 "attention.projection.weight", "attention.qkv.weight", "attention.norm_in.gain"]
        self.tensors = ["final_norm.gain"]
        for block in reversed(range(self.blocks)):
            self.tensors += [f"blocks.{block}.{kind}" for kind in kinds]
        self.tensors += ["embedding.position", "embedding.token"]

    def progress(self, step):
        return step / self.options.steps

    def noise(self, size):
        return math.exp(self.random.gauss(0, size))

    def loss(self, step):
        smooth = 1.1 + 4.4 * math.exp(-12 * self.progress(step)) + 0.3 * (1 - self.progress(step))
        return smooth * self.noise(0.01) + (1.5 if step in self.spikes else 0)

    def gradient_norm(self, step):
        calm = (0.6 + 3 * math.exp(-40 * self.progress(step))) * self.noise(0.12)
        return 25 * calm if step in self.spikes else calm

    def metrics(self, step):
        numbers = {
            "step": step, "tokens": 512 * step, "data_cursor": 4 * step, "loss": self.loss(step),
            "lr": 1e-3 * min(step / 200, 1), "grad_norm": self.gradient_norm(step), "clip_coef": 1.0,
            "skipped": False,
            "tokens_per_s": 2000 * self.noise(0.05), "step_seconds": 0.25 * self.noise(0.05),
            "log_z": 5 + self.progress(step), "log_z_squared": 30.0, "max_logit": 2 + 8 * self.progress(step),
            "max_abs": 20 * (1 + 3 * self.progress(step)) * self.noise(0.05), "overflows": 0.0,
            "adam_lag": 1.3 * self.noise(0.1),
            "loss_scale": 1.0,
        }
        if step > 64:
            spiked = step in self.spikes
            numbers["loss_deviation"] = 9 if spiked else self.random.gauss(0, 1)
            numbers["grad_norm_deviation"] = 200 if spiked else self.random.gauss(0, 1)
        if not self.options.plain and step % max(self.options.steps // 20, 1) == 0:
            numbers["critical_sharpness"] = 300 * (1 + 3 * self.progress(step)) * self.noise(0.1)
            numbers["hessian_eigenvalue"] = 40 * (1 + self.progress(step)) * self.noise(0.1)
        if step % max(self.options.steps // 8, 1) == 0:
            numbers["val_loss"] = self.loss(step) + 0.05
        if not self.options.plain and self.options.ranks > 1:
            numbers["noise_scale"] = 20 + 400 * self.progress(step) * self.noise(0.2)
            numbers["grad_agreement"] = 0.2 + self.random.gauss(0, 0.05)
        if step == self.options.nan_at:
            numbers.update(loss=None, grad_norm=None, skipped=True,
                           nonfinite=[{"path": "loss", "kind": "nan"}, {"path": "grad_norm", "kind": "nan"}])
        return numbers

    def variance(self, step, k):
        """Entry-wise variance of the stream: what the placement is known for."""
        if self.options.placement == "post":
            return 1.0
        trained = self.progress(step)
        if self.options.placement == "pre":
            return 1 + 8 * math.expm1((1 + 3 * trained) * k / self.options.sublayers)
        return 1 + k * (1 + 0.5 * trained)

    def profile(self, count, value, size=0.03):
        return [value(k) * self.noise(size) for k in range(count)]

    def stability(self, step):
        depth = self.options.sublayers
        stream = {
            "mean_abs": self.profile(depth + 1, lambda k: 0.8 * math.sqrt(self.variance(step, k))),
            "entry_variance": self.profile(depth + 1, lambda k: self.variance(step, k)),
            "data_variance": self.profile(depth + 1, lambda k: 0.9 * self.variance(step, k)),
            "max_abs": self.profile(depth + 1, lambda k: 5 * math.sqrt(self.variance(step, k)), 0.2),
            "rms": self.profile(depth + 1, lambda k: math.sqrt(self.variance(step, k))),
            "max_row_norm": self.profile(depth + 1, lambda k: 9 * math.sqrt(self.variance(step, k))),
            "gradient_norm": self.profile(depth + 1, lambda k: 0.01 * math.exp(-2 * k / depth)),
            "overflows": [0.0] * (depth + 1),
        }
        branch = {
            "mean_abs": self.profile(depth, lambda k: 0.8),
            "entry_variance": self.profile(depth, lambda k: 1.0),
            "data_variance": self.profile(depth, lambda k: 0.9),
            "max_abs": self.profile(depth, lambda k: 4.0, 0.2),
            "rms": self.profile(depth, lambda k: 1.0),
            "max_row_norm": self.profile(depth, lambda k: 9.0),
            "gradient_norm": self.profile(depth, lambda k: 0.01 * math.exp(-2 * k / depth)),
            "overflows": [0.0] * depth,
        }
        for values, count in ((stream, depth + 1), (branch, depth)):
            for edge in ("interval_min", "interval_max"):
                values[edge] = {name: self.profile(count, lambda k: 1.0)
                                for name in ("mean_abs", "entry_variance", "max_abs")}
        record = {"step": step, "profiles": {"stream": stream, "branch": branch},
                  "tensors": self.tensor_rows(step)}
        if not self.options.plain:
            record["residual"] = {"kappa": [self.random.gauss(0.05, 0.03) for _ in range(depth)],
                                  "rho": self.profile(depth, lambda k: 1 / math.sqrt(self.variance(step, k)))}
            # Not at every record, and not of every sublayer.
            if step % (4 * self.options.every) == 0:
                at_attention = lambda value: [value() if k % 2 == 0 else None for k in range(depth)]
                trained = self.progress(step)
                record["attention"] = {
                    "max_logit": at_attention(lambda: 6 * (1 + 2 * trained) * self.noise(0.2)),
                    "entropy": {"mean": at_attention(lambda: 2.5 - trained + self.random.gauss(0, 0.1))},
                    "normalised_entropy": {"min": at_attention(lambda: 0.3 * self.noise(0.2))},
                }
            if self.options.placement == "peri":
                bounds = [None] + [9 + 8.5 * k for k in range(1, depth + 1)]
                record["bounds"] = {"row_norm": bounds, "share": [
                    bound and norm / bound for norm, bound in zip(stream["max_row_norm"], bounds)]}
        return record

    def tensor_rows(self, step):
        count = len(self.tensors)
        rows = {"grad_norm": self.profile(count, lambda k: 0.1, 0.5)}
        if self.options.ranks > 1:
            rows["grad_norm_local"] = {name: self.profile(count, lambda k: 0.12, 0.5)
                                       for name in ("min", "mean", "max", "std")}
            rows["grad_norm_local"]["argmax_rank"] = [0] * count
        rows["update_ratio"] = [None if step == 1 and "gain" in name else 1e-3 * self.noise(0.5)
                                for name in self.tensors]
        rows["adam_lag"] = self.profile(count, lambda k: 1.1, 0.2)
        rows["parameter_norm"] = self.profile(count, lambda k: 3.0)
        return rows

    def ranks(self, step):
        norm = self.gradient_norm(step)
        norms = [norm * self.noise(0.05) for _ in range(self.options.ranks)]
        if self.options.ranks > BAD_RANK and 0.8 < self.progress(step) < 0.82:
            norms[BAD_RANK] *= 4
        return {"step": step, "loss": [self.loss(step) for _ in norms], "grad_norm": norms,
                "step_seconds": [0.25 * self.noise(0.02) for _ in norms],
                "wait_seconds": [0.01 * self.noise(0.3) for _ in norms]}

    def config(self):
        return f"""# Resolved configuration; after each value, where it came from.
device = "auto"  # default

[run]
name = "{os.path.basename(os.path.normpath(self.options.folder))}"  # made up
dir = ""  # default

[training]
steps = {self.options.steps}  # made up
seed = {self.options.seed}  # made up

[optimizer]
learning_rate = 0.001  # default
clip_norm = 1.0  # default

[model]
blocks = {self.blocks}  # made up
width = 64  # made up
heads = 4  # default
sequence_length = 128  # default
placement = "{self.options.placement}"  # made up
"""

    def write(self):
        folder = self.options.folder
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "config.toml"), "w") as file:
            file.write(self.config())
        with open(os.path.join(folder, "manifest.json"), "w") as file:
            json.dump({"plumb_version": "0.1.0", "git_revision": "0000000", "world": self.options.ranks,
                       "hosts": [f"host{rank // 2}" for rank in range(self.options.ranks)],
                       "backend": "made up", "compute_dtype": "bf16", "seed": self.options.seed,
                       "parameters": 1234567}, file)
        names = ("metrics", "stability", "ranks", "events")
        files = {name: open(os.path.join(folder, f"{name}.jsonl"), "w") for name in names}

        def put(name, record):
            files[name].write(json.dumps(record) + "\n")

        kinds = ("attention", "ffn")
        sublayers = [f"blocks.{k // 2}.{kinds[k % 2]}" for k in range(self.options.sublayers)]
        put("stability", {"kind": "header", "tensors": self.tensors, "sublayers": sublayers})
        for step in range(1, self.last + 1):
            put("metrics", self.metrics(step))
            if step == 1 or step % self.options.every == 0:
                put("stability", self.stability(step))
            if step % 10 == 0:
                put("ranks", self.ranks(step))
            if step % max(self.options.steps // 4, 1) == 0:
                put("events", {"step": step, "kind": "checkpoint", "text": f"saved step {step} <&>",
                               "time": "2026-01-01T00:00:00Z"})
        if self.options.torn:
            for name in ("metrics", "stability"):
                files[name].write('{"step":' + str(self.last + 1) + ',"loss":1.')
        for file in files.values():
            file.close()


if __name__ == "__main__":
    MadeUpRun(arguments()).write()
