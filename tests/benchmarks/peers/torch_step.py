#!/usr/bin/env python3
"""PyTorch as a contender of training_steps.py: a GPT-2-shaped model, built of what PyTorch offers for it.

Pre-LN blocks, learned positions, exact GELU, tied head, biases; scaled_dot_product_attention and fused AdamW where this
version has them, gradients clipped to norm 1, weight decay on matrices. Runs with 1.13 and later. Reads numbers of steps
from standard input and answers each by a line of JSON with the seconds of every step.

--hooks: takes at every step, as a user would by hooks, what Plumb takes by default: of the norms', branches' and blocks' outputs
mean, size, variance over features, fourth moment and largest value, row by row where Plumb does; sizes of their gradients; how a
branch lies to the stream; norm of every gradient; size of every update and of what it changed."""
import argparse
import contextlib
import json
import math
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

HAS_FUSED_ATTENTION = hasattr(F, "scaled_dot_product_attention")


class Attention(nn.Module):
    def __init__(self, width, heads, tokens):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        if not HAS_FUSED_ATTENTION:
            # No buffer: gloo broadcasts those, and no booleans.
            self.mask = torch.ones(tokens, tokens).tril().bool().view(1, 1, tokens, tokens)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = (part.view(batch, tokens, self.heads, -1).transpose(1, 2) for part in self.qkv(x).split(width, 2))
        if HAS_FUSED_ATTENTION:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            weights = q @ k.transpose(-2, -1) * (1.0 / math.sqrt(q.shape[-1]))
            y = F.softmax(weights.masked_fill(~self.mask, float("-inf")), dim=-1) @ v
        return self.out(y.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    def __init__(self, width, heads, tokens):
        super().__init__()
        self.norm_attention, self.norm_ffn = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, tokens)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm_attention(x))
        return x + self.ffn(self.norm_ffn(x))


class Transformer(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Embedding(size.tokens, size.width)
        self.blocks = nn.ModuleList(Block(size.width, size.heads, size.tokens) for _ in range(size.blocks))
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
        self.register_buffer("order", torch.arange(size.tokens))

    def forward(self, inputs, targets):
        x = self.tokens(inputs) + self.positions(self.order)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


class Statistics:
    """Moments by hooks, kept as tensors until the end of the step and read in one transfer, the cheapest way there is."""

    def __init__(self, model):
        self.model, self.values = model, []
        for block in model.blocks:
            for module in (block.norm_attention, block.norm_ffn, block.attention, block.ffn, block):
                module.register_forward_hook(self.after_forward)
            for norm, branch in ((block.norm_attention, block.attention), (block.norm_ffn, block.ffn)):
                norm.register_forward_pre_hook(self.remember_stream)
                branch.register_forward_hook(self.after_branch)
        self.before = [torch.empty_like(p) for p in model.parameters()]

    def moments(self, x):
        x = x.detach().float()
        squares = x * x
        rows = squares.sum(-1)
        self.values += [x.mean(), rows.mean(), rows.max(), x.abs().amax(), x.abs().mean(), x.var(-1, unbiased=False).mean(),
                        (squares * squares).mean(), x.mean((0, 1)).square().sum(), (squares > 65504.0**2).sum().float()]

    def after_forward(self, module, inputs, output):
        self.moments(output)
        if output.requires_grad:
            output.register_hook(self.after_backward)

    def after_backward(self, gradient):
        rows = gradient.detach().float().square().sum(-1)
        self.values += [rows.sum(), rows.max()]

    def remember_stream(self, module, inputs):
        self.stream = inputs[0].detach()

    def after_branch(self, module, inputs, output):
        x, z = self.stream.float(), output.detach().float()
        x_size, z_size = x.norm(dim=-1), z.norm(dim=-1)
        self.values += [((x * z).sum(-1) / (x_size * z_size)).mean(), (z_size / x_size).mean()]

    @torch.no_grad()
    def before_update(self):
        parameters = list(self.model.parameters())
        self.values += [p.grad.norm() for p in parameters]
        for copy, p in zip(self.before, parameters):
            copy.copy_(p)

    @torch.no_grad()
    def after_update(self):
        for copy, p in zip(self.before, self.model.parameters()):
            self.values += [copy.norm(), copy.sub_(p).norm()]

    def record(self):
        values, self.values = torch.stack(self.values).tolist(), []
        return json.dumps(values)


def make_optimizer(model):
    groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    for choice in ({"fused": True}, {"foreach": True}):
        with contextlib.suppress(RuntimeError, TypeError):
            return torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), **choice), choice
    raise SystemExit("torch_step: no AdamW")


def peak_megabytes(device):
    """Of the process; on a GPU of PyTorch's allocations, without what its allocator keeps besides."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def say(**line):
    if "--rank" not in sys.argv or sys.argv[sys.argv.index("--rank") + 1] == "0":
        print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("blocks", "width", "heads", "tokens", "batch", "vocabulary"):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", nargs="?", const="default", metavar="MODE", help="of torch.compile")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--hooks", action="store_true")
    parser.add_argument("--world", type=int, default=1, help="ranks of DistributedDataParallel over gloo")
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--commands", help="folder with a pipe for every rank, read in the place of standard input")
    size = parser.parse_args()
    torch.set_num_threads(size.threads)
    torch.manual_seed(1)
    base = peak_megabytes(size.device)
    model = Transformer(size).to(size.device)
    optimizer, choice = make_optimizer(model)
    loss_of = torch.compile(model, mode=size.compile) if size.compile else model
    if size.world > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{size.commands}/store", rank=size.rank, world_size=size.world)
        loss_of = nn.parallel.DistributedDataParallel(loss_of)
    tokens = torch.randint(size.vocabulary, (size.batch, size.tokens), device=size.device)
    taken = Statistics(model) if size.hooks else None

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(size.device, dtype=torch.bfloat16, enabled=size.dtype == "bf16"):
            loss = loss_of(tokens, tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if taken:
            taken.before_update()
        optimizer.step()
        if taken:
            taken.after_update()
            taken.record()
        return loss.item()

    say(name="torch " + torch.__version__ + (", hooks" if taken else ""), parameters=sum(p.numel() for p in model.parameters()), base_megabytes=base,
        optimizer=next(iter(choice)), fused_attention=HAS_FUSED_ATTENTION)
    for line in open(f"{size.commands}/{size.rank}") if size.commands else sys.stdin:
        seconds = []
        if size.world > 1:
            torch.distributed.barrier()
        for _ in range(int(line)):
            start = time.monotonic()
            step()
            seconds.append(time.monotonic() - start)
        say(seconds=seconds, peak_megabytes=peak_megabytes(size.device))


if __name__ == "__main__":
    main()
