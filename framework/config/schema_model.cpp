// Keys that hold for the whole model.
#include "config/schema.h"

namespace plumb::detail {
namespace {

std::vector<FieldSpec<ModelConfig>> shape_fields() {
  const ReadWhen attention = {{"block", {"attention"}}};
  return {
      {"blocks", &ModelConfig::blocks, between(1, 100000), "blocks",
       "Depth L; the number of sublayers K is this times the length of model.block."},
      {"width", &ModelConfig::width, between(1, 1 << 20), "", "Width of the residual stream."},
      {"heads", &ModelConfig::heads, between(1, 65536), "heads", "Attention heads.", attention},
      {"head_width", &ModelConfig::head_width, between(0, 65536), "", "Width of a head; 0: width / heads.",
       attention},
      {"sequence_length", &ModelConfig::sequence_length, between(1, 1 << 24), "tokens",
       "Tokens of a sequence."},
      {"vocabulary", &ModelConfig::vocabulary, between(0, 65536), "tokens",
       "Rows of the token embedding; 0: what the data says."},
      {"placement", &ModelConfig::placement, anything(), "",
       "Placement preset: a row of settings under model, which explicit keys win over (`plumb placements` "
       "lists "
       "them)."},
      {"placement_fraction",
       &ModelConfig::placement_fraction,
       between(0, 1),
       "share of the depth",
       "Placement mix-ln: the blocks, from the bottom, that are post.",
       {{"placement", {"mix-ln"}}}},
      {"placement_period",
       &ModelConfig::placement_period,
       between(0, 100000),
       "blocks",
       "Placement res-post-norm: every so many blocks the stream itself is normed; 0: never.",
       {{"placement", {"res-post-norm", "swin-v2"}}}},
      {"norm_kind", &ModelConfig::norm_kind, one_of({"layernorm", "rmsnorm", "dyt", "derf", "l2"}), "",
       "What the kind `standard` of a norm slot means."},
      {"block", &ModelConfig::block, one_of({"attention", "ffn", "linear"}), "",
       "Sublayers of one block, in order; linear is one matrix, for theory."},
      {"position", &ModelConfig::position, one_of({"learned", "rotary", "none"}), "",
       "How attention knows positions."},
      {"rotary_base",
       &ModelConfig::rotary_base,
       above(0),
       "",
       "Base of the rotary wavelengths.",
       {{"position", {"rotary"}}, {"block", {"attention"}}}},
      {"causal", &ModelConfig::causal, anything(), "",
       "Attention sees only the token itself and earlier ones.", attention},
      {"biases", &ModelConfig::biases, anything(), "", "The matrices in sublayers have biases."},
      {"tied_head", &ModelConfig::tied_head, anything(), "", "The head uses the token embedding's matrix."},
      {"head_bias", &ModelConfig::head_bias, anything(), "",
       "The head has a bias per token of the vocabulary."},
      {"embedding_scale", &ModelConfig::embedding_scale, above(0), "",
       "Factor on the token embedding, before positions are added."},
      {"embedding_scale_by", &ModelConfig::embedding_scale_by, one_of({"constant", "sqrt(width)"}), "",
       "Further factor on the token embedding: 1, or the root of the width."},
      {"sphere_weights", &ModelConfig::sphere_weights, anything(), "",
       "Every matrix is kept at unit vectors along the width, at the start and after every step (nGPT)."},
      {"ffn_hidden",
       &ModelConfig::ffn_hidden,
       between(0, 1 << 22),
       "",
       "Hidden width of the FFN; 0: 4 * width, and for gated activations 8/3 * width rounded up to a "
       "multiple of 8.",
       {{"block", {"ffn"}}}},
      {"attention_scale", &ModelConfig::attention_scale, at_least(0), "",
       "Factor on q.k before the softmax; 0: what attention_scale_by says.", attention},
      {"attention_scale_by", &ModelConfig::attention_scale_by,
       one_of({"1/sqrt(head_width)", "sqrt(head_width)"}), "",
       "Factor on q.k where attention_scale is 0; the root itself is for queries and keys of unit length "
       "(nGPT).",
       attention},
      {"attention_soft_cap", &ModelConfig::attention_soft_cap, at_least(0), "",
       "Attention logits become cap * tanh(logit / cap); 0: none.", attention},
      {"head_soft_cap", &ModelConfig::head_soft_cap, at_least(0), "",
       "Output logits become cap * tanh(logit / cap); 0: none."},
      {"z_loss", &ModelConfig::z_loss, at_least(0), "", "Weight of the mean of (log Z)^2 in the loss."},
      {"dropout.embedding", &ModelConfig::dropout_embedding, from_to_below(0, 1), "probability",
       "Dropout on the embedding."},
      {"dropout.attention",
       &ModelConfig::dropout_attention,
       from_to_below(0, 1),
       "probability",
       "Dropout on the attention weights.",
       {{"model.block", {"attention"}}}},
      {"dropout.branch", &ModelConfig::dropout_branch, from_to_below(0, 1), "probability",
       "Dropout on what a sublayer adds to the stream."},
  };
}

std::vector<FieldSpec<InitConfig>> init_fields() {
  return {
      {"kind", &InitConfig::kind,
       one_of({"gpt2", "normal", "xavier", "small", "deepnorm", "sub-ln", "fairseq", "b2t", "fixup",
               "t-fixup", "deepscalelm"}),
       "", "Distribution of the matrices in sublayers ([init](placements.md#init))."},
      {"standard_deviation",
       &InitConfig::standard_deviation,
       at_least(0),
       "",
       "Of every matrix in a sublayer and of an untied head.",
       {{"kind", {"gpt2", "normal"}}}},
      {"embedding", &InitConfig::embedding,
       one_of({"normal", "inverse-width", "small", "t-fixup", "deepscalelm", "small-embedding"}), "",
       "Distribution of the token embedding ([init](placements.md#init)); small-embedding needs a norm on "
       "it."},
      {"embedding_standard_deviation",
       &InitConfig::embedding_standard_deviation,
       at_least(0),
       "",
       "Of the token embedding.",
       {{"embedding", {"normal"}}}},
      {"position_standard_deviation",
       &InitConfig::position_standard_deviation,
       at_least(0),
       "",
       "Of the position embedding.",
       {{"model.position", {"learned"}}}},
      {"projection_scale", &InitConfig::projection_scale, one_of({"auto", "1/sqrt(2L)", "none"}), "",
       "Extra factor on the last matrix of a branch; auto: 1/sqrt(2L) with gpt2 and small where the branch "
       "does not end in a norm, else none."},
      {"depth", &InitConfig::depth, one_of({"constant", "ds-init", "depth-growing"}), "",
       "Extra factor on the matrices of a sublayer: ds-init depth_scale / sqrt(l), l = 1.. the block; "
       "depth-growing depth_growth^k, k = 0.. the sublayer."},
      {"depth_scale",
       &InitConfig::depth_scale,
       above(0),
       "",
       "The alpha of ds-init.",
       {{"depth", {"ds-init"}}}},
      {"depth_growth",
       &InitConfig::depth_growth,
       above(0),
       "",
       "Growth of the weights from sublayer to sublayer.",
       {{"depth", {"depth-growing"}}}},
      {"depth_correlation", &InitConfig::depth_correlation, between(-1, 1), "",
       "rho: matrices that play the same part in block 0 and a later one start as W = rho W_0 + sqrt(1 - "
       "rho^2) E, before their own scale (depth-correlated)."},
      {"profile", &InitConfig::profile, one_of({"none", "admin"}), "",
       "admin: before the first step a pass over the first batch sets every trained skip coefficient to the "
       "root of the variance that the branches below it add."},
  };
}

std::vector<FieldSpec<StreamsConfig>> streams_fields() {
  const ReadWhen mixed = {{"kind", {"hyper", "mhc"}}};
  return {
      {"kind", &StreamsConfig::kind, one_of({"single", "residual", "siamese", "hyper", "mhc"}), "",
       "What lies around the sublayers: one stream, ResiDual, SiameseNorm, hyper-connections, or mHC."},
      {"count", &StreamsConfig::count, between(1, 16), "streams", "Number of mixed streams.", mixed},
      {"dynamic",
       &StreamsConfig::dynamic,
       anything(),
       "",
       "The mixing weights depend on the token.",
       {{"kind", {"hyper"}}}},
      {"sinkhorn_iterations",
       &StreamsConfig::sinkhorn_iterations,
       between(1, 100),
       "",
       "Steps that make the mixing matrix doubly stochastic.",
       {{"kind", {"mhc"}}}},
  };
}

}  // namespace

void append_model_fields(std::vector<Field>& fields) {
  append_fields(fields, "model", "model", shape_fields(), [](Config& c) -> ModelConfig& { return c.model; });
  append_fields(fields, "model.init", "model.init", init_fields(),
                [](Config& c) -> InitConfig& { return c.model.init; });
  append_fields(fields, "model.streams", "model.streams", streams_fields(),
                [](Config& c) -> StreamsConfig& { return c.model.streams; });
}

}  // namespace plumb::detail
