"""What the placements are made of, in float64 PyTorch: norms, attention, FFN, embedding, head and loss. A placement is
a subclass that says what one sublayer does to the stream (golden_placements.py, golden_streams.py); nothing here knows
of knobs or slots, and gradients come from autograd.

Every activation that a program would keep goes through round(), which imitates bf16 (golden_model.Rounding)."""
import math

import torch

from golden_model import Rounding, activation


def exactly(x):
    return x


class FlashAttention(torch.autograd.Function):
    """softmax(logits) v + rounding, whose backward takes the sum over j of P_ij dP_ij from the rounded output, as
    programs do that keep no weights (arXiv 2205.14135). Only for imitations of bf16."""

    @staticmethod
    def forward(context, logits, v, rounding):
        context.save_for_backward(logits, v, rounding)
        return torch.einsum("bhij,bjhd->bihd", torch.softmax(logits, dim=-1), v) + rounding

    @staticmethod
    def backward(context, gradient):
        logits, v, rounding = context.saved_tensors
        weights = torch.softmax(logits, dim=-1)
        out = torch.einsum("bhij,bjhd->bihd", weights, v) + rounding
        row_sums = (gradient * out).sum(-1).transpose(1, 2)[..., None]
        dweights = torch.einsum("bihd,bjhd->bhij", gradient, v)
        return weights * (dweights - row_sums), torch.einsum("bhij,bihd->bjhd", weights, gradient), None


class Sublayer:
    """Attention or FFN of a block: its place, and b, the factor of its branch at the optimiser step of the files."""

    def __init__(self, shape, block, kind, step):
        self.block, self.kind = block, kind
        self.index = 2 * block + (kind == "ffn")  # k = 0 .. K-1
        self.name = f"blocks.{block}.{kind}"
        # ProRes, arXiv 2603.05369, "linear": min(t / (T l), 1), l = 1 .. L the block
        ramp = shape["ramp_steps"]
        self.b = min(step / (ramp * (block + 1)), 1.0) if ramp else 1.0


class Model:
    """Defaults: learned positions, tied head, biases, GELU, causal attention, one stream that starts as the embedding
    and is not normalised at its end."""

    eps = 1e-5
    z_loss = 0.0

    def __init__(self, shape, step, parameters, bf16=None):
        """shape: the keys of common.toml's [model]; bf16: a generator, for rounded activations."""
        self.shape, self.parameter = shape, parameters
        self.round = (lambda x: Rounding.apply(x, bf16)) if bf16 else exactly
        self.width, self.heads, self.blocks = shape["width"], shape["heads"], shape["blocks"]
        self.head_width = self.width // self.heads
        self.sublayers = [Sublayer(shape, block, kind, step) for block in range(self.blocks)
                          for kind in ("attention", "ffn")]
        self.streams, self.branches, self.zero_by_analysis = [], [], []

    # -- norms over the last dimension -------------------------------------------------------------------------------
    def gain(self, name, width, centre=1.0):
        return self.parameter(f"{name}.gain", [width], 0.2, centre)

    def bias(self, name, width):
        return self.parameter(f"{name}.bias", [width], 0.2)

    def layernorm(self, name, v, gain=1.0):
        centred = v - v.mean(-1, keepdim=True)
        unit = centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + self.eps)
        return self.round(self.gain(name, v.shape[-1], gain) * unit + self.bias(name, v.shape[-1]))

    def rms(self, v):
        """Without gain, not rounded."""
        return v / torch.sqrt((v**2).mean(-1, keepdim=True) + self.eps)

    def rmsnorm(self, name, v):
        return self.round(self.gain(name, v.shape[-1]) * self.rms(v))

    def dyt(self, name, v):
        """Dynamic tanh, arXiv 2503.10622."""
        alpha = self.parameter(f"{name}.alpha", [1], 0.1, 0.5)
        return self.round(self.gain(name, v.shape[-1]) * torch.tanh(alpha * v) + self.bias(name, v.shape[-1]))

    def derf(self, name, v):
        """Dynamic erf, arXiv 2512.10938."""
        alpha, offset = self.parameter(f"{name}.alpha", [1], 0.1, 0.5), self.parameter(f"{name}.offset", [1], 0.3)
        return self.round(self.gain(name, v.shape[-1]) * torch.erf(alpha * v + offset) + self.bias(name, v.shape[-1]))

    def l2(self, v):
        """On the unit sphere (nGPT): no gain, no eps."""
        return self.round(v / torch.sqrt((v**2).sum(-1, keepdim=True)))

    # -- branches ----------------------------------------------------------------------------------------------------
    def linear(self, name, x, outputs, bias=True):
        fan_in = x.shape[-1]
        y = x @ self.parameter(f"{name}.weight", [outputs, fan_in], 0.8 / math.sqrt(fan_in)).T
        return self.round(y + self.parameter(f"{name}.bias", [outputs], 0.1) if bias else y)

    def project_qkv(self, sub, u, bias=True):
        """q, k, v (B,T,H,D)."""
        qkv = self.linear(f"{sub.name}.qkv", u, 3 * self.width, bias)
        return [part.unflatten(-1, (self.heads, self.head_width)) for part in qkv.chunk(3, dim=-1)]

    def attend(self, q, k, v, scale=None, cap=None):
        """softmax(scale q k^T) v over this and earlier tokens, (B,T,H,D); scale 1/sqrt(D) unless given; cap:
        logits <- cap tanh(logits / cap)."""
        tokens = q.shape[1]
        logits = torch.einsum("bihd,bjhd->bhij", q, k) * (scale or 1 / math.sqrt(self.head_width))
        if cap:
            logits = cap * torch.tanh(logits / cap)
        future = torch.ones(tokens, tokens).triu(1).bool()
        logits = logits.masked_fill(future, -math.inf)
        out = torch.einsum("bhij,bjhd->bihd", torch.softmax(logits, dim=-1), v)
        if self.round is exactly:
            return out
        return self.round(FlashAttention.apply(logits, v, self.round(out.detach()) - out.detach()))

    def project_out(self, sub, heads, bias=True):
        return self.linear(f"{sub.name}.projection", heads.flatten(2), self.width, bias)

    def key_bias_is_unseen(self, sub):
        """q_i . bias adds the same to every logit of token i, which softmax does not see: holds where nothing but the
        softmax comes after it."""
        self.zero_by_analysis.append((f"{sub.name}.qkv.bias", self.width, 2 * self.width))

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u)
        self.key_bias_is_unseen(sub)
        return self.project_out(sub, self.attend(q, k, v))

    def hidden(self, sub, u):
        """The FFN's hidden layer after the activation."""
        return self.round(activation("gelu", self.linear(f"{sub.name}.expand", u, self.shape["ffn_hidden"])))

    def ffn(self, sub, u):
        return self.linear(f"{sub.name}.contract", self.hidden(sub, u), self.width)

    def branch(self, sub, u):
        """F(u)."""
        return self.attention(sub, u) if sub.kind == "attention" else self.ffn(sub, u)

    # -- the model ---------------------------------------------------------------------------------------------------
    def embed(self, inputs, token_factor=1.0):
        """Positions are added as they are: the factor sqrt(width) of Transformers is the token table's."""
        table = self.parameter("embedding.token", [self.shape["vocabulary"], self.width], 0.35)
        positions = self.parameter("embedding.position", [self.shape["sequence_length"], self.width], 0.25)
        return self.round(token_factor * table[inputs.long()] + positions[:inputs.shape[1]])

    def start(self, x):
        """The stream that the first sublayer reads, from the embedding."""
        return x

    def update(self, sub, x, x_block):
        """(z, x'): what the branch gives, and the stream after the sublayer. x_block: the stream before the block."""
        raise NotImplementedError

    def finish(self, x):
        """What the head reads."""
        return x

    def stored(self, x):
        """The stream as the file holds it."""
        return x

    def logits(self, h):
        return h @ self.parameter("embedding.token", [self.shape["vocabulary"], self.width], 0.35).T

    def loss(self, inputs, targets):
        """Mean cross entropy (+ z-loss); fills streams, branches and zero_by_analysis."""
        x = self.start(self.embed(inputs))
        for sub in self.sublayers:
            if sub.kind == "attention":
                x_block = x
            self.streams.append(self.stored(x))
            z, x = self.update(sub, x, x_block)
            self.branches.append(z)
        self.streams.append(self.stored(x))
        logits = self.logits(self.finish(x))
        log_z = torch.logsumexp(logits, dim=-1)
        chosen = logits.gather(-1, targets.long()[..., None])[..., 0]
        return (log_z - chosen + self.z_loss * log_z**2).mean()
