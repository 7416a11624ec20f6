#include "nn/init.h"

#include <cmath>
#include <numbers>

#include "core/error.h"
#include "nn/rows.h"

namespace plumb {
namespace {

double root(double x) { return std::sqrt(x); }
double number(std::int64_t x) { return static_cast<double>(x); }

bool is_query_key(const MatrixSite& site) { return site.role == MatrixRole::QueryKey; }
bool is_ffn(const MatrixSite& site) {
  return site.role == MatrixRole::FfnInput || site.role == MatrixRole::FfnOutput;
}
bool writes_to_stream(const MatrixSite& site) {
  return site.role == MatrixRole::AttentionOutput || site.role == MatrixRole::FfnOutput ||
         site.role == MatrixRole::Linear;
}

/// Standard deviation of Xavier init: sqrt(2 / (in + out)).
double xavier(const MatrixSite& site) { return root(2 / (number(site.in) + number(site.out))); }
InitRule xavier_uniform(const MatrixSite& site, double gain) {
  return InitRule::uniform(gain * xavier(site) * std::numbers::sqrt3);
}
InitRule xavier_normal(const MatrixSite& site, double gain) { return InitRule::normal(gain * xavier(site)); }

/// sqrt(2 / (5 d)).
double small(const MatrixSite& site) { return root(2 / (5 * number(site.width))); }

/// Correlation r of the tokens that enter block l, with the variance of the stream kept at 1
/// (akhilkedia/TranformersGetStable): attention averages tokens, the FFN's ReLU bends their angle.
double token_correlation(std::int64_t block, double sublayers, double dropout) {
  const double branch = 2 / sublayers, skip = 1 - branch, kept = 1 - dropout;
  double correlation = 0.221 * kept;
  for (std::int64_t l = 0; l < block; ++l) {
    correlation = skip * correlation + branch * kept;
    const double r = correlation;
    const double after_relu = kept * (r + (root(1 - r * r) - r * std::acos(r)) / std::numbers::pi);
    correlation = skip * r + branch * after_relu;
  }
  return correlation;
}

InitRule deepscalelm(const MatrixSite& site, const ModelConfig& model) {
  const double d = number(site.width), kept = 1 - model.dropout_branch;
  if (is_query_key(site)) return InitRule::normal(1 / root(d));
  if (is_ffn(site)) {
    const std::int64_t hidden = site.role == MatrixRole::FfnInput ? site.out : site.in;
    return InitRule::normal(std::pow(2 * kept / (d * number(hidden)), 0.25));
  }
  const double r =
      token_correlation(site.position.block, number(site.position.sublayers), model.dropout_branch);
  return InitRule::normal(root(root(kept / r) / d));
}

InitRule fairseq(const MatrixSite& site, double gain) {
  const bool packed = is_query_key(site) || site.role == MatrixRole::Value;
  return xavier_uniform(site, packed ? gain / std::numbers::sqrt2 : gain);
}

InitRule fixup(const MatrixSite& site) {
  if (writes_to_stream(site)) return InitRule::constant(0);
  const double branches = number(site.position.sublayers);
  if (is_ffn(site)) return xavier_uniform(site, std::pow(branches, -1.0 / 2));  // m = 2
  // m = 4; W_Q, W_K and W_V are one matrix of 3 d outputs to its fan-out.
  return InitRule::uniform(std::pow(branches, -1.0 / 6) * root(6 / (number(site.in) + 3 * number(site.out))));
}

InitRule t_fixup(const MatrixSite& site) {
  if (is_query_key(site)) return xavier_uniform(site, 1 / std::numbers::sqrt2);
  return xavier_uniform(site, 0.67 * std::pow(number(site.position.blocks), -0.25));
}

}  // namespace

std::string_view name_of(MatrixRole role) {
  switch (role) {
    case MatrixRole::QueryKey:
      return "W_Q, W_K";
    case MatrixRole::Value:
      return "W_V";
    case MatrixRole::AttentionOutput:
      return "W_O";
    case MatrixRole::FfnInput:
      return "W_1";
    case MatrixRole::FfnOutput:
      return "W_2";
    case MatrixRole::Linear:
      return "W";
    case MatrixRole::TokenEmbedding:
      return "token embedding";
    case MatrixRole::PositionEmbedding:
      return "position embedding";
    case MatrixRole::Head:
      return "head";
  }
  fail("no such role");
}

const std::vector<InitKind>& init_kinds() {
  static const std::vector<InitKind> rows = {
      {"gpt2", "normal, sd = standard_deviation; W_O, W_2 / sqrt(2L) unless the branch ends in a norm",
       "GPT-2; nanoGPT", "read in code",
       [](const InitConfig& config, const MatrixSite&, const ModelConfig&) {
         return InitRule::normal(config.standard_deviation);
       }},
      {"normal", "normal, sd = standard_deviation", "-", "definition",
       [](const InitConfig& config, const MatrixSite&, const ModelConfig&) {
         return InitRule::normal(config.standard_deviation);
       }},
      {"xavier", "uniform, sd = sqrt(2 / (in + out))", "Glorot and Bengio, AISTATS 2010", "definition",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) { return xavier_uniform(site, 1); }},
      {"small", "normal, sd = sqrt(2 / (5 width)); W_O, W_2 / sqrt(2L) unless the branch ends in a norm",
       "Nguyen and Salazar, IWSLT 2019; with the scale arXiv 2312.16903", "read in code",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) {
         return InitRule::normal(small(site));
       }},
      {"deepnorm", "Xavier normal; W_V, W_O, W_1, W_2 times (8L)^(-1/4), that is (4K)^(-1/4)",
       "arXiv 2203.00555", "factor read in torchscale; base distribution from memory of the paper",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) {
         return xavier_normal(
             site, is_query_key(site) ? 1 : deepnorm_single_stack(number(site.position.sublayers) / 2).beta);
       }},
      {"sub-ln", "Xavier normal; W_V, W_O, W_1, W_2 times sqrt(ln 2L)", "Magneto, arXiv 2210.06423",
       "factor read in torchscale; base distribution from memory of the paper",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) {
         return xavier_normal(site,
                              is_query_key(site) ? 1 : root(std::log(2 * number(site.position.blocks))));
       }},
      {"fairseq", "Xavier uniform; W_Q, W_K, W_V times 1/sqrt(2)", "fairseq", "read in code",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) { return fairseq(site, 1); }},
      {"b2t", "Xavier uniform times L^(-1/2); W_Q, W_K, W_V also times 1/sqrt(2)", "arXiv 2206.00330",
       "read in the authors' code",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) {
         return fairseq(site, 1 / root(number(site.position.blocks)));
       }},
      {"fixup",
       "W_O = W_2 = 0; W_1 Xavier uniform times K^(-1/2); W_Q, W_K, W_V Xavier uniform as one matrix times "
       "K^(-1/6)",
       "arXiv 1901.09321", "read in the authors' code for translation",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) { return fixup(site); }},
      {"t-fixup", "Xavier uniform; W_V, W_O, W_1, W_2 times 0.67 L^(-1/4); W_Q, W_K times 1/sqrt(2)",
       "T-Fixup, ICML 2020", "read in the authors' code, its encoder rule",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) { return t_fixup(site); }},
      {"deepscalelm",
       "normal; W_Q, W_K 1/sqrt(d); W_V, W_O sqrt(sqrt((1-p)/r_l)/d), r_l the token correlation predicted "
       "for "
       "block l; W_1, W_2 (2(1-p)/(d F))^(1/4)",
       "arXiv 2403.09635", "read in the authors' code; r_0 = 0.221 was measured by them on English text",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig& model) {
         return deepscalelm(site, model);
       }},
  };
  return rows;
}

const std::vector<EmbeddingInit>& embedding_inits() {
  static const std::vector<EmbeddingInit> rows = {
      {"normal", "normal, sd = embedding_standard_deviation", "GPT-2", "definition",
       [](const InitConfig& config, const MatrixSite&, const ModelConfig&) {
         return InitRule::normal(config.embedding_standard_deviation);
       }},
      {"inverse-width", "normal, sd = 1 / sqrt(width)", "fairseq", "read in code",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) {
         return InitRule::normal(1 / root(number(site.width)));
       }},
      {"small", "normal, sd = sqrt(2 / (5 width))", "arXiv 2312.16903",
       "read in a detailed note on the paper",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) {
         return InitRule::normal(small(site));
       }},
      {"t-fixup", "normal, sd = (9L)^(-1/4) / sqrt(width)", "T-Fixup, ICML 2020", "read in the authors' code",
       [](const InitConfig&, const MatrixSite& site, const ModelConfig&) {
         return InitRule::normal(std::pow(9 * number(site.position.blocks), -0.25) /
                                 root(number(site.width)));
       }},
      {"deepscalelm", "normal, sd = sqrt((1-p) / number of embedding tables)", "arXiv 2403.09635",
       "read in the authors' code",
       [](const InitConfig&, const MatrixSite&, const ModelConfig& model) {
         return InitRule::normal(root((1 - model.dropout_embedding) / (model.position == "learned" ? 2 : 1)));
       }},
      {"small-embedding", "uniform within 1e-4, under a norm on the embedding", "SmallInitEmb (BlinkDL)",
       "read in the authors' code",
       [](const InitConfig&, const MatrixSite&, const ModelConfig&) { return InitRule::uniform(1e-4); }},
  };
  return rows;
}

namespace {

bool scales_projections(const InitConfig& config, const MatrixSite& site) {
  if (!writes_to_stream(site)) return false;
  if (config.projection_scale == "1/sqrt(2L)") return true;
  if (config.projection_scale == "none") return false;
  return (config.kind == "gpt2" || config.kind == "small") && !site.branch_ends_in_norm;
}

double depth_scale(const InitConfig& config, const DepthPosition& position) {
  if (config.depth == "ds-init") return config.depth_scale / root(number(position.block + 1));
  if (config.depth == "depth-growing") return std::pow(config.depth_growth, number(position.sublayer));
  PLUMB_CHECK(config.depth == "constant", "unknown init depth '{}'", config.depth);
  return 1;
}

}  // namespace

InitRule matrix_init(const ModelConfig& model, const MatrixSite& site) {
  const InitConfig& config = model.init;
  switch (site.role) {
    case MatrixRole::TokenEmbedding:
      return row_named(embedding_inits(), config.embedding, "embedding init").table(config, site, model);
    case MatrixRole::PositionEmbedding:
      return config.embedding == "deepscalelm"
                 ? row_named(embedding_inits(), config.embedding, "embedding init").table(config, site, model)
                 : InitRule::normal(config.position_standard_deviation);
    case MatrixRole::Head:
      if (config.kind == "fixup") return InitRule::constant(0);
      // An untied head is a matrix of its own kind: the rules by role above are about branches.
      return InitRule::normal(config.kind == "gpt2" || config.kind == "normal"
                                  ? config.standard_deviation
                                  : 1 / root(number(site.width)));
    default:
      break;
  }
  InitRule rule = row_named(init_kinds(), config.kind, "init").matrix(config, site, model);
  if (scales_projections(config, site)) rule.value /= root(number(site.position.sublayers));
  rule.value *= depth_scale(config, site.position);
  return rule;
}

DeepNormConstants deepnorm_single_stack(double blocks) {
  return {std::pow(2 * blocks, 0.25), std::pow(8 * blocks, -0.25)};
}
DeepNormConstants deepnorm_encoder(double encoder_blocks, double decoder_blocks) {
  const double depth = std::pow(std::pow(encoder_blocks, 4) * decoder_blocks, 1.0 / 16);
  return {0.81 * depth, 0.87 / depth};
}
DeepNormConstants deepnorm_decoder(double decoder_blocks) {
  return {std::pow(3 * decoder_blocks, 0.25), std::pow(12 * decoder_blocks, -0.25)};
}

std::string twin_in_first_block(const std::string& name) {
  const std::string prefix = "blocks.";
  if (!name.starts_with(prefix)) return "";
  const std::size_t end = name.find('.', prefix.size());
  return end == std::string::npos ? "" : prefix + "0" + name.substr(end);
}

}  // namespace plumb
