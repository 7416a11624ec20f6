"""The placements with one residual stream that change what is inside attention or the FFN: norms, gains, caps, biases.
Written out from the published formulas; x, F, N, RMS, b, l and K as in golden_placements.py."""
import math

import torch

from golden_placements import Pre
from parts import Model


class OutNorm(Model):
    """x <- x + b RMS(F(x)); queries and keys RMS-normalised over all heads at once; RMS before the head; 1e-5 log^2 Z
    in the loss: OLMo 2, arXiv 2501.00656."""

    eps = 1e-6
    z_loss = 1e-5

    def update(self, sub, x, x_block):
        z = self.rmsnorm(f"{sub.name}.norm_out", self.branch(sub, x))
        return z, self.round(x + sub.b * z)

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u)
        q = self.rmsnorm(f"{sub.name}.norm_q", q.flatten(2)).view_as(q)
        k = self.rmsnorm(f"{sub.name}.norm_k", k.flatten(2)).view_as(k)
        return self.project_out(sub, self.attend(q, k, v))

    def finish(self, x):
        return self.rmsnorm("final_norm", x)


class HybridNorm(Model):
    """x <- RMS(x + b A(x)) with queries, keys and values RMS-normalised per head; x <- x + b M(x); RMS before the head:
    Zhuo et al. 2025, arXiv 2503.04598."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        x = self.round(x + sub.b * z)
        return z, self.rmsnorm(f"{sub.name}.norm_post", x) if sub.kind == "attention" else x

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u)
        q = self.rmsnorm(f"{sub.name}.norm_q", q)
        k = self.rmsnorm(f"{sub.name}.norm_k", k)
        v = self.rmsnorm(f"{sub.name}.norm_v", v)
        return self.project_out(sub, self.attend(q, k, v))

    def finish(self, x):
        return self.rmsnorm("final_norm", x)


class HybridNormStar(HybridNorm):
    """As HybridNorm, but the first block is x + b F(RMS(x)) for both sublayers (same paper)."""

    def update(self, sub, x, x_block):
        if sub.block > 0:
            return super().update(sub, x, x_block)
        z = self.branch(sub, self.rmsnorm(f"{sub.name}.norm_in", x))
        return z, self.round(x + sub.b * z)


class NormFormer(Model):
    """x <- x + b N_out(A(N_in(x))) with a trained gain on every head; x <- lambda * x + b M(N_in(x)) with a norm after
    the activation, lambda a trained vector; N before the head: Shleifer et al. 2021, arXiv 2110.09456."""

    def update(self, sub, x, x_block):
        y = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x))
        if sub.kind == "attention":
            z = self.layernorm(f"{sub.name}.norm_out", y)
            return z, self.round(x + sub.b * z)
        scale = self.parameter(f"{sub.name}.a", [self.width], 0.2, 1.0)
        return y, self.round(scale * x + sub.b * y)

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u)
        self.key_bias_is_unseen(sub)
        gain = self.parameter(f"{sub.name}.head_gain", [self.heads], 0.2, 1.0)
        return self.project_out(sub, self.round(gain[:, None] * self.attend(q, k, v)))

    def ffn(self, sub, u):
        inner = self.layernorm(f"{sub.name}.norm_ffn_inner", self.hidden(sub, u))
        return self.linear(f"{sub.name}.contract", inner, self.width)

    def finish(self, x):
        return self.layernorm("final_norm", x)


class SubLN(Model):
    """x <- x + b F(N(x)) with a second norm inside the branch, before W_O and before W_2; N before the head:
    Magneto, arXiv 2210.06423."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x))
        return z, self.round(x + sub.b * z)

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u)
        self.key_bias_is_unseen(sub)
        heads = self.attend(q, k, v)
        return self.project_out(sub, self.layernorm(f"{sub.name}.norm_pre_projection", heads.flatten(2)).view_as(heads))

    def ffn(self, sub, u):
        inner = self.layernorm(f"{sub.name}.norm_ffn_inner", self.hidden(sub, u))
        return self.linear(f"{sub.name}.contract", inner, self.width)

    def finish(self, x):
        return self.layernorm("final_norm", x)


class NGPT(Model):
    """h <- L2(h + alpha * (L2(F(h)) - h)), alpha = |stored| 0.05 sqrt(width) b. Queries and keys: rotary, L2 per head,
    times gain; logits of attention times sqrt(D). FFN: SwiGLU of gain * (W_1 h). Head of its own with a gain per logit.
    The gains are stored divided by sqrt(width). No biases. Loshchilov et al. 2024, arXiv 2410.01131. The training
    program keeps the rows of every matrix on the sphere; no formula here does."""

    def embed(self, inputs):
        table = self.parameter("embedding.token", [self.shape["vocabulary"], self.width], 0.35)
        return self.round(table[inputs.long()])

    def scaled(self, name, size, centre, spread):
        return self.parameter(name, [size], spread, centre) * math.sqrt(self.width)

    def update(self, sub, h, x_block):
        z = self.l2(self.branch(sub, h))
        alpha = 0.05 * self.scaled(f"{sub.name}.b", self.width, 1 / math.sqrt(self.width), 0.4).abs() * sub.b
        return z, self.l2(self.round(h + alpha * (z - h)))

    def rotary(self, x):
        """x (B,T,H,D): rotates the pairs (i, i + D/2) of token t by t / 10000^(2i/D): arXiv 2104.09864."""
        half = self.head_width // 2
        frequency = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = torch.arange(x.shape[1], dtype=torch.float64)[:, None, None] * frequency
        pair = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)
        return self.round(torch.cat([pair.real, pair.imag], dim=-1))

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u, bias=False)
        gain = self.scaled(f"{sub.name}.gain_qk", self.width, 1 / math.sqrt(self.width), 0.1)
        gain = gain.view(self.heads, self.head_width)
        q = self.round(gain * self.l2(self.rotary(q)))
        k = self.round(gain * self.l2(self.rotary(k)))
        return self.project_out(sub, self.attend(q, k, v, scale=math.sqrt(self.head_width)), bias=False)

    def ffn(self, sub, u):
        hidden = self.shape["ffn_hidden"]
        both = self.linear(f"{sub.name}.expand", u, 2 * hidden, bias=False)
        gate, up = self.round(self.scaled(f"{sub.name}.gain_ffn", 2 * hidden, 1.0, 0.2) * both).chunk(2, dim=-1)
        swiglu = self.round(gate * torch.sigmoid(gate) * up)
        return self.linear(f"{sub.name}.contract", swiglu, self.width, bias=False)

    def logits(self, h):
        vocabulary = self.shape["vocabulary"]
        weight = self.parameter("head.weight", [vocabulary, self.width], 0.8 / math.sqrt(self.width))
        return self.scaled("head.gain", vocabulary, 0.7, 0.1) * (h @ weight.T)


class Fixup(Model):
    """x <- x + m b F(x), m one trained number; in F one trained number is added before every matrix (not before W_O)
    and before the activation; no bias vectors; token embedding times sqrt(width): Zhang et al. 2019,
    arXiv 1901.09321."""

    def embed(self, inputs):
        return super().embed(inputs, math.sqrt(self.width))

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        multiplier = self.parameter(f"{sub.name}.b", [1], 0.2, 0.8)
        return z, self.round(x + multiplier * sub.b * z)

    def shift(self, name, x):
        return self.round(x + self.parameter(name, [1], 0.2))

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, self.shift(f"{sub.name}.bias_in", u), bias=False)
        return self.project_out(sub, self.attend(q, k, v), bias=False)

    def ffn(self, sub, u):
        shifted = self.shift(f"{sub.name}.bias_in", u)
        pre = self.linear(f"{sub.name}.expand", shifted, self.shape["ffn_hidden"], bias=False)
        pre = self.shift(f"{sub.name}.bias_hidden", pre)
        hidden = self.round(0.5 * pre * (1 + torch.erf(pre / math.sqrt(2))))
        return self.linear(f"{sub.name}.contract", self.shift(f"{sub.name}.bias_out", hidden), self.width, bias=False)


class Gemma(Model):
    """x <- x + b RMS_out(F(RMS_in(x))), token embedding times sqrt(width), RMS before the head."""

    eps = 1e-6

    def embed(self, inputs):
        return super().embed(inputs, math.sqrt(self.width))

    def update(self, sub, x, x_block):
        y = self.branch(sub, self.rmsnorm(f"{sub.name}.norm_in", x))
        z = self.rmsnorm(f"{sub.name}.norm_out", y)
        return z, self.round(x + sub.b * z)

    def finish(self, x):
        return self.rmsnorm("final_norm", x)


class Gemma2(Gemma):
    """With 50 tanh(logits / 50) in attention and 30 tanh(logits / 30) at the head: Gemma 2, arXiv 2408.00118."""

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u)
        return self.project_out(sub, self.attend(q, k, v, cap=50.0))

    def logits(self, h):
        return 30 * torch.tanh(super().logits(h) / 30)


class Gemma3(Gemma):
    """With queries and keys RMS-normalised per head instead of caps: Gemma 3, arXiv 2503.19786."""

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u)
        q = self.rmsnorm(f"{sub.name}.norm_q", q)
        k = self.rmsnorm(f"{sub.name}.norm_k", k)
        return self.project_out(sub, self.attend(q, k, v))


class ViT22B(Model):
    """Both sublayers read the block's input, x + b A(RMS(x)) + b M(RMS(x)); queries and keys RMS-normalised per head; RMS
    before the head: Dehghani et al. 2023, arXiv 2302.05442."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, self.rmsnorm(f"{sub.name}.norm_in", x_block))
        return z, self.round(x + sub.b * z)

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u)
        q = self.rmsnorm(f"{sub.name}.norm_q", q)
        k = self.rmsnorm(f"{sub.name}.norm_k", k)
        return self.project_out(sub, self.attend(q, k, v))

    def finish(self, x):
        return self.rmsnorm("final_norm", x)


class ValueResidual(Pre):
    """Pre-norm whose attention reads (v + v of the first block) / 2 from the second block on: Zhou et al. 2024,
    arXiv 2410.17897 (its fixed form)."""

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u)
        self.key_bias_is_unseen(sub)
        if sub.block == 0:
            self.first_value = v
        else:
            v = self.round(0.5 * v + 0.5 * self.first_value)
        return self.project_out(sub, self.attend(q, k, v))


class PeriDerfQKV(Model):
    """Peri-norm with dynamic erf in the place of LayerNorm, and on queries, keys and values per head:
    arXiv 2512.10938."""

    def update(self, sub, x, x_block):
        y = self.branch(sub, self.derf(f"{sub.name}.norm_in", x))
        z = self.derf(f"{sub.name}.norm_out", y)
        return z, self.round(x + sub.b * z)

    def attention(self, sub, u):
        q, k, v = self.project_qkv(sub, u)
        q = self.derf(f"{sub.name}.norm_q", q)
        k = self.derf(f"{sub.name}.norm_k", k)
        # The norm's bias is a bias of the keys (parts.Model.key_bias_is_unseen), for every head the same.
        self.zero_by_analysis.append((f"{sub.name}.norm_k.bias", 0, self.head_width))
        v = self.derf(f"{sub.name}.norm_v", v)
        return self.project_out(sub, self.attend(q, k, v))

    def finish(self, x):
        return self.derf("final_norm", x)
