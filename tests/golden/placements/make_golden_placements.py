#!/usr/bin/python3
"""Makes tests/golden/placements/<case>.safetensors with float64 PyTorch. Run from anywhere; see ../README.md.

    make_golden_placements.py [CASE ...]            all cases when none is named
    make_golden_placements.py --bf16 [CASE ...]     writes nothing; prints what rounding every activation would do
    make_golden_placements.py --search N [CASE ...] writes nothing; prints the best of the seeds 0 .. N-1
    make_golden_placements.py --self-check          compares the models with ../golden_model.py and with each other"""
import argparse
import math
import pathlib
import sys
import tomllib

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import golden_branches as inner
import golden_file
import golden_model
import golden_placements as single
import golden_streams as streams
import self_check


class Case:
    def __init__(self, model, seed, placement=None, settings=()):
        """seed: where the parameters are drawn before they settle (golden_file.settle), as --search found it.
        placement: its row, when that is not the case's name. settings: what the configuration needs beside common.toml
        and the placement."""
        self.model, self.seed, self.placement, self.settings = model, seed, placement, settings


CASES = {
    "none": Case(single.NoNorm, 0),
    "pre": Case(single.Pre, 0),
    "post": Case(single.Post, 0),
    "peri": Case(single.Peri, 0),
    "out-norm": Case(inner.OutNorm, 0),
    "res-post-norm": Case(single.ResPostNorm, 0, settings=["model.placement_period=2"]),
    "pre-post": Case(single.PrePost, 0),
    "deepnorm": Case(single.DeepNorm, 0),
    "keel": Case(single.Keel, 0),
    "mix-ln": Case(single.MixLN, 0),
    "hybridnorm": Case(inner.HybridNorm, 0),
    "hybridnorm-star": Case(inner.HybridNormStar, 0),
    "admin": Case(single.Admin, 0),
    "rezero": Case(single.ReZero, 0),
    "skipinit": Case(single.SkipInit, 0),
    "layerscale": Case(single.LayerScale, 0),
    "layernorm-scaling": Case(single.LayerNormScaling, 0),
    "b2t": Case(single.B2T, 0),
    "normformer": Case(inner.NormFormer, 0),
    "sub-ln": Case(inner.SubLN, 1),
    # The row's activation, over the one of common.toml.
    "ngpt": Case(inner.NGPT, 0, settings=["model.activation=swiglu"]),
    "gpas": Case(single.GPAS, 0),
    "fixup": Case(inner.Fixup, 1),
    "t-fixup": Case(single.TFixup, 0),
    "deepscalelm": Case(single.DeepScaleLM, 0),
    "deepscalelm-post": Case(single.DeepScaleLMPost, 0),
    "gemma2": Case(inner.Gemma2, 0),
    "gemma3": Case(inner.Gemma3, 1),
    "spike-no-more": Case(single.SpikeNoMore, 0),
    "value-residual": Case(inner.ValueResidual, 0),
    "spannorm": Case(single.SpanNorm, 0),
    "parallel": Case(single.Parallel, 0),
    "vit-22b": Case(inner.ViT22B, 0),
    "residual": Case(streams.ResiDual, 0),
    "siamesenorm": Case(streams.SiameseNorm, 0),
    "hyper-connections-static": Case(streams.HyperConnectionsStatic, 0),
    "hyper-connections": Case(streams.HyperConnections, 7),
    "mhc": Case(streams.MHC, 0),
    "pre-dyt": Case(single.PreDyT, 0, "pre", ["model.norm_kind=dyt"]),
    "peri-derf-qkv": Case(inner.PeriDerfQKV, 0, "peri", ["model.norm_kind=derf", "model.norm.qk.kind=standard",
                                                          "model.norm.v.kind=standard"]),
}


def read_common():
    """(training, model) of common.toml; model's residual.b.ramp_steps as "ramp_steps"."""
    with open(HERE / "common.toml", "rb") as file:
        common = tomllib.load(file)
    ramp = common["model"].pop("residual")["b"]
    assert ramp["time"] == "prores-linear" and common["model"]["activation"] == "gelu"
    return common["training"], common["model"] | {"ramp_steps": ramp["ramp_steps"]}


def make_batch(name, sequences, shape):
    """Token ids and targets (B,T) from a small linear congruential generator: no library's stream matters. Low ids
    are frequent, as in text."""
    state, words = sum(map(ord, name)), []
    for _ in range(sequences * (shape["sequence_length"] + 1)):
        state = (state * 1103515245 + 12345) % 2**31
        words.append(((state >> 16) % shape["vocabulary"]) ** 2 // shape["vocabulary"])
    text = torch.tensor(words, dtype=torch.int32).view(sequences, -1)
    return text[:, :-1].contiguous(), text[:, 1:].contiguous()


def make_case(name, seed=None):
    """(make_model, inputs, targets, parameters), see golden_file.py."""
    case = CASES[name]
    training, shape = read_common()
    inputs, targets = make_batch(name, training["sequences_per_step"], shape)
    parameters = golden_model.Parameters(name, case.seed if seed is None else seed)

    def make_model(parameters, bf16=None):
        return case.model(shape, golden_file.TIME_STEP, parameters, bf16)

    golden_file.settle(make_model, inputs, targets, parameters)
    return make_model, inputs, targets, parameters


def write_case(name):
    case = CASES[name]
    golden_file.write(HERE / f"{name}.safetensors", *make_case(name),
                      {"placement": case.placement or name, "settings": " ".join(case.settings)})


def search(name, seeds):
    """Prints the seed whose largest bf16 error is the smallest."""
    def worst(seed):
        made = make_case(name, seed)
        model, _, gradients = golden_file.run(*made)
        try:
            golden_file.check(name, model, made[-1], gradients)
        except AssertionError:
            return math.inf, seed
        return max(golden_file.bf16_errors(*made).values()), seed

    error, seed = min(map(worst, range(seeds)))
    print(f"{name:24} seed {seed:4}  largest bf16 error {error:.2e}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--search", type=int, metavar="N")
    parser.add_argument("--self-check", action="store_true")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(CASES)
    if unknown:
        sys.exit(f"make_golden_placements: no {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    torch.set_num_threads(1)  # one order of summation
    if arguments.self_check:
        return self_check.run_all(HERE / "common.toml", read_common(), make_batch)
    for name in arguments.cases or CASES:
        if arguments.search:
            search(name, arguments.search)
        elif arguments.bf16:
            golden_file.print_worst(name, golden_file.bf16_errors(*make_case(name)))
        else:
            write_case(name)


if __name__ == "__main__":
    main()
