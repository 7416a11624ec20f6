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
       "Factor on the sum of token and position embedding."},
      {"ffn_hidden",
       &ModelConfig::ffn_hidden,
       between(0, 1 << 22),
       "",
       "Hidden width of the FFN; 0: 4 * width, and for gated activations 8/3 * width rounded up to a "
       "multiple of 8.",
       {{"block", {"ffn"}}}},
      {"attention_scale", &ModelConfig::attention_scale, at_least(0), "",
       "Factor on q.k before the softmax; 0: 1/sqrt(head_width).", attention},
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
      {"kind", &InitConfig::kind, one_of({"gpt2", "normal", "xavier"}), "",
       "Distribution of the matrices: gpt2 and normal draw normals, xavier uniforms of variance 2/(in + "
       "out)."},
      {"standard_deviation",
       &InitConfig::standard_deviation,
       at_least(0),
       "",
       "Of every matrix in a sublayer and of an untied head.",
       {{"kind", {"gpt2", "normal"}}}},
      {"embedding_standard_deviation", &InitConfig::embedding_standard_deviation, at_least(0), "",
       "Of the token embedding."},
      {"position_standard_deviation",
       &InitConfig::position_standard_deviation,
       at_least(0),
       "",
       "Of the position embedding.",
       {{"model.position", {"learned"}}}},
      {"projection_scale", &InitConfig::projection_scale, one_of({"auto", "1/sqrt(2L)", "none"}), "",
       "Extra factor on the last matrix of a branch; auto: 1/sqrt(2L) with gpt2 where the branch does not "
       "end in a "
       "norm, else none."},
  };
}

}  // namespace

void append_model_fields(std::vector<Field>& fields) {
  append_fields(fields, "model", "model", shape_fields(), [](Config& c) -> ModelConfig& { return c.model; });
  append_fields(fields, "model.init", "model.init", init_fields(),
                [](Config& c) -> InitConfig& { return c.model.init; });
}

}  // namespace plumb::detail
