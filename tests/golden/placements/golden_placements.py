"""The placements with one residual stream whose attention and FFN are the usual ones. Every placement is written out
from the formula its authors published; nothing is shared between them but the parts and, where a paper defines itself by another one, that
one's class.

x is the stream, F the sublayer's branch, N LayerNorm (RMS: RMSNorm), b the branch factor of the step (parts.Sublayer),
l = 1 .. L the block, k = 1 .. K = 2L the sublayer."""
import math

import torch

from parts import Model


class NoNorm(Model):
    """x <- x + b F(x)."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        return z, self.round(x + sub.b * z)


class Pre(Model):
    """x <- x + b F(N(x)), N before the head: Xiong et al. 2020, arXiv 2002.04745."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x))
        return z, self.round(x + sub.b * z)

    def finish(self, x):
        return self.layernorm("final_norm", x)


class Post(Model):
    """x <- N(x + b F(x)): Vaswani et al. 2017, arXiv 1706.03762."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        return z, self.layernorm(f"{sub.name}.norm_post", self.round(x + sub.b * z))


class Peri(Model):
    """x <- x + b N_out(F(N_in(x))), N before the head: Kim et al. 2025, arXiv 2502.02732."""

    def update(self, sub, x, x_block):
        y = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x))
        z = self.layernorm(f"{sub.name}.norm_out", y)
        return z, self.round(x + sub.b * z)

    def finish(self, x):
        return self.layernorm("final_norm", x)


class ResPostNorm(Model):
    """x <- x + b N_out(F(x)), and the stream itself normalised at the end of every second block here (six in the
    paper); N before the head: Swin v2, arXiv 2111.09883."""

    period = 2

    def update(self, sub, x, x_block):
        z = self.layernorm(f"{sub.name}.norm_out", self.branch(sub, x), gain=0.6)
        x = self.round(x + sub.b * z)
        if sub.kind == "ffn" and (sub.block + 1) % self.period == 0:
            x = self.layernorm(f"{sub.name}.norm_post", x)
        return z, x

    def finish(self, x):
        return self.layernorm("final_norm", x)


class PrePost(Model):
    """x <- N_post(x + b F(N_in(x))): Keel (below) without its factor on the skip."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x))
        return z, self.layernorm(f"{sub.name}.norm_post", self.round(x + sub.b * z))


class DeepNorm(Model):
    """x <- N(alpha x + b F(x)), alpha = (2L)^(1/4) of a decoder: Wang et al. 2022, arXiv 2203.00555."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        alpha = (2 * self.blocks) ** 0.25
        return z, self.layernorm(f"{sub.name}.norm_post", self.round(alpha * x + sub.b * z))


class Keel(Model):
    """x <- RMS_post(alpha x + b F(RMS_in(x))), alpha = K sublayers; the first block is pre-norm, x + b F(RMS_in(x)):
    arXiv 2601.19895."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, self.rmsnorm(f"{sub.name}.norm_in", x))
        if sub.block == 0:
            return z, self.round(x + sub.b * z)
        return z, self.rmsnorm(f"{sub.name}.norm_post", self.round(2 * self.blocks * x + sub.b * z))


class MixLN(Model):
    """The lowest quarter of the blocks post-norm, here block 1 of 3; the others pre-norm; N before the head:
    Li et al. 2024, arXiv 2412.13795."""

    def update(self, sub, x, x_block):
        if sub.block == 0:
            z = self.branch(sub, x)
            return z, self.layernorm(f"{sub.name}.norm_post", self.round(x + sub.b * z))
        z = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x))
        return z, self.round(x + sub.b * z)

    def finish(self, x):
        return self.layernorm("final_norm", x)


class Admin(Model):
    """x <- N(omega * x + b F(x)), omega a trained vector; token embedding times sqrt(width): Liu et al. 2020,
    arXiv 2004.08249."""

    def embed(self, inputs):
        return super().embed(inputs, math.sqrt(self.width))

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        omega = self.parameter(f"{sub.name}.a", [self.width], 0.2, 1.2)
        return z, self.layernorm(f"{sub.name}.norm_post", self.round(omega * x + sub.b * z))


class ReZero(Model):
    """x <- x + alpha_l b F(x), alpha_l one trained number of the block: Bachlechner et al. 2020, arXiv 2003.04887."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        alpha = self.parameter(f"blocks.{sub.block}.b", [1], 0.15, 0.5)
        return z, self.round(x + alpha * sub.b * z)


class SkipInit(Model):
    """x <- x + alpha_k b F(x), alpha_k one trained number of the branch: De and Smith 2020, arXiv 2002.10444."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        alpha = self.parameter(f"{sub.name}.b", [1], 0.15, 0.5)
        return z, self.round(x + alpha * sub.b * z)


class LayerScale(Model):
    """x <- x + b lambda_k * F(N(x)), lambda_k a trained vector; N before the head: CaiT, arXiv 2103.17239."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x))
        scale = self.parameter(f"{sub.name}.b", [self.width], 0.2, 0.5)
        return z, self.round(x + scale * sub.b * z)

    def finish(self, x):
        return self.layernorm("final_norm", x)


class LayerNormScaling(Model):
    """x <- x + b F(N(x) / sqrt(l)); N before the head: Sun et al. 2025, arXiv 2502.05795."""

    def update(self, sub, x, x_block):
        u = self.layernorm(f"{sub.name}.norm_in", x) / math.sqrt(sub.block + 1)
        z = self.branch(sub, self.round(u))
        return z, self.round(x + sub.b * z)

    def finish(self, x):
        return self.layernorm("final_norm", x)


class B2T(Model):
    """x1 = N(x + b A(x)); x' = N(x1 + b M(x1) + x), x the block's input; token embedding times sqrt(width):
    Takase et al. 2022, arXiv 2206.00330."""

    def embed(self, inputs):
        return super().embed(inputs, math.sqrt(self.width))

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        s = x + sub.b * z if sub.kind == "attention" else x + sub.b * z + x_block
        return z, self.layernorm(f"{sub.name}.norm_post", self.round(s))


class GPAS(Model):
    """s = x + b F(N(x)); x <- s - SiLU(g) stopgrad(s), g one trained number of the block; N before the head:
    Chen et al. 2025, arXiv 2506.22049."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x))
        s = x + sub.b * z
        g = self.parameter(f"blocks.{sub.block}.p", [1], 0.2, 0.5)
        return z, self.round(s - g * torch.sigmoid(g) * s.detach())

    def finish(self, x):
        return self.layernorm("final_norm", x)


class TFixup(NoNorm):
    """x <- x + b F(x), token embedding times sqrt(width); the rest is init: Huang et al., ICML 2020."""

    def embed(self, inputs):
        return super().embed(inputs, math.sqrt(self.width))


class DeepScaleLM(Model):
    """x <- sqrt(1 - 2/K) x + sqrt(2/K) b F(N(x)); N before the head: Kedia et al. 2024, arXiv 2403.09635."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x))
        share = 2 / len(self.sublayers)
        return z, self.round(math.sqrt(1 - share) * x + math.sqrt(share) * sub.b * z)

    def finish(self, x):
        return self.layernorm("final_norm", x)

    def logits(self, h):
        """Divided by what the tied embedding has too much: d entries of variance 1/2, one of two tables."""
        return super().logits(h) / math.sqrt(self.width / 2)


class DeepScaleLMPost(Model):
    """x <- N(sqrt(1 - 2/K) x + sqrt(2/K) b F(x)) from a normalised embedding (same paper)."""

    def start(self, x):
        return self.layernorm("embedding_norm", x)

    def update(self, sub, x, x_block):
        z = self.branch(sub, x)
        share = 2 / len(self.sublayers)
        s = math.sqrt(1 - share) * x + math.sqrt(share) * sub.b * z
        return z, self.layernorm(f"{sub.name}.norm_post", self.round(s))

    def logits(self, h):
        return super().logits(h) / math.sqrt(self.width / 2)


class SpikeNoMore(Pre):
    """Pre-norm with the token embedding times sqrt(width): Takase et al. 2023, arXiv 2312.16903."""

    def embed(self, inputs):
        return super().embed(inputs, math.sqrt(self.width))


class SpanNorm(Model):
    """y = N(x + b A(x)); x' = N(x + b M(y)), x the block's input; attention of the first block reads N(x): arXiv
    2601.22580, Eqs. 5-8 as a port cites them."""

    def update(self, sub, x, x_block):
        if sub.kind == "ffn":
            z = self.branch(sub, x)
            return z, self.layernorm(f"{sub.name}.norm_post", self.round(x_block + sub.b * z))
        z = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x) if sub.block == 0 else x)
        return z, self.layernorm(f"{sub.name}.norm_post", self.round(x + sub.b * z))


class Parallel(Model):
    """x' = x + b A(N_1(x)) + b M(N_2(x)), N before the head: GPT-NeoX, arXiv 2204.06745. Sublayer by sublayer the first
    adds A, the second M of the block's input."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", x_block))
        return z, self.round(x + sub.b * z)

    def finish(self, x):
        return self.layernorm("final_norm", x)


class PreDyT(Model):
    """Pre-norm with dynamic tanh in the place of LayerNorm, before the head too: arXiv 2503.10622."""

    def update(self, sub, x, x_block):
        z = self.branch(sub, self.dyt(f"{sub.name}.norm_in", x))
        return z, self.round(x + sub.b * z)

    def finish(self, x):
        return self.dyt("final_norm", x)
