"""Loads exported weights by Hugging Face's transformers and prints what they go on with, always the likeliest token.

    read_gpt2.py FOLDER PROMPT TOKENS

Ends with status 77 and one line when transformers are not installed."""
import sys

try:
    import torch
    from transformers import AutoTokenizer, GPT2LMHeadModel
except ImportError as error:
    print(f"{error}; launch/setup.sh --readers installs what is missing")
    sys.exit(77)

folder, prompt, tokens = sys.argv[1], sys.argv[2], int(sys.argv[3])
model, info = GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True)
assert not info["unexpected_keys"], info
assert not info["mismatched_keys"], info
assert set(info["missing_keys"]) <= {"lm_head.weight"}, info  # tied
tokenizer = AutoTokenizer.from_pretrained(folder)
ids = tokenizer(prompt, return_tensors="pt").input_ids
assert ids.flatten().tolist() == list(prompt.encode()), ids
model.eval()
with torch.no_grad():
    for _ in range(tokens):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
sys.stdout.write(tokenizer.decode(ids[0]) + "\n")
