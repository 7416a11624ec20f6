"""Reads a case's TOML: defaults, placement presets and overrides, as docs/design/block_equation.md and
docs/config.md define them, written down a second time."""
import copy
import tomllib

NORM = {"kind": "none", "epsilon": 1e-5, "gain_init": 1.0, "gain": True, "bias": True, "alpha_init": 0.5}
KNOB = {"value": 1.0, "depth": "constant", "counts": "sublayers", "list": [], "time": "constant", "ramp_steps": 0,
        "time_start": 0.0, "trainable": "none", "tie_to_branch": False, "stop_gradient": False}
SLOTS = ["in", "out", "post", "qk", "v", "pre_projection", "ffn_inner", "embedding", "final"]
MODEL = {
    "placement": "peri", "norm_kind": "layernorm", "block": ["attention", "ffn"], "position": "learned",
    "heads": 4, "head_width": 0, "rotary_base": 10000.0, "causal": True, "biases": True, "tied_head": True,
    "head_bias": False, "embedding_scale": 1.0, "ffn_hidden": 0, "attention_scale": 0.0, "attention_soft_cap": 0.0,
    "head_soft_cap": 0.0, "z_loss": 0.0, "qk_norm_extent": "head", "v_norm_extent": "head", "head_gains": False,
    "activation": "gelu",
    "norm": {slot: NORM for slot in SLOTS},
    "residual": {"a": KNOB, "b": KNOB, "c": KNOB, "e": KNOB | {"value": 0.0}, "p": KNOB},
}
PLACEMENTS = {"none": [], "pre": ["in", "final"], "post": ["post"], "peri": ["in", "out", "final"]}


def merge(base, changes):
    """A deep copy of base with the changes in it; a key that base does not know is a slip in the TOML."""
    merged = copy.deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


class Config:
    def __init__(self, path):
        with open(path, "rb") as file:
            given = tomllib.load(file)
        self.sequences = given["training"]["sequences_per_step"]
        model = given["model"]
        self.overrides = model.pop("override", [])
        known = set(MODEL) | {"blocks", "width", "sequence_length", "vocabulary"}
        assert set(model) <= known, f"{path}: unknown keys {set(model) - known}"
        placement = model.get("placement", MODEL["placement"])
        preset = {"norm": {slot: {"kind": "standard"} for slot in PLACEMENTS[placement]}}
        self.model = merge(merge(MODEL, preset), model)
        self.standard = self.model["norm_kind"]
        self.head_width = self.model["head_width"] or self.model["width"] // self.model["heads"]

    def __getitem__(self, key):
        return self.model[key]

    def norm(self, settings, slot):
        norm = dict(settings["norm"][slot])
        norm["kind"] = self.standard if norm["kind"] == "standard" else norm["kind"]
        return norm

    def sublayer(self, block, kind):
        """The settings of a sublayer, with the overrides that cover it applied in order."""
        settings = self.model
        for override in self.overrides:
            first, last = override["blocks"]
            if first <= block <= last and override.get("sublayer", "all") in ("all", kind):
                changes = {key: value for key, value in override.items() if key not in ("blocks", "sublayer")}
                settings = merge(settings, changes)
        return settings

    def hidden(self, gated):
        if self["ffn_hidden"]:
            return self["ffn_hidden"]
        return -(-(8 * self["width"]) // 24) * 8 if gated else 4 * self["width"]
