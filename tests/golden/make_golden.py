#!/usr/bin/python3
"""Makes tests/golden/<case>.safetensors from <case>.toml with float64 PyTorch. Run from anywhere; see README.md.

    make_golden.py [CASE ...]      all cases when none is named
    make_golden.py --bf16          writes nothing; prints what rounding every activation to bf16 would do"""
import argparse
import pathlib
import sys

import torch

import golden_config
import golden_model
import safetensors_file

HERE = pathlib.Path(__file__).resolve().parent
TIME_STEP = 50  # the optimiser step whose time factors are used; ramps in the cases are half-way there
# Draws of the parameters, chosen such that no gradient is a small difference of large sums: bf16 does not hold those
# to the tolerance of 2e-2 (see --bf16).
SEEDS = {"none": 30, "pre": 53, "post": 14, "peri": 104, "custom": 26, "linear": 30, "no_biases": 36,
         "activation_gelu": 40, "activation_gelu_tanh": 15, "activation_relu": 26, "activation_relu_squared": 36,
         "activation_silu": 43, "activation_swiglu": 33, "activation_geglu": 10}
# Cases with trainable scalars: hardly a draw is good for all of them, so the parameters are moved (condition()).
CONDITIONED = {"custom", "post"}
DRAWS_OF_ROUNDING = 32
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


def condition(config, inputs, targets, parameters, steps=40, share=0.03):
    """Moves the parameters, by gradients of gradients, until every tensor's gradient is a fair share of the whole."""
    golden_model.Model(config, TIME_STEP, parameters).loss(inputs, targets)  # declares the tensors
    tensors = list(parameters.tensors.values())
    optimiser = torch.optim.Adam(tensors, lr=0.02)
    for _ in range(steps):
        loss = golden_model.Model(config, TIME_STEP, parameters).loss(inputs, targets)
        gradients = torch.autograd.grad(loss, tensors, create_graph=True)
        total = sum((g**2).sum() for g in gradients).sqrt()
        shortfall = sum((g.norm() / (share * total)).log().clamp(max=0) ** 2 for g in gradients)
        optimiser.zero_grad()
        shortfall.backward()
        optimiser.step()
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(tensor.bfloat16())


def make_parameters(case, config, inputs, targets):
    parameters = golden_model.Parameters(case, SEEDS.get(case, 0))
    if case in CONDITIONED:
        condition(config, inputs, targets, parameters)
    return parameters


def run(config, inputs, targets, parameters, bf16=None):
    model = golden_model.Model(config, TIME_STEP, parameters, bf16)
    loss = model.loss(inputs, targets)
    for tensor in model.parameter.tensors.values():
        tensor.grad = None
    loss.backward()
    gradients = {name: tensor.grad.clone() for name, tensor in model.parameter.tensors.items()}
    return model, loss.detach().reshape(1), gradients


def check(case, model, gradients):
    """What the files promise: parameters that bf16 holds, and no gradient that is zero but for the listed ones."""
    total = sum(float(g.norm()) ** 2 for g in gradients.values()) ** 0.5
    for name, value in model.parameter.tensors.items():
        assert torch.equal(value, value.bfloat16().double()), f"{case}: {name} is not representable in bf16"
        zero = {span for span in model.zero_by_analysis if span[0] == name}
        gradient = gradients[name].clone()
        for _, first, last in zero:
            assert float(gradient[first:last].norm()) < 1e-14 * total, f"{case}: {name} should be zero"
            gradient[first:last] = 1
        assert float(gradients[name].norm()) > 1e-4 * total, f"{case}: {name} has a trivial gradient"
    return total


def bf16_errors(config, inputs, targets, exact, loss, gradients):
    """{tensor: relative error} of rounding every activation and its gradient to bf16, measured as golden_test.cpp
    measures the engine; the upper quartile of DRAWS_OF_ROUNDING different roundings, as one alone may be lucky."""
    total = sum(float(g.norm()) ** 2 for g in gradients.values()) ** 0.5
    draws = {}

    def add(name, error):
        draws.setdefault(name, []).append(float(error))

    for draw in range(DRAWS_OF_ROUNDING):
        generator = torch.Generator().manual_seed(draw)
        rounded, rounded_loss, rounded_gradients = run(config, inputs, targets, exact.parameter, generator)
        add("loss", (rounded_loss - loss).abs() / loss.abs())
        for kind, left, right in (("stream", exact.streams, rounded.streams),
                                  ("branch", exact.branches, rounded.branches)):
            for k, (x, y) in enumerate(zip(left, right)):
                add(f"{kind}/{k}", (x - y).norm() / x.norm())
        for name, g in gradients.items():
            difference = (g - rounded_gradients[name]).clone()
            for _, first, last in (span for span in exact.zero_by_analysis if span[0] == name):
                difference[first:last] = 0
            add(f"gradient/{name}", difference.norm() / max(float(g.norm()), 1e-4 * total))
    return {name: sorted(errors)[DRAWS_OF_ROUNDING * 3 // 4] for name, errors in draws.items()}


def write_case(case):
    config = golden_config.Config(HERE / f"{case}.toml")
    inputs, targets = make_batch(case, config)
    model, loss, gradients = run(config, inputs, targets, make_parameters(case, config, inputs, targets))
    total = check(case, model, gradients)

    tensors = {"inputs": inputs, "targets": targets, "loss": loss}
    tensors |= {f"stream/{k}": x for k, x in enumerate(model.streams)}
    tensors |= {f"branch/{k}": z for k, z in enumerate(model.branches)}
    tensors |= {f"parameter/{name}": value.bfloat16() for name, value in model.parameter.tensors.items()}
    tensors |= {f"gradient/{name}": value for name, value in gradients.items()}
    errors = bf16_errors(config, inputs, targets, model, loss, gradients)
    zero = " ".join(f"{name}:{first}:{last}" for name, first, last in model.zero_by_analysis)
    path = HERE / f"{case}.safetensors"
    safetensors_file.write(path, tensors, {"step": str(TIME_STEP), "zero_gradients": zero,
                                           "bf16_errors": " ".join(f"{k} {e:.2e}" for k, e in errors.items()),
                                           "made_by": f"PyTorch {torch.__version__}, float64"})
    numbers = sum(value.numel() for value in gradients.values())
    smallest = min(gradients, key=lambda name: float(gradients[name].norm()))
    print(f"{case:24} {len(gradients):4} tensors {numbers:6} numbers  loss {float(loss):.12f}  |gradient| {total:.6f}"
          f"  least {smallest} {float(gradients[smallest].norm()) / total:.1e}  {path.stat().st_size:8} bytes")


def compare_bf16(case):
    config = golden_config.Config(HERE / f"{case}.toml")
    inputs, targets = make_batch(case, config)
    exact, loss, gradients = run(config, inputs, targets, make_parameters(case, config, inputs, targets))
    errors = bf16_errors(config, inputs, targets, exact, loss, gradients)
    worst = sorted(errors.items(), key=lambda item: -item[1])[:4]
    print(f"{case:24} " + "  ".join(f"{name} {error:.1e}" for name, error in worst))


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
        (compare_bf16 if arguments.bf16 else write_case)(case)


if __name__ == "__main__":
    main()
