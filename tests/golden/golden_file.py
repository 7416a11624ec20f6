"""From a PyTorch model to a golden file (README.md says what is in one): runs it, checks that every gradient says
something, measures what bf16 would do to it, and writes the file.

make_model(parameters, bf16=None) makes a model with loss(inputs, targets), and streams, branches and zero_by_analysis,
[(parameter, first, last)], after it."""
import torch

import safetensors_file

TIME_STEP = 50  # the optimiser step whose time factors are used; ramps in the cases are half-way there
DRAWS_OF_ROUNDING = 32


def shortfall(gradients, share):
    """How far gradients are below their share of the whole one."""
    total = sum((g**2).sum() for g in gradients).sqrt()
    return sum((g.norm() / (share * total)).log().clamp(max=0) ** 2 for g in gradients)


def condition(make_model, inputs, targets, parameters, steps=40, share=0.03):
    """Moves the parameters, by gradients of gradients, until every tensor's gradient is a fair share of the whole."""
    make_model(parameters).loss(inputs, targets)  # declares the tensors
    tensors = list(parameters.tensors.values())
    optimiser = torch.optim.Adam(tensors, lr=0.02)
    for _ in range(steps):
        loss = make_model(parameters).loss(inputs, targets)
        gradients = torch.autograd.grad(loss, tensors, create_graph=True)
        optimiser.zero_grad()
        shortfall(gradients, share).backward()
        optimiser.step()
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(tensor.bfloat16())


class Noise(torch.autograd.Function):
    """x times random numbers near 1, and the gradient times others: rounding as something to differentiate."""

    @staticmethod
    def forward(context, x, forward_factor, backward_factor):
        context.save_for_backward(backward_factor)
        return x * forward_factor

    @staticmethod
    def backward(context, gradient):
        return gradient * context.saved_tensors[0], None, None


def settle(make_model, inputs, targets, parameters, steps=80, draws=3, rate=0.03, share=0.01, size=2.0**-9):
    """Moves the parameters, by gradients of gradients, to where noise in the activations and their gradients does the
    least to any tensor's gradient, while none gets small and the loss not large; for models in which no draw is
    good."""
    model = make_model(parameters)
    model.loss(inputs, targets)  # declares the tensors
    tensors = list(parameters.tensors.values())
    zero = {name: torch.zeros_like(tensor).flatten() for name, tensor in parameters.tensors.items()}
    for name, first, last in model.zero_by_analysis:
        zero[name][first:last] = 1
    generator = torch.Generator().manual_seed(0)

    def noisy(x):
        factors = [1 + size * torch.randn(x.shape, generator=generator, dtype=torch.float64) for _ in range(2)]
        return Noise.apply(x, *factors)

    def evaluate(round_activation=None):
        """(loss, gradients without what is zero by analysis, and that)"""
        model = make_model(parameters)
        model.round = round_activation or model.round
        loss = model.loss(inputs, targets)
        gradients = [g.flatten() for g in torch.autograd.grad(loss, tensors, create_graph=True)]
        return (loss, [(1 - mask) * g for mask, g in zip(zero.values(), gradients) if not mask.all()],
                [mask * g for mask, g in zip(zero.values(), gradients) if mask.any()])

    optimiser = torch.optim.Adam(tensors, lr=rate)
    for _ in range(steps):
        loss, exact, exact_zero = evaluate()
        # What should be zero is held against a hundredth of the whole, as golden_compare.cpp does.
        scales = [(g**2).sum() for g in exact]
        scales += [1e-4 * sum(scales)] * len(exact_zero)
        squared = [0.0] * len(scales)
        for _ in range(draws):
            _, noisy_exact, noisy_zero = evaluate(noisy)
            for i, (g, moved) in enumerate(zip(exact + exact_zero, noisy_exact + noisy_zero)):
                squared[i] = squared[i] + ((g - moved) ** 2).sum() / scales[i]
        worst = torch.logsumexp(3 * torch.stack(squared).log(), dim=0)  # softly the largest
        optimiser.zero_grad()
        (worst + shortfall(exact, share) + 0.2 * loss).backward()
        optimiser.step()
    with torch.no_grad():
        for tensor in tensors:
            tensor.copy_(tensor.bfloat16())


def run(make_model, inputs, targets, parameters, bf16=None):
    """(model, loss (1), {parameter: gradient})"""
    model = make_model(parameters, bf16)
    loss = model.loss(inputs, targets)
    for tensor in parameters.tensors.values():
        tensor.grad = None
    loss.backward()
    gradients = {name: tensor.grad.clone() for name, tensor in parameters.tensors.items()}
    return model, loss.detach().reshape(1), gradients


def whole_norm(gradients):
    return sum(float(g.norm()) ** 2 for g in gradients.values()) ** 0.5


def check(case, model, parameters, gradients):
    """What the files promise: parameters that bf16 holds, and no gradient that is zero but for the listed ones."""
    total = whole_norm(gradients)
    for name, value in parameters.tensors.items():
        assert torch.equal(value, value.bfloat16().double()), f"{case}: {name} is not representable in bf16"
        spans = [span for span in model.zero_by_analysis if span[0] == name]
        for _, first, last in spans:
            zero = gradients[name].flatten()[first:last]
            assert float(zero.norm()) < 1e-14 * total, f"{case}: {name} should be zero"
        if sum(last - first for _, first, last in spans) < value.numel():
            assert float(gradients[name].norm()) > 1e-4 * total, f"{case}: {name} has a trivial gradient"
    return total


def bf16_errors(make_model, inputs, targets, parameters, draws=DRAWS_OF_ROUNDING):
    """{tensor: relative error} of rounding every activation and its gradient to bf16, measured as golden_compare.cpp
    measures the engine; the upper quartile of several different roundings, as one alone may be lucky."""
    exact, loss, gradients = run(make_model, inputs, targets, parameters)
    total = whole_norm(gradients)
    found = {}

    def add(name, error):
        found.setdefault(name, []).append(float(error))

    for draw in range(draws):
        generator = torch.Generator().manual_seed(draw)
        rounded, rounded_loss, rounded_gradients = run(make_model, inputs, targets, parameters, generator)
        add("loss", (rounded_loss - loss).abs() / loss.abs())
        for kind, left, right in (("stream", exact.streams, rounded.streams),
                                  ("branch", exact.branches, rounded.branches)):
            for k, (x, y) in enumerate(zip(left, right)):
                add(f"{kind}/{k}", (x - y).norm() / x.norm())
        for name, g in gradients.items():
            difference = (g - rounded_gradients[name]).flatten()
            for _, first, last in (span for span in exact.zero_by_analysis if span[0] == name):
                difference[first:last] = 0
            add(f"gradient/{name}", difference.norm() / max(float(g.norm()), 1e-4 * total))
    return {name: sorted(errors)[draws * 3 // 4] for name, errors in found.items()}


def write(path, make_model, inputs, targets, parameters, metadata=None):
    case = path.stem
    model, loss, gradients = run(make_model, inputs, targets, parameters)
    total = check(case, model, parameters, gradients)
    tensors = {"inputs": inputs, "targets": targets, "loss": loss}
    tensors |= {f"stream/{k}": x for k, x in enumerate(model.streams)}
    tensors |= {f"branch/{k}": z for k, z in enumerate(model.branches)}
    tensors |= {f"parameter/{name}": value.bfloat16() for name, value in parameters.tensors.items()}
    tensors |= {f"gradient/{name}": value for name, value in gradients.items()}
    errors = bf16_errors(make_model, inputs, targets, parameters)
    zero = " ".join(f"{name}:{first}:{last}" for name, first, last in model.zero_by_analysis)
    safetensors_file.write(path, tensors, {"step": str(TIME_STEP), "zero_gradients": zero,
                                           "bf16_errors": " ".join(f"{k} {e:.2e}" for k, e in errors.items()),
                                           "made_by": f"PyTorch {torch.__version__}, float64"} | (metadata or {}))
    numbers = sum(value.numel() for value in gradients.values())
    smallest = min(gradients, key=lambda name: float(gradients[name].norm()))
    print(f"{case:24} {len(gradients):4} tensors {numbers:6} numbers  loss {float(loss):.12f}  |gradient| {total:.6f}"
          f"  least {smallest} {float(gradients[smallest].norm()) / total:.1e}  bf16 {max(errors.values()):.1e}"
          f"  {path.stat().st_size:8} bytes", flush=True)


def print_worst(case, errors):
    worst = sorted(errors.items(), key=lambda item: -item[1])[:4]
    print(f"{case:24} " + "  ".join(f"{name} {error:.1e}" for name, error in worst))
