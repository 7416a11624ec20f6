"""The model of docs/design/block_equation.md in float64 PyTorch, written from its formulas; gradients by autograd.

`Rounding` imitates bfloat16 compute (every activation and its gradient is rounded): it tells how well a case is
conditioned, and no number but bf16_errors of a file comes from it."""
import math
import zlib

import torch


class PassStraight(torch.autograd.Function):
    """p * s whose backward treats p as 1 on the way to s, and keeps p's own gradient (GPAS)."""

    @staticmethod
    def forward(context, p, s):
        context.save_for_backward(p, s)
        return p * s

    @staticmethod
    def backward(context, gradient):
        p, s = context.saved_tensors
        full = gradient * s
        return full.sum_to_size(p.shape) if p.requires_grad else None, gradient


def to_bf16(x, generator):
    """Rounds up or down with the probabilities that keep the mean: every generator gives other roundings."""
    _, exponent = torch.frexp(x)
    jitter = torch.rand(x.shape, generator=generator, dtype=torch.float64) - 1 / 2
    step = torch.where(x == 0, 0.0, 2.0 ** (exponent - 8))  # of bf16 numbers near x
    return (x + jitter * step).bfloat16().double()


class Rounding(torch.autograd.Function):
    @staticmethod
    def forward(context, x, generator):
        context.generator = generator
        return to_bf16(x, generator)

    @staticmethod
    def backward(context, gradient):
        return to_bf16(gradient, context.generator), None


class Parameters:
    """Draws a tensor when it is first asked for: centre + spread * normal, rounded to bf16."""

    def __init__(self, case, seed):
        self.case, self.seed, self.tensors = case, seed, {}

    def __call__(self, name, shape, spread, centre=0.0):
        if name not in self.tensors:
            generator = torch.Generator().manual_seed(zlib.crc32(f"{self.case}/{self.seed}/{name}".encode()))
            value = centre + spread * torch.randn(shape, generator=generator, dtype=torch.float64)
            self.tensors[name] = value.bfloat16().double().requires_grad_()
        assert list(self.tensors[name].shape) == list(shape), name
        return self.tensors[name]


def activation(kind, t):
    def gelu(x):
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))

    if kind == "gelu":
        return gelu(t)
    if kind == "gelu_tanh":
        return 0.5 * t * (1 + torch.tanh(math.sqrt(2 / math.pi) * (t + 0.044715 * t**3)))
    if kind == "relu":
        return t.clamp(min=0)
    if kind == "relu_squared":
        return t.clamp(min=0) ** 2
    if kind == "silu":
        return t * torch.sigmoid(t)
    gate, up = t.chunk(2, dim=-1)
    return (gate * torch.sigmoid(gate) if kind == "swiglu" else gelu(gate)) * up


def is_gated(kind):
    return kind in ("swiglu", "geglu")


class Model:
    def __init__(self, config, step, parameters, bf16=None):
        """bf16: a generator, for rounded activations."""
        self.config, self.step, self.parameter = config, step, parameters
        self.round = (lambda x: Rounding.apply(x, bf16)) if bf16 else lambda x: x
        self.spread = 0.8 / math.sqrt(config["width"])
        self.streams, self.branches, self.zero_by_analysis = [], [], []

    # -- the parts -----------------------------------------------------------------------------------------------
    def norm(self, norm, name, v):
        """v (..., D): one group per last dimension."""
        kind, width = norm["kind"], v.shape[-1]
        if kind == "none":
            return v
        gain = self.parameter(f"{name}.gain", [width], 0.2, norm["gain_init"]) if norm["gain"] else 1.0
        has_bias = norm["bias"] and kind in ("layernorm", "dyt", "derf")
        bias = self.parameter(f"{name}.bias", [width], 0.2) if has_bias else 0.0
        if kind in ("dyt", "derf"):
            alpha = self.parameter(f"{name}.alpha", [1], 0.1, norm["alpha_init"])
        if kind == "layernorm":
            centred = v - v.mean(-1, keepdim=True)
            unit = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + norm["epsilon"])
        elif kind == "rmsnorm":
            unit = v / torch.sqrt((v**2).mean(-1, keepdim=True) + norm["epsilon"])
        elif kind == "l2":
            unit = v / torch.sqrt((v**2).sum(-1, keepdim=True) + norm["epsilon"])
        elif kind == "dyt":
            unit = torch.tanh(alpha * v)
        elif kind == "derf":
            unit = torch.erf(alpha * v + self.parameter(f"{name}.offset", [1], 0.3))
        else:
            raise ValueError(kind)
        return gain * unit + bias

    def linear(self, name, x, outputs, bias):
        y = x @ self.parameter(f"{name}.weight", [outputs, x.shape[-1]], self.spread).T
        return self.round(y + self.parameter(f"{name}.bias", [outputs], 0.1) if bias else y)

    def head_norm(self, norm, extent, name, x):
        """x (B,T,H,D): one norm per head, or one over all heads."""
        if norm["kind"] == "none":
            return x
        if extent == "head":
            return self.round(self.norm(norm, name, x))
        return self.round(self.norm(norm, name, x.flatten(2))).view_as(x)

    def rotary(self, x):
        """x (B,T,H,D): rotates the pairs (i, i + D/2)."""
        tokens, width = x.shape[1], x.shape[3]
        i = torch.arange(width // 2, dtype=torch.float64)
        angle = torch.arange(tokens, dtype=torch.float64)[:, None] * self.config["rotary_base"] ** (-2 * i / width)
        cos, sin = angle.cos()[None, :, None, :], angle.sin()[None, :, None, :]
        low, high = x[..., :width // 2], x[..., width // 2:]
        return self.round(torch.cat([low * cos - high * sin, low * sin + high * cos], dim=-1))

    def attention(self, settings, name, u):
        config = self.config
        batch, tokens, _ = u.shape
        heads, width = config["heads"], config.head_width
        qkv = self.linear(f"{name}.qkv", u, 3 * heads * width, config["biases"])
        q, k, v = (part.view(batch, tokens, heads, width) for part in qkv.chunk(3, dim=-1))
        qk_norm = config.norm(settings, "qk")
        q = self.head_norm(qk_norm, settings["qk_norm_extent"], f"{name}.norm_q", q)
        k = self.head_norm(qk_norm, settings["qk_norm_extent"], f"{name}.norm_k", k)
        v = self.head_norm(config.norm(settings, "v"), settings["v_norm_extent"], f"{name}.norm_v", v)
        if config["position"] == "rotary":
            q, k = self.rotary(q), self.rotary(k)
        logits = torch.einsum("bihd,bjhd->bhij", q, k) * (config["attention_scale"] or 1 / math.sqrt(width))
        cap = config["attention_soft_cap"]
        if cap:
            logits = cap * torch.tanh(logits / cap)
        if config["causal"]:
            logits = logits.masked_fill(torch.ones(tokens, tokens).triu(1).bool(), -math.inf)
        out = torch.einsum("bhij,bjhd->bihd", torch.softmax(logits, dim=-1), v)
        out = self.round(out)
        if settings["head_gains"]:
            out = self.round(out * self.parameter(f"{name}.head_gain", [heads], 0.2, 1.0)[:, None])
        out = out.flatten(2)
        pre_projection = config.norm(settings, "pre_projection")
        if pre_projection["kind"] != "none":
            out = self.round(self.norm(pre_projection, f"{name}.norm_pre_projection", out))
        # softmax does not see what is added to all its logits: q_i . bias is the same for every j.
        if config["biases"] and qk_norm["kind"] == "none" and config["position"] != "rotary" and not cap:
            self.zero_by_analysis.append((f"{name}.qkv.bias", heads * width, 2 * heads * width))
        return self.linear(f"{name}.projection", out, config["width"], config["biases"])

    def ffn(self, settings, name, u):
        config, kind = self.config, settings["activation"]
        hidden = config.hidden(is_gated(kind))
        pre = self.linear(f"{name}.expand", u, 2 * hidden if is_gated(kind) else hidden, config["biases"])
        h = self.round(activation(kind, pre))
        inner = config.norm(settings, "ffn_inner")
        if inner["kind"] != "none":
            h = self.round(self.norm(inner, f"{name}.norm_ffn_inner", h))
        return self.linear(f"{name}.contract", h, config["width"], config["biases"])

    # -- the block equation --------------------------------------------------------------------------------------
    def knob(self, knob, name, block, index):
        """value * depth(k) * time(t), with a trainable factor in the place of the first two."""
        per_sublayer = knob["counts"] == "sublayers"
        units = self.config["blocks"] * (len(self.config["block"]) if per_sublayer else 1)
        unit = (index if per_sublayer else block) + 1
        depth = {"constant": lambda: 1.0, "1/L": lambda: 1 / units, "1/sqrt(L)": lambda: 1 / math.sqrt(units),
                 "1/l": lambda: 1 / unit, "1/sqrt(l)": lambda: 1 / math.sqrt(unit),
                 "list": lambda: knob["list"][unit - 1]}[knob["depth"]]()
        time = 1.0
        if knob["time"] == "linear":
            time = knob["time_start"] + (1 - knob["time_start"]) * min(self.step / knob["ramp_steps"], 1.0)
        start = knob["value"] * depth
        if knob["trainable"] == "none":
            return torch.tensor([start * time], dtype=torch.float64)
        width = 1 if knob["trainable"] == "scalar" else self.config["width"]
        return self.parameter(name, [width], 0.2, start) * time

    def sublayer(self, kind, name, block, index, x, x_block):
        config = self.config
        settings = config.sublayer(block, kind)
        residual = settings["residual"]
        b, c, e, p = (self.knob(residual[key], f"{name}.{key}", block, index) for key in "bcep")
        tied = residual["a"]["tie_to_branch"]
        a = 1 - b if tied else self.knob(residual["a"], f"{name}.a", block, index)
        u = self.round(c * self.norm(config.norm(settings, "in"), f"{name}.norm_in", x))
        if kind == "attention":
            y = self.attention(settings, name, u)
        elif kind == "ffn":
            y = self.ffn(settings, name, u)
        else:
            y = self.linear(f"{name}.matrix", u, config["width"], config["biases"])
        z = self.round(self.norm(config.norm(settings, "out"), f"{name}.norm_out", y))
        self.branches.append(z)
        s = a * x + b * z + e * x_block
        post = config.norm(settings, "post")
        if post["kind"] != "none":
            s = self.norm(post, f"{name}.norm_post", self.round(s))
        return self.round(PassStraight.apply(p, s) if residual["p"]["stop_gradient"] else p * s)

    def loss(self, inputs, targets):
        """Mean over the targets of cross entropy plus the z-loss term; fills streams (x_0 .. x_K) and branches."""
        config, parameter = self.config, self.parameter
        vocabulary, width, tokens = config["vocabulary"], config["width"], inputs.shape[1]
        table = parameter("embedding.token", [vocabulary, width], 0.35)
        x = config["embedding_scale"] * table[inputs.long()]
        if config["position"] == "learned":
            x = x + parameter("embedding.position", [config["sequence_length"], width], 0.25)[:tokens]
        x = self.round(x)
        if config.norm(config, "embedding")["kind"] != "none":
            x = self.round(self.norm(config.norm(config, "embedding"), "embedding_norm", x))
        kinds, index = config["block"], 0
        for block in range(config["blocks"]):
            x_block = x
            for place, kind in enumerate(kinds):
                earlier = kinds[:place].count(kind)
                name = f"blocks.{block}.{kind}" + (f"_{earlier}" if earlier else "")
                self.streams.append(x)
                x = self.sublayer(kind, name, block, index, x, x_block)
                index += 1
        self.streams.append(x)
        head_input = self.round(self.norm(config.norm(config, "final"), "final_norm", x))
        weight = table if config["tied_head"] else parameter("head.weight", [vocabulary, width], self.spread)
        logits = head_input @ weight.T
        if config["head_bias"]:
            logits = logits + parameter("head.bias", [vocabulary], 0.3)
        if config["head_soft_cap"]:
            logits = config["head_soft_cap"] * torch.tanh(logits / config["head_soft_cap"])
        flat, wanted = logits.view(-1, vocabulary), targets.long().flatten()
        log_z = torch.logsumexp(flat, dim=-1)
        rows = log_z - flat.gather(1, wanted.clamp(min=0)[:, None])[:, 0] + config["z_loss"] * log_z**2
        has_target = wanted >= 0
        return rows[has_target].sum() / has_target.sum()
