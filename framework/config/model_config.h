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
/// factor]. The schedules are rows of nn/residual_schedule.cpp.
struct KnobConfig {
  double value = 1;
  double width_exponent = 0;           ///< times model.width to this power
  std::string depth = "constant";      ///< a depth schedule
  std::string counts = "sublayers";    ///< what L and l count in `depth`: sublayers | blocks
  std::vector<double> list;            ///< depth = "list": one factor per counted unit
  double depth_end = 0;                ///< linear, cosine: factor of the last unit
  double depth_base = 1;               ///< power, depth-mup, completep: the L at which the factor is 1
  double depth_exponent = -1;          ///< power, completep
  std::string time = "constant";       ///< a time schedule
  std::string time_counts = "blocks";  ///< what l and L count in `time`
  std::int64_t ramp_steps = 0;
  double time_start = 0;
  std::string trainable = "none";  ///< none | scalar | vector; starts at value * depth(k), times time(t)
  std::string storage = "value";   ///< value | unit | 1/sqrt(width): what the trainable factor starts from
  std::string transform = "identity";  ///< identity | absolute | gpas: from what is stored to the coefficient
  bool per_block = false;              ///< one trainable factor for all sublayers of a block
  bool decay = false;                  ///< weight decay of the trainable factor
  double keep_probability = 1;         ///< < 1: Bernoulli per sequence, rescaled by 1/keep
  std::string keep_depth =
      "constant";              ///< constant | linear (1 at the bottom to keep_probability at the top)
  bool tie_to_branch = false;  ///< only a: a = 1 - b
  bool stop_gradient = false;  ///< only p: the gradient passes as if p were 1 (GPAS)
  /// Whether L and l in `depth` count blocks: a number shared by a block always does.
  bool depth_counts_blocks() const { return per_block || counts == "blocks"; }
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

/// Factors inside the branch, with the schedules of a knob.
struct SublayerGains {
  KnobConfig qk;           ///< on queries and keys after norm and rotation, one for both; vector: (H*D)
  KnobConfig value;        ///< on the values
  KnobConfig first_value;  ///< times the first attention's values, added to the values; starts at 0: absent
  KnobConfig ffn;          ///< on the FFN's hidden layer before the activation; vector: its columns
  SublayerGains() { first_value.value = 0; }
  bool operator==(const SublayerGains&) const = default;
};

/// Everything that may differ from sublayer to sublayer.
struct SublayerConfig {
  SublayerNorms norm;
  SublayerKnobs residual;
  SublayerGains gain;
  std::string branch_input =
      "stream";                ///< stream | block: what N_in reads; block: the stream at the block's start
  bool branch_biases = false;  ///< one trainable number before every matrix and activation (Fixup)
  std::string qk_norm_extent = "head";  ///< head: per head, gain (D) shared; full: over all heads, gain (H*D)
  std::string v_norm_extent = "head";
  bool head_gains = false;          ///< one trainable gain per head on the attention output, init 1
  std::string activation = "gelu";  ///< gelu | gelu_tanh | relu | relu_squared | silu | swiglu | geglu
  bool operator==(const SublayerConfig&) const = default;
};

/// A change to a range of sublayers: [[model.override]].
struct OverrideConfig {
  std::vector<double> blocks;  ///< [first, last], both included, counted from 0; empty = every block
  std::int64_t every = 1;      ///< only blocks l = 1, 2, ... with l divisible by it
  bool fractions = false;  ///< blocks was written with a point: fractions of depth, [0.0, 0.25] = the first
                           ///< quarter; covers the blocks whose middle (block + 1/2) / L is in [first, last)
  std::string sublayer = "all";  ///< all | attention | ffn | linear
  std::vector<std::pair<std::string, std::string>>
      settings;        ///< key under model (norm.in.kind), TOML value text
  std::string origin;  ///< file:line, for messages
};

/// The kinds are rows of nn/init.cpp.
struct InitConfig {
  std::string kind = "gpt2";
  double standard_deviation = 0.02;  ///< gpt2, normal: of every matrix
  std::string embedding = "normal";  ///< of the token embedding: normal | inverse-width | small | ...
  double embedding_standard_deviation = 0.02;
  double position_standard_deviation = 0.02;
  std::string projection_scale =
      "auto";  ///< auto | 1/sqrt(2L) | none: W_O, W_2; auto: none where N_out is there
  std::string depth =
      "constant";           ///< constant | ds-init | depth-growing: extra factor of the matrices of a block
  double depth_scale = 1;   ///< ds-init: its alpha
  double depth_growth = 1;  ///< depth-growing: r of r^k
  double depth_correlation = 0;  ///< rho of W_k = rho W_0 + sqrt(1 - rho^2) E_k
  std::string profile = "none";  ///< none | admin: a pass over the first batch sets the skips
};

/// What carries the activations from sublayer to sublayer (nn/streams/stream_adapter.h).
struct StreamsConfig {
  std::string kind = "single";  ///< single | residual | siamese | hyper | mhc
  std::int64_t count = 4;       ///< hyper, mhc: n
  bool dynamic = true;          ///< hyper: the mixing weights depend on the token
  std::int64_t sinkhorn_iterations = 20;
  bool operator==(const StreamsConfig&) const = default;
};

struct ModelConfig {
  std::int64_t blocks = 12;
  std::int64_t width = 64;
  std::int64_t heads = 4;
  std::int64_t head_width = 0;  ///< 0 = width / heads
  std::int64_t sequence_length = 128;
  std::int64_t vocabulary = 0;  ///< 0 = what the data says
  std::string placement = "peri";
  double placement_fraction = 0.25;     ///< mix-ln: share of the blocks, from the bottom, that are post
  std::int64_t placement_period = 6;    ///< res-post-norm: blocks between extra norms of the stream
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
  std::string embedding_scale_by = "constant";  ///< constant | sqrt(width): further factor on the embedding
  std::int64_t ffn_hidden = 0;  ///< 0 = 4 * width; gated: 8/3 * width rounded up to a multiple of 8
  double attention_scale = 0;   ///< 0 = what attention_scale_by says
  std::string attention_scale_by = "1/sqrt(head_width)";  ///< | sqrt(head_width)
  double attention_soft_cap = 0;                          ///< 0 = none
  double head_soft_cap = 0;                               ///< 0 = none
  double z_loss = 0;
  double dropout_embedding = 0, dropout_attention = 0, dropout_branch = 0;
  bool sphere_weights = false;            ///< every matrix keeps unit vectors along the width (nGPT)
  NormConfig embedding_norm, final_norm;  ///< keys model.norm.embedding.*, model.norm.final.*
  NormConfig stream_norm;                 ///< key model.norm.stream.*: of the second stream, or before mixing
  KnobConfig logit_gain;                  ///< keys model.gain.logits.*; vector: (V)
  StreamsConfig streams;
  SublayerConfig base;  ///< keys model.norm.*, model.residual.*, model.activation, ...
  InitConfig init;
  std::vector<OverrideConfig> overrides;

  std::int64_t resolved_head_width() const { return head_width > 0 ? head_width : width / heads; }
};

/// The base with every override that covers (block, kind) applied in order. kind: attention | ffn | linear.
/// Throws InputError with the override's origin for a bad setting.
SublayerConfig resolved_sublayer(const ModelConfig& model, std::int64_t block, const std::string& kind);

}  // namespace plumb
