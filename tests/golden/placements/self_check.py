"""Cross-checks of the models that the golden files come from: against golden_model.py, which has the generic block
equation and its own tests, and identities between placements. Each prints the largest relative difference and fails
above the tolerance."""
import pathlib
import tempfile

import torch

import golden_config
import golden_file
import golden_model
import golden_placements as single
import golden_streams as streams


class Differences:
    def __init__(self, title, tolerance):
        self.title, self.tolerance, self.worst, self.where = title, tolerance, 0.0, "-"

    def add(self, name, left, right):
        error = float((left - right).norm() / max(float(left.norm()), 1e-300))
        if not error <= self.worst:  # a NaN must win
            self.worst, self.where = error, name

    def report(self):
        print(f"{self.title:64} {self.worst:.1e} ({self.where})")
        assert self.worst <= self.tolerance, self.title


def compare(title, make_left, make_right, batch, parameters, tolerance=1e-14, translate=lambda name: name,
            streams_of=lambda x: x):
    """Both models on the same numbers: loss, streams, branches and gradients. translate: from a right parameter's name
    to the left one's; streams_of: from a left stream to the right one."""
    left, left_loss, left_gradients = golden_file.run(make_left, *batch, parameters)
    alias = Renamed(parameters, translate)
    right, right_loss, right_gradients = golden_file.run(make_right, *batch, alias)
    differences = Differences(title, tolerance)
    differences.add("loss", left_loss, right_loss)
    for k, (x, y) in enumerate(zip(left.streams, right.streams, strict=True)):
        differences.add(f"stream/{k}", streams_of(x), y.reshape(streams_of(x).shape))
    for k, (x, y) in enumerate(zip(left.branches, right.branches, strict=True)):
        differences.add(f"branch/{k}", x, y)
    zero = {name for name, *_ in left.zero_by_analysis}
    for name, gradient in right_gradients.items():
        if name not in zero and name in left_gradients:
            differences.add(name, left_gradients[name], gradient)
    differences.report()


class Renamed:
    """The same tensors under other names; a name that the first model did not draw is drawn."""

    def __init__(self, parameters, translate):
        self.parameters, self.translate, self.tensors = parameters, translate, {}

    def __call__(self, name, *arguments):
        self.tensors[name] = self.parameters(self.translate(name), *arguments)
        return self.tensors[name]


class Fixed:
    """Parameters of which some are given values: {end of the name: value}."""

    def __init__(self, parameters, values):
        self.parameters, self.values = parameters, values
        self.tensors = parameters.tensors

    def __call__(self, name, shape, *arguments):
        is_new = name not in self.tensors
        tensor = self.parameters(name, shape, *arguments)
        for end, value in self.values.items():
            if is_new and name.endswith(end):
                with torch.no_grad():
                    tensor.copy_(torch.as_tensor(value(name) if callable(value) else value, dtype=torch.float64))
        return tensor


class ShorterStep(single.Post):
    """Post-norm whose branch is divided by what DeepNorm multiplies the skip by: LayerNorm does not see the difference,
    but for its eps."""
    alpha = 6 ** 0.25
    eps = single.DeepNorm.eps / alpha**2

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        return z, self.layernorm(f"{sub.name}.norm_post", self.round(x + sub.b / self.alpha * z))


class ScaledPost(single.Post):
    def embed(self, inputs):
        return super().embed(inputs, 8**0.5)


def against_golden_model(common_path, shape, batch):
    """The four placements that golden_model.py knows, without the ramp, which it does not."""
    shape = shape | {"ramp_steps": 0}
    text = common_path.read_text()
    for name, model in (("none", single.NoNorm), ("pre", single.Pre), ("post", single.Post), ("peri", single.Peri)):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "case.toml"
            lines = [line for line in text.splitlines() if not line.startswith("residual.")]
            path.write_text("\n".join(lines + [f'placement = "{name}"', ""]))
            config = golden_config.Config(path)
        compare(f"{name} == golden_model.py",
                lambda p, bf16=None: model(shape, 50, p, bf16),
                lambda p, bf16=None: golden_model.Model(config, 50, p, bf16),
                batch, golden_model.Parameters("self-check", 1))


def identities(shape, batch):
    def maker(model):
        return lambda p, bf16=None: model(shape, 50, p, bf16)

    def draw(values=None):
        return Fixed(golden_model.Parameters("self-check", 2), values or {})

    blocks, n = shape["blocks"], streams.HyperConnectionsStatic.n
    assert (blocks, shape["width"]) == (3, 8)
    compare("deepnorm == post with a shorter step", maker(single.DeepNorm), maker(ShorterStep), batch, draw(), 1e-13)
    compare("admin with a skip of ones == post of a scaled embedding", maker(single.Admin), maker(ScaledPost), batch,
            draw({".a": 1.0}))
    compare("gpas with g = 0 == pre", maker(single.GPAS), maker(single.Pre), batch, draw({".p": 0.0}))
    compare("layerscale of ones == pre", maker(single.LayerScale), maker(single.Pre), batch,
            draw({"attention.b": 1.0, "ffn.b": 1.0}))
    compare("skipinit of ones == none", maker(single.SkipInit), maker(single.NoNorm), batch,
            draw({"attention.b": 1.0, "ffn.b": 1.0}))
    compare("rezero of ones == none", maker(single.ReZero), maker(single.NoNorm), batch,
            draw({f"blocks.{block}.b": 1.0 for block in range(blocks)}))

    def one_hot(name):
        """Reads one stream, writes all, mixes nothing."""
        _, block, kind, *_ = name.split(".")
        read = torch.eye(n)[(2 * int(block) + (kind == "ffn")) % n]
        return torch.cat([read[:, None], torch.ones(n, 1), torch.eye(n)], dim=1).flatten()

    def permuted(name):
        """Any doubly stochastic mix of equal streams, and reads that add up to 1."""
        mix = 0.7 * torch.eye(n, dtype=torch.float64).roll(1, 0) + 0.3 * torch.eye(n, dtype=torch.float64)
        read = torch.tensor([0.5, 0.25, 0.125, 0.125])
        return torch.cat([read[:, None], torch.ones(n, 1), mix], dim=1).flatten()

    class SumOfCopies(single.Pre):
        def finish(self, x):
            return super().finish(n * x)

    for title, base in (("one-hot reads and identity mix", one_hot), ("any stochastic reads and mix", permuted)):
        compare(f"hyper-connections-static, {title} == pre of n x", maker(streams.HyperConnectionsStatic),
                maker(SumOfCopies), batch, draw({"streams.base": base}), 1e-13,
                streams_of=lambda x: x.unflatten(-1, (n, -1))[:, 2])
    compare("hyper-connections with scales 0 == static", maker(streams.HyperConnections),
            maker(streams.HyperConnectionsStatic), batch, draw({"streams.scales": 0.0}))

    def logits(name):
        """read = 1/n, write = 1; the mix does not matter."""
        base = golden_model.Parameters("mix", 3)(name, [n, n + 2], 0.5).detach().clone()
        base[:, 0], base[:, 1] = -torch.tensor(n - 1.0).double().log(), 0.0
        return base.flatten()

    compare("mhc with static weights of the start == pre of n x", maker(streams.MHC), maker(SumOfCopies), batch,
            draw({"streams.base": logits, "streams.scales": 0.0}), 1e-11,
            streams_of=lambda x: x.unflatten(-1, (n, -1))[:, 2])

    model = streams.MHC(shape, 50, draw())
    mix = model.sinkhorn(torch.randn(100, n, n, generator=torch.Generator().manual_seed(4), dtype=torch.float64).exp())
    differences = Differences("mhc's mix is doubly stochastic (100 draws of standard normal)", 1e-4)
    differences.add("old", mix.sum(-2), torch.ones(100, n))
    differences.add("new", mix.sum(-1), torch.ones(100, n))
    differences.report()


def run_all(common_path, common, make_batch):
    training, shape = common
    batch = make_batch("self-check", training["sequences_per_step"], shape)
    against_golden_model(common_path, shape, batch)
    identities(shape, batch)
