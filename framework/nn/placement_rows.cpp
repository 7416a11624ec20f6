// The rows of nn/placement.h. N is the kind that model.norm_kind names.
#include "nn/placement_rows.h"

#include <fmt/format.h>

#include "core/error.h"

namespace plumb {
namespace rows {
namespace {

std::string mix_ln_settings(const ModelConfig& model) {
  const double fraction = model.placement_fraction;
  if (0.5 / static_cast<double>(model.blocks) >= fraction) return "";  // no block's middle lies in it
  return fmt::format(
      "[[override]]\nblocks = [0.0, {:#}]\nnorm.in.kind = 'none'\nnorm.post.kind = 'standard'\n", fraction);
}

std::string res_post_norm_settings(const ModelConfig& model) {
  const std::int64_t period = model.placement_period;
  if (period == 0 || period > model.blocks) return "";
  return fmt::format("[[override]]\nevery = {}\nsublayer = 'ffn'\nnorm.post.kind = 'standard'\n", period);
}

}  // namespace

std::vector<Placement> classic_rows() {
  return {
      {.name = "none",
       .formula = "x' = x + F(x)",
       .init = kGpt2Init,
       .citation = "baseline without norms (cf. Fixup, arXiv 1901.09321)",
       .certainty = "definition",
       .identities = "I3, I4"},
      {.name = "post",
       .formula = "x' = N(x + F(x))",
       .settings = "norm.post.kind = 'standard'\n",
       .recipe = "learning-rate warm-up (arXiv 2002.04745 says why)",
       .init = kGpt2Init,
       .citation = "arXiv 1706.03762",
       .certainty = "known; no final norm, as in fairseq",
       .identities = "I1, I9"},
      {.name = "pre",
       .formula = "x' = x + F(N(x))",
       .settings = "norm.in.kind = 'standard'\nnorm.final.kind = 'standard'\n",
       .recipe = "does without warm-up (arXiv 2002.04745)",
       .init = kGpt2Init,
       .citation = "arXiv 2002.04745; GPT-2",
       .certainty = "read in nanoGPT",
       .identities = "I3, I4, I11"},
      {.name = "peri",
       .aliases = {"sandwich"},
       .formula = "x' = x + N_out(F(N_in(x)))",
       .settings = "norm.in.kind = 'standard'\nnorm.out.kind = 'standard'\nnorm.final.kind = 'standard'\n",
       .recipe = "the best rate is pre's, 2e-3 at 400M parameters",
       .init = kUnscaledGpt2Init,
       .citation = "arXiv 2502.02732; Sandwich-LN, arXiv 2105.13290",
       .certainty =
           "formula read in a summary of the paper and in CogView's code; initial gains of 1 from memory",
       .identities = "I2, I3, I8, I11",
       .note = "The paper's norm on the embedding is optional: model.norm.embedding.kind = 'standard'."},
      {.name = "out-norm",
       .aliases = {"olmo2"},
       .formula = "x' = x + N_out(F(x)), with QK-norm over the full width",
       .settings = "norm_kind = 'rmsnorm'\nnorm.out = {kind = 'standard', epsilon = 1e-6}\n"
                   "norm.qk = {kind = 'standard', epsilon = 1e-6}\nqk_norm_extent = 'full'\n"
                   "norm.final = {kind = 'standard', epsilon = 1e-6}\nz_loss = 1e-5\ninit.kind = 'normal'\n",
       .recipe = "AdamW 3e-4, betas 0.9 and 0.95, decay 0.1 on norms and biases too but not on embeddings, "
                 "2000 warm-up steps, cosine to 10 %, clipping at 1",
       .init = "normal 0.02 everywhere (the authors cut it off at 3 deviations)",
       .citation = "OLMo 2, arXiv 2501.00656",
       .certainty = "norms, QK-norm and init read in the authors' code, which cuts the init off at 3 "
                    "deviations and decays gains",
       .identities = "I2, I8"},
      {.name = "res-post-norm",
       .aliases = {"swin-v2"},
       .formula = "x' = x + N_out(F(x)), N_out from gain 0 on; every placement_period blocks x' = N_post(.)",
       .settings = "norm.out = {kind = 'standard', gain_init = 0.0}\nnorm.final.kind = 'standard'\n"
                   "init.kind = 'normal'\n",
       .init = "normal 0.02; gains and biases of N_out start at 0, so that a block starts as the identity or "
               "as its N_post",
       .citation = "Swin Transformer v2, arXiv 2111.09883",
       .certainty =
           "N_out and its init read in the authors' code; the extra norm in a quotation of the paper "
           "and in timm",
       .identities = "I2",
       .note = "Cosine attention is a setting of its own: model.norm.qk = {kind = 'l2', gain = false}, "
               "model.attention_scale = 10.",
       .more_settings = res_post_norm_settings},
      {.name = "pre-post",
       .formula = "x' = N_post(x + F(N_in(x)))",
       .settings = "norm.in.kind = 'standard'\nnorm.post.kind = 'standard'\n",
       .init = kGpt2Init,
       .citation = "Keel (arXiv 2601.19895) with a skip of 1",
       .certainty = "ablation point",
       .identities = "I1"},
      {.name = "parallel",
       .formula = "x' = x + F(N(x_block)): all sublayers of a block read its input",
       .settings = "norm.in.kind = 'standard'\nnorm.final.kind = 'standard'\nbranch_input = 'block'\n",
       .init = kGpt2Init,
       .citation = "GPT-NeoX, arXiv 2204.06745; GPT-J; PaLM",
       .certainty = "block read in GPT-NeoX, which starts from other inits (small, and 2 / (L sqrt(d)) for "
                    "W_O and W_2)",
       .identities = "",
       .note = "Every sublayer has its own norm, as GPT-NeoX; GPT-J and PaLM share one."},
      {.name = "vit-22b",
       .formula = "x' = x + F(N(x_block)), with QK-norm per head",
       .settings = "norm_kind = 'rmsnorm'\nnorm.in.kind = 'standard'\nnorm.qk.kind = 'standard'\n"
                   "norm.final.kind = 'standard'\nbranch_input = 'block'\n",
       .init = kGpt2Init,
       .citation = "ViT-22B, arXiv 2302.05442",
       .certainty =
           "parallel sublayers and QK-norm read in two reviews of the paper; that its norms neither shift "
           "nor centre, from memory",
       .note = "The paper leaves out the biases of W_Q, W_K and W_V alone; model.biases drops all or none."},
      {.name = "gemma2",
       .formula = "x' = x + N_out(F(N_in(x))), soft caps on attention and output logits",
       .settings = "norm_kind = 'rmsnorm'\nnorm.in = {kind = 'standard', epsilon = 1e-6}\n"
                   "norm.out = {kind = 'standard', epsilon = 1e-6}\n"
                   "norm.final = {kind = 'standard', epsilon = 1e-6}\nembedding_scale_by = 'sqrt(width)'\n"
                   "attention_soft_cap = 50.0\nhead_soft_cap = 30.0\n",
       .init = kUnscaledGpt2Init,
       .citation = "Gemma 2, arXiv 2408.00118",
       .certainty = "read in Hugging Face's port; the training init is not published",
       .identities = "I2, I8",
       .note = "Gains stored as 1 + w are gains from 1 on without weight decay, as here. GeGLU and rotary "
               "positions are left to model.activation and model.position."},
      {.name = "gemma3",
       .formula = "x' = x + N_out(F(N_in(x))), with QK-norm per head",
       .settings = "norm_kind = 'rmsnorm'\nnorm.in = {kind = 'standard', epsilon = 1e-6}\n"
                   "norm.out = {kind = 'standard', epsilon = 1e-6}\n"
                   "norm.qk = {kind = 'standard', epsilon = 1e-6}\n"
                   "norm.final = {kind = 'standard', epsilon = 1e-6}\nembedding_scale_by = 'sqrt(width)'\n",
       .init = kUnscaledGpt2Init,
       .citation = "Gemma 3, arXiv 2503.19786",
       .certainty = "read in Hugging Face's port; the training init is not published",
       .identities = "I2, I8"},
  };
}

std::vector<Placement> mixed_rows() {
  return {
      {.name = "mix-ln",
       .formula = "the lowest placement_fraction of the blocks post, the others pre",
       .settings = "norm.in.kind = 'standard'\nnorm.final.kind = 'standard'\ninit.kind = 'normal'\n",
       .recipe = "Adam 1e-3 at 71M and 250M parameters, no decay, no clipping, warm-up over 10 %",
       .init = "normal 0.02",
       .citation = "Mix-LN, arXiv 2412.13795",
       .certainty = "read in the authors' code, whose untied embedding has deviation sqrt(2/5)",
       .identities = "I6",
       .note =
           "0.25 is 3 of 12 blocks in the authors' code; a block is post when its middle lies in the share.",
       .more_settings = mix_ln_settings},
      {.name = "hybridnorm",
       .formula = "attention: x' = N_post(x + A(x)), q, k, v normed per head; FFN: x' = x + F(x)",
       .settings = "norm_kind = 'rmsnorm'\nnorm.qk.kind = 'standard'\nnorm.v.kind = 'standard'\n"
                   "norm.final.kind = 'standard'\ninit.kind = 'small'\ninit.embedding = 'small'\n"
                   "[[override]]\nsublayer = 'attention'\nnorm.post.kind = 'standard'\n",
       .recipe = "AdamW 3e-4, betas 0.9 and 0.95, decay 0.1 on norms and biases too but not on embeddings, "
                 "cosine to 10 %",
       .init = "normal sqrt(2/(5d)); W_O, W_2 / sqrt(2L)",
       .citation = "HybridNorm, arXiv 2503.04598",
       .certainty = "norms and init read in the authors' code, which cuts the init off at 3 deviations and "
                    "decays gains",
       .identities = "I6"},
      {.name = "hybridnorm-star",
       .formula = "as hybridnorm, but block 0: x' = x + F(N_in(x)) for both sublayers",
       .settings = "norm_kind = 'rmsnorm'\nnorm.qk.kind = 'standard'\nnorm.v.kind = 'standard'\n"
                   "norm.final.kind = 'standard'\ninit.kind = 'small'\ninit.embedding = 'small'\n"
                   "[[override]]\nsublayer = 'attention'\nnorm.post.kind = 'standard'\n"
                   "[[override]]\nblocks = [0, 0]\nnorm.in.kind = 'standard'\nnorm.post.kind = 'none'\n",
       .recipe = "as hybridnorm",
       .init = "normal sqrt(2/(5d)); W_O, W_2 / sqrt(2L)",
       .citation = "HybridNorm*, arXiv 2503.04598",
       .certainty = "as hybridnorm",
       .identities = "I6"},
      {.name = "b2t",
       .formula = "attention: x' = N(x + A(x)); FFN: x' = N(x + F(x) + x_block)",
       .settings = "norm.post.kind = 'standard'\nembedding_scale_by = 'sqrt(width)'\ninit.kind = 'b2t'\n"
                   "init.embedding = 'inverse-width'\n"
                   "[[override]]\nsublayer = 'ffn'\nresidual.e.value = 1.0\n",
       .recipe = "Adam 1e-3, betas 0.9 and 0.98, inverse root of the step after 4000 warm-up steps, no "
                 "decay, clipping at 0.1",
       .init = "Xavier uniform times L^(-1/2), W_Q, W_K, W_V also / sqrt(2); embedding 1/sqrt(d), times "
               "sqrt(d) in the model",
       .citation = "B2T connection, arXiv 2206.00330",
       .certainty = kAuthorsCode},
      {.name = "spannorm",
       .formula = "attention: x' = N(x + A(x)), in block 0 of N_in(x); FFN: x' = N(x_block + F(x))",
       .settings = "norm.post.kind = 'standard'\n"
                   "[[override]]\nsublayer = 'ffn'\nresidual.a.value = 0.0\nresidual.e.value = 1.0\n"
                   "[[override]]\nblocks = [0, 0]\nsublayer = 'attention'\nnorm.in.kind = 'standard'\n",
       .init = kGpt2Init,
       .citation = "SpanNorm, arXiv 2601.22580",
       .certainty =
           "equation read in a third party's port that cites the paper's equations 5 to 8; the paper's "
           "scaling rule was not found, so the init is inferred"},
      {.name = "normformer",
       .formula =
           "attention: x' = x + N_out(A(N_in(x))) with head gains; FFN: x' = a o x + F(N_in(x)) with a "
           "norm after the activation",
       .settings =
           "norm.in.kind = 'standard'\nnorm.ffn_inner.kind = 'standard'\nnorm.final.kind = 'standard'\n"
           "head_gains = true\n"
           "[[override]]\nsublayer = 'attention'\nnorm.out.kind = 'standard'\n"
           "[[override]]\nsublayer = 'ffn'\nresidual.a.trainable = 'vector'\n",
       .recipe = "higher rates than pre: 3e-3 at 125M parameters (pre 6e-4), 1e-3 at 355M, 6e-4 at 1.3B",
       .init = "gpt2: W_O not scaled, because attention ends in a norm, W_2 / sqrt(2L); gains and the skip "
               "vector a "
               "from 1 on",
       .citation = "NormFormer, arXiv 2110.09456",
       .certainty =
           "read in fairseq, where the head gain acts after W_O; here it acts before W_O, as the paper "
           "words it",
       .note = "ResScale, the vector a, is for small models; fairseq leaves it out above 1.3B parameters."},
      {.name = "sub-ln",
       .aliases = {"magneto"},
       .formula = "x' = x + F(N_in(x)), with a norm before W_O and one before W_2",
       .settings = "norm.in.kind = 'standard'\nnorm.pre_projection.kind = 'standard'\n"
                   "norm.ffn_inner.kind = 'standard'\nnorm.final.kind = 'standard'\ninit.kind = 'sub-ln'\n",
       .init = "Xavier normal; W_V, W_O, W_1, W_2 times sqrt(ln 2L)",
       .citation = "Magneto, arXiv 2210.06423",
       .certainty = "norms and factor read in torchscale; base distribution from memory of the paper"},
      {.name = "value-residual",
       .formula = "x' = x + F(N(x)), values V <- V / 2 + V_1 / 2 with those of the first block",
       .settings = "norm.in.kind = 'standard'\nnorm.final.kind = 'standard'\n"
                   "gain.value.value = 0.5\ngain.first_value.value = 0.5\n"
                   "[[override]]\nblocks = [0, 0]\nsublayer = 'attention'\ngain.value.value = 1.0\n"
                   "gain.first_value.value = 0.0\n",
       .recipe = "AdamW 6e-4, betas 0.9 and 0.95, decay 0.1, 1200 warm-up steps, cosine to 10 %",
       .init = kGpt2Init,
       .citation = "Value residual (ResFormer), arXiv 2410.17897",
       .certainty = "mixture read in the authors' code; the init is that of pre",
       .note = "The trained variant: model.gain.value.trainable and model.gain.first_value.trainable = "
               "'scalar'."},
  };
}

}  // namespace rows

const std::vector<Placement>& placements() {
  static const std::vector<Placement> all_rows = [] {
    std::vector<Placement> all;
    for (const auto& group :
         {rows::classic_rows(), rows::mixed_rows(), rows::scaled_rows(), rows::stream_rows()}) {
      all.insert(all.end(), group.begin(), group.end());
    }
    return all;
  }();
  return all_rows;
}

}  // namespace plumb
