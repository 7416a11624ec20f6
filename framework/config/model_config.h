// The model part of the configuration. Field by field documentation, defaults, allowed values and ranges are
// in the schema (schema_model.cpp), from which docs/config.md is generated; keys mirror the struct:
// model.norm.in.kind.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace plumb {

/// One norm slot.
struct NormConfig {
  std::string kind = "none";  ///< none | standard (= model.norm_kind) | layernorm | rmsnorm | dyt | derf | l2
  double epsilon = 1e-5;
  double gain_init = 1;
  bool gain = true;         ///< has a gain (layernorm, rmsnorm, l2, dyt, derf)
  bool bias = true;         ///< has a bias; only layernorm, dyt and derf ever have one
  bool trainable = true;    ///< false: gain, bias, alpha stay as initialised
  bool decay = false;       ///< weight decay on gain and bias
  double alpha_init = 0.5;  ///< dyt, derf
  bool operator==(const NormConfig&) const = default;
};

/// One knob of the block equation: value = value * depth(k) * time(t) [* trainable factor] [* Bernoulli
/// factor].
struct KnobConfig {
  double value = 1;
  std::string depth = "constant";    ///< constant | 1/L | 1/sqrt(L) | 1/l | 1/sqrt(l) | list
  std::string counts = "sublayers";  ///< what L and l count in `depth`: sublayers | blocks
  std::vector<double> list;          ///< depth = "list": one factor per counted unit
  std::string time = "constant";     ///< constant | linear (from time_start to 1 over ramp_steps)
  std::int64_t ramp_steps = 0;
  double time_start = 0;
  std::string trainable = "none";  ///< none | scalar | vector; starts at value * depth(k), times time(t)
  bool decay = false;              ///< weight decay of the trainable factor
  double keep_probability = 1;     ///< < 1: Bernoulli per sequence, rescaled by 1/keep
  std::string keep_depth =
      "constant";              ///< constant | linear (1 at the bottom to keep_probability at the top)
  bool tie_to_branch = false;  ///< only a: a = 1 - b
  bool stop_gradient = false;  ///< only p: the gradient passes as if p were 1 (GPAS)
  bool operator==(const KnobConfig&) const = default;
};

/// The norm slots of a sublayer. qk, v and pre_projection act in attention, ffn_inner in the FFN.
struct SublayerNorms {
  NormConfig in, out, post;
  NormConfig qk, v, pre_projection, ffn_inner;
  bool operator==(const SublayerNorms&) const = default;
};

struct SublayerKnobs {
  KnobConfig a, b, c, e, p;  ///< e starts at value 0: no block skip
  SublayerKnobs() { e.value = 0; }
  bool operator==(const SublayerKnobs&) const = default;
};

/// Everything that may differ from sublayer to sublayer.
struct SublayerConfig {
  SublayerNorms norm;
  SublayerKnobs residual;
  std::string qk_norm_extent = "head";  ///< head: per head, gain (D) shared; full: over all heads, gain (H*D)
  std::string v_norm_extent = "head";
  bool head_gains = false;          ///< one trainable gain per head on the attention output, init 1
  std::string activation = "gelu";  ///< gelu | gelu_tanh | relu | relu_squared | silu | swiglu | geglu
  bool operator==(const SublayerConfig&) const = default;
};

/// A change to a range of sublayers: [[model.override]].
struct OverrideConfig {
  std::vector<double> blocks;  ///< [first, last], both included, counted from 0; empty = every block
  bool fractions = false;  ///< blocks was written with a point: fractions of depth, [0.0, 0.25] = the first
                           ///< quarter; covers the blocks whose middle (block + 1/2) / L is in [first, last)
  std::string sublayer = "all";  ///< all | attention | ffn | linear
  std::vector<std::pair<std::string, std::string>>
      settings;        ///< key under model (norm.in.kind), TOML value text
  std::string origin;  ///< file:line, for messages
};

struct InitConfig {
  std::string kind = "gpt2";         ///< gpt2 | normal | xavier
  double standard_deviation = 0.02;  ///< gpt2, normal: of every matrix
  double embedding_standard_deviation = 0.02;
  double position_standard_deviation = 0.02;
  std::string projection_scale =
      "auto";  ///< auto | 1/sqrt(2L) | none: W_O, W_2; auto: none where N_out is there
};

struct ModelConfig {
  std::int64_t blocks = 12;
  std::int64_t width = 64;
  std::int64_t heads = 4;
  std::int64_t head_width = 0;  ///< 0 = width / heads
  std::int64_t sequence_length = 128;
  std::int64_t vocabulary = 0;  ///< 0 = what the data says
  std::string placement = "peri";
  std::string norm_kind = "layernorm";  ///< what "standard" means in a slot
  std::vector<std::string> block = {"attention",
                                    "ffn"};  ///< sublayer kinds of one block: attention, ffn, linear
  std::string position = "learned";          ///< learned | rotary | none
  double rotary_base = 10000;
  bool causal = true;
  bool biases = true;  ///< of the matrices in sublayers
  bool tied_head = true;
  bool head_bias = false;
  double embedding_scale = 1;
  std::int64_t ffn_hidden = 0;    ///< 0 = 4 * width; gated: 8/3 * width rounded up to a multiple of 8
  double attention_scale = 0;     ///< 0 = 1/sqrt(head_width)
  double attention_soft_cap = 0;  ///< 0 = none
  double head_soft_cap = 0;       ///< 0 = none
  double z_loss = 0;
  double dropout_embedding = 0, dropout_attention = 0, dropout_branch = 0;
  NormConfig embedding_norm, final_norm;  ///< keys model.norm.embedding.*, model.norm.final.*
  SublayerConfig base;                    ///< keys model.norm.*, model.residual.*, model.activation, ...
  InitConfig init;
  std::vector<OverrideConfig> overrides;

  std::int64_t resolved_head_width() const { return head_width > 0 ? head_width : width / heads; }
};

/// The base with every override that covers (block, kind) applied in order. kind: attention | ffn | linear.
/// Throws InputError with the override's origin for a bad setting.
SublayerConfig resolved_sublayer(const ModelConfig& model, std::int64_t block, const std::string& kind);

}  // namespace plumb
