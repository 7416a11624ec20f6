#!/usr/bin/python3
"""Makes tests/golden/<case>.safetensors from <case>.toml with float64 PyTorch. Run from anywhere; see README.md.

    make_golden.py [CASE ...]      all cases when none is named
    make_golden.py --bf16          writes nothing; prints what rounding every activation to bf16 would do"""
import argparse
import pathlib
import sys

import torch

import golden_config
import golden_file
import golden_model

HERE = pathlib.Path(__file__).resolve().parent
# Draws of the parameters, chosen such that no gradient is a small difference of large sums: bf16 does not hold those
# to the tolerance of 2e-2 (see --bf16).
SEEDS = {"none": 30, "pre": 53, "post": 14, "peri": 104, "custom": 26, "linear": 30, "no_biases": 36,
         "activation_gelu": 40, "activation_gelu_tanh": 15, "activation_relu": 26, "activation_relu_squared": 36,
         "activation_silu": 43, "activation_swiglu": 33, "activation_geglu": 10}
# Cases with trainable scalars: hardly a draw is good for all of them, so the parameters are moved
# (golden_file.condition).
CONDITIONED = {"custom", "post"}
CASES_WITHOUT_SOME_TARGETS = {"pre", "custom"}


def make_batch(case, config):
    """Token ids and targets (B,T) from a small linear congruential generator: no library's stream matters. Low ids
    are frequent, as in text."""
    state, words = sum(map(ord, case)), []
    batch, tokens, vocabulary = config.sequences, config["sequence_length"], config["vocabulary"]
    for _ in range(batch * (tokens + 1)):
        state = (state * 1103515245 + 12345) % 2**31
        words.append(((state >> 16) % vocabulary) ** 3 // vocabulary**2)
    text = torch.tensor(words, dtype=torch.int32).view(batch, tokens + 1)
    inputs, targets = text[:, :-1].contiguous(), text[:, 1:].contiguous()
    if case in CASES_WITHOUT_SOME_TARGETS:
        targets[0, 2] = targets[1, :3] = targets[-1, -1] = -1
    return inputs, targets


def make_case(case):
    """(make_model, inputs, targets, parameters), see golden_file.py."""
    config = golden_config.Config(HERE / f"{case}.toml")
    inputs, targets = make_batch(case, config)
    parameters = golden_model.Parameters(case, SEEDS.get(case, 0))

    def make_model(parameters, bf16=None):
        return golden_model.Model(config, golden_file.TIME_STEP, parameters, bf16)

    if case in CONDITIONED:
        golden_file.condition(make_model, inputs, targets, parameters)
    return make_model, inputs, targets, parameters


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    arguments = parser.parse_args()
    known = sorted(path.stem for path in HERE.glob("*.toml"))
    unknown = set(arguments.cases) - set(known)
    if unknown:
        sys.exit(f"make_golden: no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    torch.set_num_threads(1)  # one order of summation
    for case in arguments.cases or known:
        made = make_case(case)
        if arguments.bf16:
            golden_file.print_worst(case, golden_file.bf16_errors(*made))
        else:
            golden_file.write(HERE / f"{case}.safetensors", *made)


if __name__ == "__main__":
    main()
