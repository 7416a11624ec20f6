"""The placements whose sublayers read and write more than one residual stream, written out from the published formulas. Streams
are a tensor (..., n, C) per token in hyper-connections, and a pair (X, Y) elsewhere. N is LayerNorm; b, F and N as in
golden_placements.py."""
import math

import torch

from parts import Model


class ResiDual(Model):
    """f = F(x); x <- N(x + b f); d <- d + b f, both from the embedding; the head reads x + N(d); token embedding times
    sqrt(width): Xie et al. 2023, arXiv 2304.14802."""

    def embed(self, inputs):
        return super().embed(inputs, math.sqrt(self.width))

    def start(self, x):
        return x, x

    def update(self, sub, streams, block_streams):
        x, d = streams
        f = self.branch(sub, x)
        x = self.layernorm(f"{sub.name}.norm_post", self.round(x + sub.b * f))
        return f, (x, self.round(d + sub.b * f))

    def finish(self, streams):
        x, d = streams
        return self.round(x + self.layernorm("stream_norm", d))

    def stored(self, streams):
        return torch.stack([stream.flatten(0, 1) for stream in streams])


class SiameseNorm(Model):
    """f = F(N_in(X + N_Y(Y))); X <- N_X(X + b f); Y <- Y + b f, both from the embedding; the head reads
    N_final(X + N_Y(Y)): arXiv 2602.08064."""

    def start(self, x):
        return x, x

    def update(self, sub, streams, block_streams):
        x, y = streams
        h = self.round(x + self.layernorm(f"{sub.name}.norm_stream", y))
        f = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", h))
        x = self.layernorm(f"{sub.name}.norm_post", self.round(x + sub.b * f))
        return f, (x, self.round(y + sub.b * f))

    def finish(self, streams):
        x, y = streams
        return self.layernorm("final_norm", self.round(x + self.layernorm("stream_norm", y)))

    def stored(self, streams):
        return torch.stack([stream.flatten(0, 1) for stream in streams])


class HyperConnectionsStatic(Model):
    """h = sum_i read_i X_i; z = F(N(h)); X_j <- sum_i mix_ij X_i + write_j b z; n copies of the embedding at the start;
    the head reads N(sum_i X_i): Zhu et al. 2024, arXiv 2409.19606, with trained constants."""

    n = 4

    def start(self, x):
        return torch.stack([x] * self.n, dim=-2)

    def base(self, sub, read, write, mix):
        """What does not depend on the token: n rows [read_i, write_i, mix_i1 .. mix_in], around the centres."""
        centre = torch.cat([read[:, None], write[:, None], mix], dim=1)
        spread = torch.cat([torch.full([self.n, 2], 0.3), torch.full([self.n, self.n], 0.2)], dim=1)
        name, size = f"{sub.name}.streams.base", self.n * (self.n + 2)
        return self.parameter(name, [size], spread.flatten(), centre.flatten()).view(self.n, self.n + 2)

    def near_pre_norm(self, sub):
        """The paper's start, around which the constants are drawn: reads stream k mod n, writes every stream."""
        one_hot = torch.eye(self.n, dtype=torch.float64)[sub.index % self.n]
        return self.base(sub, one_hot, torch.ones(self.n), torch.eye(self.n))

    def weights(self, sub, streams):
        """read (n), write (n) and mix (n,n) [old, new], or one of each per token."""
        base = self.near_pre_norm(sub)
        return base[:, 0], base[:, 1], base[:, 2:]

    def update(self, sub, streams, block_streams):
        read, write, mix = self.weights(sub, streams)
        h = self.round((read[..., None] * streams).sum(-2))
        z = self.branch(sub, self.layernorm(f"{sub.name}.norm_in", h))
        mixed = torch.einsum("...ij,...ic->...jc", mix, streams)
        written = write[..., None] * self.round(sub.b * z)[..., None, :]
        return z, self.round(mixed + written)

    def finish(self, streams):
        return self.layernorm("final_norm", self.round(streams.sum(-2)))

    def stored(self, streams):
        return streams.flatten(-2).flatten(0, 1)


class HyperConnections(HyperConnectionsStatic):
    """With constants that the token moves: read_i, mix_i += s_a tanh(W N(X_i)), write_i += s_b tanh(w N(X_i)), N the
    same for every stream (same paper, dynamic form)."""

    def weights(self, sub, streams):
        base = self.near_pre_norm(sub)
        normed = self.layernorm(f"{sub.name}.norm_stream", streams)
        moved = torch.tanh(self.linear(f"{sub.name}.streams.projection", normed, self.n + 2, bias=False))
        s_a, s_b = self.parameter(f"{sub.name}.streams.scales", [2], 0.1, 0.5)
        return (base[:, 0] + s_a * moved[..., 0], base[:, 1] + s_b * moved[..., 1],
                base[:, 2:] + s_a * moved[..., 2:])


class MHC(HyperConnectionsStatic):
    """With r = W RMS([X_1|...|X_n]) per token: read = sigmoid(s_1 r + base), write = 2 sigmoid(s_2 r + base), mix =
    exp(s_3 r + base) made doubly stochastic by 20 Sinkhorn steps, each over old, then over new streams: Xie et al.
    2025, arXiv 2512.24880."""

    steps = 20

    def sinkhorn(self, positive):
        """positive (..., old, new)."""
        for _ in range(self.steps):
            positive = positive / positive.sum(-2, keepdim=True)  # what a new stream gets is a mean of the old ones
            positive = positive / positive.sum(-1, keepdim=True)  # and every old stream is used up
        return positive

    def weights(self, sub, streams):
        n = self.n
        # Sigmoids of -log(n - 1) are 1/n.
        base = self.base(sub, torch.full([n], -math.log(n - 1)), torch.zeros(n), torch.eye(n))
        normed = self.round(self.rms(streams.flatten(-2)))
        raw = self.linear(f"{sub.name}.streams.projection", normed, n * (n + 2), bias=False)
        raw = raw.unflatten(-1, (n, n + 2))
        pre, post, mixing = self.parameter(f"{sub.name}.streams.scales", [3], 0.1, 0.5)
        self.mix_is_unseen(sub)
        return (torch.sigmoid(pre * raw[..., 0] + base[:, 0]), 2 * torch.sigmoid(post * raw[..., 1] + base[:, 1]),
                self.sinkhorn(torch.exp(mixing * raw[..., 2:] + base[:, 2:])))

    def mix_is_unseen(self, sub):
        """A doubly stochastic mix changes nothing before the first branch has written, as the streams are equal (but
        for what 20 steps leave, below 1e-14), and nothing after the last one, as the head reads their sum."""
        if sub.index not in (0, len(self.sublayers) - 1):
            return
        n, name = self.n, f"{sub.name}.streams"
        columns = n * self.width
        for first in range(2, n * (n + 2), n + 2):
            self.zero_by_analysis.append((f"{name}.base", first, first + n))
            self.zero_by_analysis.append((f"{name}.projection.weight", first * columns, (first + n) * columns))
        self.zero_by_analysis.append((f"{name}.scales", 2, 3))
