// Rows of nn/placement.h: those with coefficients and inits of their own, and those with several streams.
#include "nn/placement_rows.h"

namespace plumb::rows {
namespace {

// The settings of nGPT: on the sphere everywhere, step sizes and gains stored at their own scales.
constexpr std::string_view kNormalizedGpt = R"(
sphere_weights = true
tied_head = false
biases = false
position = 'rotary'
activation = 'swiglu'
attention_scale_by = 'sqrt(head_width)'
norm.out = {kind = 'l2', epsilon = 0.0, gain = false}
norm.post = {kind = 'l2', epsilon = 0.0, gain = false}
norm.qk = {kind = 'l2', epsilon = 0.0, gain = false}
residual.a.tie_to_branch = true
residual.b = {value = 0.05, trainable = 'vector', storage = '1/sqrt(width)', transform = 'absolute'}
gain.qk = {trainable = 'vector', storage = '1/sqrt(width)'}
gain.ffn = {trainable = 'vector', storage = 'unit', width_exponent = 0.5}
gain.logits = {trainable = 'vector', storage = '1/sqrt(width)'}
init.kind = 'normal'
)";

}  // namespace

std::vector<Placement> scaled_rows() {
  return {
      {.name = "deepnorm",
       .formula = "x' = N(a x + F(x)), a = (2L)^(1/4)",
       .settings = "norm.post.kind = 'standard'\n"
                   "residual.a = {depth = 'power', depth_exponent = 0.25, counts = 'sublayers'}\n"
                   "init.kind = 'deepnorm'\n",
       .recipe = "warm-up over 10 % (ProRes runs it so)",
       .init = "Xavier normal; W_V, W_O, W_1, W_2 times (8L)^(-1/4)",
       .citation = "DeepNet, arXiv 2203.00555",
       .certainty = "constants read in torchscale; base distribution from memory of the paper",
       .identities = "I1"},
      {.name = "keel",
       .formula = "x' = N_post(a x + F(N_in(x))), a = 2L; block 0: x' = x + F(N_in(x))",
       .settings =
           "norm_kind = 'rmsnorm'\nnorm.in.kind = 'standard'\nnorm.post.kind = 'standard'\n"
           "residual.a = {depth = 'power', depth_exponent = 1.0, counts = 'sublayers'}\n"
           "[[override]]\nblocks = [0, 0]\nnorm.post.kind = 'none'\nresidual.a.depth_exponent = 0.0\n",
       .recipe = "higher rates than pre; the table was not found",
       .init = kGpt2Init,
       .citation = "Keel, arXiv 2601.19895",
       .certainty =
           "equation and a = number of sublayers read in two ports that cite the paper; that there is "
           "no final norm is inferred",
       .identities = "I1"},
      {.name = "admin",
       .formula = "x' = N(omega_k o x + F(x)), omega_k trained",
       .settings = "norm.post.kind = 'standard'\nresidual.a.trainable = 'vector'\n"
                   "embedding_scale_by = 'sqrt(width)'\ninit.kind = 'fairseq'\n"
                   "init.embedding = 'inverse-width'\ninit.profile = 'admin'\n",
       .recipe = "RAdam 7e-4, betas 0.9 and 0.98, inverse root of the step after 6000 warm-up steps, decay "
                 "1e-4, no clipping",
       .init = "Xavier uniform, W_Q, W_K, W_V / sqrt(2); embedding 1/sqrt(d), times sqrt(d) in the model; a "
               "pass over the first batch "
               "sets "
               "omega_1 = 1, omega_{k+1}^2 = Var(omega_k x_k) + Var(f_k)",
       .citation = "Admin, arXiv 2004.08249",
       .certainty = kAuthorsCode,
       .identities = "I1"},
      {.name = "rezero",
       .formula = "x' = x + b F(x), b trained, one for both sublayers of a block, from 0 on",
       .settings =
           "residual.b = {value = 0.0, trainable = 'scalar', per_block = true}\ninit.kind = 'xavier'\n",
       .recipe = "Adagrad 0.01 times 0.9 per epoch, no warm-up, clipping at 0.5",
       .init = "Xavier uniform; b = 0",
       .citation = "ReZero, arXiv 2003.04887",
       .certainty = "read in the authors' code, which draws W_Q, W_K, W_V as one matrix and the embedding "
                    "from U(-0.1, "
                    "0.1) times sqrt(d)",
       .identities = "I3"},
      {.name = "skipinit",
       .formula = "x' = x + b F(x), b trained, from 1/sqrt(2L) on",
       .settings = "residual.b = {depth = '1/sqrt(L)', trainable = 'scalar'}\ninit.kind = 'xavier'\n",
       .init = "Xavier uniform; b = 1/sqrt(number of sublayers)",
       .citation = "SkipInit, arXiv 2002.10444",
       .certainty =
           "formula and range of initial values read in a summary of the paper; 0 is allowed as well "
           "(model.residual.b.value = 0)",
       .identities = "I3, I4"},
      {.name = "layerscale",
       .formula = "x' = x + b o F(N(x)), b a trained vector",
       .settings = "norm.in.kind = 'standard'\nnorm.final.kind = 'standard'\n"
                   "residual.b = {depth = 'layerscale', trainable = 'vector'}\ninit.kind = 'normal'\n",
       .init = "normal 0.02; b = 0.1 up to 18 blocks, 1e-5 up to 24, else 1e-6",
       .citation = "CaiT, arXiv 2103.17239",
       .certainty = "1e-5 and 1e-6 read in the authors' code; 0.1 from memory of the paper",
       .identities = "I3, I4"},
      {.name = "layernorm-scaling",
       .formula = "x' = x + F(c N(x)), c = 1/sqrt(l), l = 1..L the block",
       .settings = "norm.in.kind = 'standard'\nnorm.final.kind = 'standard'\n"
                   "residual.c = {depth = '1/sqrt(l)', counts = 'blocks'}\ninit.kind = 'normal'\n",
       .recipe = "Adam 5e-4 at 350M parameters, no decay, no clipping, warm-up over 10 %",
       .init = "normal 0.02, without 1/sqrt(2L), which the authors advise against",
       .citation = "Curse of depth, arXiv 2502.05795",
       .certainty = kAuthorsCode,
       .identities = "I5"},
      {.name = "gpas",
       .formula =
           "x' = s - SiLU(g) stopgrad(s), s = x + F(N(x)), g trained, one for both sublayers of a block",
       .settings = "norm.in.kind = 'standard'\nnorm.final.kind = 'standard'\ninit.kind = 'normal'\n"
                   "residual.p = {trainable = 'scalar', per_block = true, transform = 'gpas', "
                   "stop_gradient = true}\n",
       .recipe = "Adam, no decay, warm-up over 10 %; at 7B parameters the norm of all gates' gradients is "
                 "clipped to 0.01",
       .init = "normal 0.02; g = 0",
       .citation = "GPAS, arXiv 2506.22049",
       .certainty = "read in the authors' code, whose untied embedding has deviation sqrt(2/5)",
       .note = "On post-type blocks the authors gate the skip alone, which this row does not express."},
      {.name = "fixup",
       .formula = "x' = x + b F(x), no norms; a trained number before every matrix but W_O and before the "
                  "activation",
       .settings = "biases = false\nbranch_biases = true\nresidual.b.trainable = 'scalar'\n"
                   "embedding_scale_by = 'sqrt(width)'\ninit.kind = 'fixup'\n"
                   "init.embedding = 'inverse-width'\n",
       .recipe = "Adam 5e-4, betas 0.9 and 0.98, inverse root of the step after 4000 warm-up steps, decay "
                 "1e-4, dropout 0.5",
       .init = "W_O = W_2 = 0; W_1 Xavier times K^(-1/2); W_Q, W_K, W_V Xavier as one matrix times K^(-1/6); "
               "b = 1",
       .citation = "Fixup, arXiv 1901.09321",
       .certainty =
           "read in the authors' code for translation, which also has one number at the end of the stack "
           "(left out here)",
       .identities = "I3"},
      {.name = "t-fixup",
       .formula = "x' = x + F(x), no norms",
       .settings = "embedding_scale_by = 'sqrt(width)'\ninit.kind = 't-fixup'\ninit.embedding = 't-fixup'\n",
       .recipe = "Adam 5e-4, betas 0.9 and 0.98, no warm-up, inverse root of the step, decay 1e-4",
       .init = "Xavier uniform; W_V, W_O, W_1, W_2 times 0.67 L^(-1/4); W_Q, W_K / sqrt(2); embedding "
               "(9L)^(-1/4) "
               "/ sqrt(d)",
       .citation = "T-Fixup, ICML 2020",
       .certainty =
           "read in the authors' code; its encoder rule, because a block here has no cross-attention",
       .identities = "I3, I4"},
      {.name = "deepscalelm",
       .formula = "x' = a x + b F(N(x)), a^2 = 1 - 2/K, b^2 = 2/K",
       .settings = "norm.in.kind = 'standard'\nnorm.final.kind = 'standard'\n"
                   "residual.a.depth = 'deepscalelm-skip'\nresidual.b.depth = 'deepscalelm-branch'\n"
                   "init.kind = 'deepscalelm'\ninit.embedding = 'deepscalelm'\n"
                   "gain.logits = {value = 1.4142135623730951, width_exponent = -0.5}\n",
       .recipe = "its BERT baseline: 1e-4, decay 1e-2, linear decay of the rate after 1 % warm-up",
       .init = "every matrix such that each branch has variance 1 (init kind deepscalelm); logits times "
               "1/sqrt(d/2), the tied embedding's size with learned positions",
       .citation = "DeepScaleLM, arXiv 2403.09635",
       .certainty =
           "deviations read in the authors' code; that N of 2/N counts sublayers is inferred from it",
       .note = "The factor on the logits is for a tied head and learned positions: without positions it is "
               "1/sqrt(d), "
               "with an untied head 1 (model.gain.logits)."},
      {.name = "deepscalelm-post",
       .formula = "x' = N(a x + b F(x)), a^2 = 1 - 2/K, b^2 = 2/K",
       .settings = "norm.post.kind = 'standard'\nnorm.embedding.kind = 'standard'\n"
                   "residual.a.depth = 'deepscalelm-skip'\nresidual.b.depth = 'deepscalelm-branch'\n"
                   "init.kind = 'deepscalelm'\ninit.embedding = 'deepscalelm'\n"
                   "gain.logits = {value = 1.4142135623730951, width_exponent = -0.5}\n",
       .recipe = "as deepscalelm",
       .init = "as deepscalelm",
       .citation = "DeepScaleLM, arXiv 2403.09635",
       .certainty = "as deepscalelm; the norm on the embedding read in the authors' code",
       .identities = "I1"},
      {.name = "spike-no-more",
       .formula = "x' = x + F(N(x)), embedding times sqrt(d)",
       .settings = "norm.in.kind = 'standard'\nnorm.final.kind = 'standard'\n"
                   "embedding_scale_by = 'sqrt(width)'\ninit.kind = 'small'\ninit.embedding = 'small'\n",
       .recipe = "three times the usual rate at 13B parameters: 3e-4",
       .init = "normal sqrt(2/(5d)); W_O, W_2 / sqrt(2L); the embedding has deviation sqrt(2/5) in the model",
       .citation = "Spike No More, arXiv 2312.16903",
       .certainty = "read in a detailed note on the paper",
       .identities = "I3, I4",
       .note = "Its other form norms the embedding: model.embedding_scale_by = 'constant', "
               "model.norm.embedding.kind = 'standard'."},
      {.name = "ngpt",
       .formula = "x' = L2((1 - b) o x + b o L2(F(x))), b = |trained vector|, all matrices on the sphere",
       .settings = kNormalizedGpt,
       .companions = "optimizer.weight_decay = 0.0\nlearning_rate.warmup_steps = 0\n",
       .recipe = "AdamW 1.5e-3, betas 0.9 and 0.95, cosine to 0, clipping at 1; neither decay nor warm-up, "
                 "which the row sets",
       .init = "unit vectors along the width; b = 0.05",
       .citation = "nGPT, arXiv 2410.01131",
       .certainty =
           "read in the authors' code; rotary positions are the standard ones, which that code's are not",
       .note = "The authors' FFN is 4d wide: set model.ffn_hidden to four times the width."},
  };
}

std::vector<Placement> stream_rows() {
  return {
      {.name = "residual",
       .aliases = {"resi-dual"},
       .formula = "X' = N(X + F(X)), Y' = Y + F(X); end: X + N(Y)",
       .settings = "streams.kind = 'residual'\nnorm.post.kind = 'standard'\nnorm.stream.kind = 'standard'\n"
                   "embedding_scale_by = 'sqrt(width)'\ninit.kind = 'fairseq'\n"
                   "init.embedding = 'inverse-width'\n",
       .recipe = "Adam 1e-3, betas 0.9 and 0.98, inverse root of the step after 4000 warm-up steps, decay "
                 "1e-4, no clipping",
       .init = "Xavier uniform, W_Q, W_K, W_V / sqrt(2); embedding 1/sqrt(d), times sqrt(d) in the model",
       .citation = "ResiDual, arXiv 2304.14802",
       .certainty = kAuthorsCode},
      {.name = "siamesenorm",
       .formula =
           "f = F(N_in(X + N_stream(Y))); X' = N_post(X + f), Y' = Y + f; end: N_final(X + N_stream(Y))",
       .settings = "streams.kind = 'siamese'\nnorm.in.kind = 'standard'\nnorm.post.kind = 'standard'\n"
                   "norm.stream.kind = 'standard'\nnorm.final.kind = 'standard'\n",
       .recipe = "pre's; rates from 4e-4 to 2e-3 were compared",
       .init = kGpt2Init,
       .citation = "SiameseNorm, arXiv 2602.08064",
       .certainty =
           "streams as the paper's summary has them; N_in and N_final as the authors' code, which also "
           "norms X_0 and divides f by sqrt(2l) on its way to X",
       .note =
           "The division by sqrt(2l) is, by I1 and up to eps, model.residual.a = {value = 1.4142, depth = "
           "'sqrt(l)', counts = 'blocks'}."},
      {.name = "hyper-connections-static",
       .formula = "h = sum_i read_i X_i; X'_j = sum_i mix_ij X_i + write_j F(N(h)); end: N(sum_i X_i)",
       .settings = "streams.kind = 'hyper'\nstreams.dynamic = false\nnorm.in.kind = 'standard'\n"
                   "norm.final.kind = 'standard'\n",
       .recipe = "no decay on the mixing weights, as here",
       .init = "gpt2; read stream k mod n, write 1, mix = identity: at the start the pre placement",
       .citation = "Hyper-connections, arXiv 2409.19606",
       .certainty = "equations read in a reference port and in a sequel by the same group, not in the paper; "
                    "a factor sqrt(n) on the init of W_O and W_2 that the paper may have is left out"},
      {.name = "hyper-connections",
       .formula = "as hyper-connections-static, weights + s tanh(W N(X_i))",
       .settings = "streams.kind = 'hyper'\nnorm.in.kind = 'standard'\nnorm.stream.kind = 'standard'\n"
                   "norm.final.kind = 'standard'\n",
       .recipe = "no decay on base and scales, as here; decay on W",
       .init = "as the static form; W = 0, s = 0.01",
       .citation = "Hyper-connections, arXiv 2409.19606",
       .certainty = "equations read in a reference port and in a sequel by the same group, not in the paper; "
                    "a factor sqrt(n) on the init of W_O and W_2 that the paper may have is left out"},
      {.name = "mhc",
       .formula =
           "as hyper-connections; read = sigmoid, write = 2 sigmoid, mix = Sinkhorn(exp) of base + s W N(X)",
       .settings = "streams.kind = 'mhc'\nnorm.in.kind = 'standard'\nnorm.final.kind = 'standard'\n"
                   "norm.stream = {kind = 'rmsnorm', gain = false}\n",
       .recipe = "a port's: AdamW 6e-4, betas 0.9 and 0.95, decay 0.1, 2000 warm-up steps, clipping at 1",
       .init = "gpt2; W = 0, s = 0.01; base such that the start is the pre placement",
       .citation = "mHC, arXiv 2512.24880",
       .certainty = "equations read in four ports; the initial base differs between them and is our choice"},
  };
}

}  // namespace plumb::rows
