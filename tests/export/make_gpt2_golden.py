#!/usr/bin/python3
"""Makes tests/export/gpt2.safetensors: parameters of a small GPT-2 under Hugging Face's names and in its layout, token
ids, and the logits that float64 PyTorch computes from them. Knows nothing of Plumb; the model is written from
"Language Models are Unsupervised Multitask Learners" (Radford et al. 2019) and the description of the layout in Hugging
Face's documentation of GPT-2: Conv1D holds (inputs, outputs), c_attn gives queries, keys and values side by side.

    launch/setup.sh --golden
    /usr/bin/python3 tests/export/make_gpt2_golden.py"""
import math
import pathlib
import sys

import torch

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "golden"))
import safetensors_file  # noqa: E402

# As gpt2.toml has them; no two sizes alike, so that a transpose or a swap cannot hide.
VOCABULARY, POSITIONS, WIDTH, HEADS, LAYERS, HIDDEN, EPSILON = 11, 7, 12, 3, 2, 20, 3e-5
SEQUENCES, TOKENS = 2, 7


def draw(generator, shape, spread, centre=0.0):
    return (centre + spread * torch.randn(shape, generator=generator, dtype=torch.float64)).float()


def parameters(generator):
    tensors = {"wte.weight": draw(generator, [VOCABULARY, WIDTH], 0.5),
               "wpe.weight": draw(generator, [POSITIONS, WIDTH], 0.3),
               "ln_f.weight": draw(generator, [WIDTH], 0.2, 1.0), "ln_f.bias": draw(generator, [WIDTH], 0.2)}
    for layer in range(LAYERS):
        for name, inputs, outputs in [("attn.c_attn", WIDTH, 3 * WIDTH), ("attn.c_proj", WIDTH, WIDTH),
                                      ("mlp.c_fc", WIDTH, HIDDEN), ("mlp.c_proj", HIDDEN, WIDTH)]:
            tensors[f"h.{layer}.{name}.weight"] = draw(generator, [inputs, outputs], 0.8 / math.sqrt(inputs))
            tensors[f"h.{layer}.{name}.bias"] = draw(generator, [outputs], 0.2)
        for name in ["ln_1", "ln_2"]:
            tensors[f"h.{layer}.{name}.weight"] = draw(generator, [WIDTH], 0.2, 1.0)
            tensors[f"h.{layer}.{name}.bias"] = draw(generator, [WIDTH], 0.2)
    return tensors


def logits(tensors, ids):
    p = {name: tensor.double() for name, tensor in tensors.items()}

    def conv1d(x, name):
        return x @ p[f"{name}.weight"] + p[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred**2).mean(-1, keepdim=True)
        return p[f"{name}.weight"] * centred / torch.sqrt(variance + EPSILON) + p[f"{name}.bias"]

    def gelu_new(x):
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def attention(x, name):
        batch, length, _ = x.shape
        query, key, value = conv1d(x, f"{name}.c_attn").split(WIDTH, dim=2)
        query, key, value = (part.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2)
                             for part in (query, key, value))
        scores = query @ key.transpose(2, 3) / math.sqrt(WIDTH // HEADS)
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)
        mixed = (torch.softmax(scores, dim=-1) @ value).transpose(1, 2).reshape(batch, length, WIDTH)
        return conv1d(mixed, f"{name}.c_proj")

    x = p["wte.weight"][ids] + p["wpe.weight"][: ids.shape[1]]
    for layer in range(LAYERS):
        x = x + attention(norm(x, f"h.{layer}.ln_1"), f"h.{layer}.attn")
        x = x + conv1d(gelu_new(conv1d(norm(x, f"h.{layer}.ln_2"), f"h.{layer}.mlp.c_fc")), f"h.{layer}.mlp.c_proj")
    return norm(x, "ln_f") @ p["wte.weight"].T


def main():
    generator = torch.Generator().manual_seed(1)
    tensors = parameters(generator)
    ids = torch.randint(VOCABULARY, [SEQUENCES, TOKENS], generator=generator)
    file = {f"transformer.{name}": tensor for name, tensor in tensors.items()}
    file["inputs"] = ids.int()
    file["logits"] = logits(tensors, ids)
    safetensors_file.write(HERE / "gpt2.safetensors", file, {"made_by": "make_gpt2_golden.py"})
    print(f"{len(tensors)} parameters, logits from {file['logits'].min():.3f} to {file['logits'].max():.3f}")


if __name__ == "__main__":
    main()
