// What starts at a constant, on the sphere, or scaled and correlated over depth.
#include <gmock/gmock.h>

#include <map>

#include "core/error.h"
#include "nn/init.h"
#include "nn/initial_model.h"

namespace plumb::test {
namespace {

constexpr double kWidth = InitialModel::kWidth;

bool ends_with(const std::string& text, const std::string& end) { return text.ends_with(end); }

/// Of a tensor of the placement with 2 L = `sublayers`, from the papers.
double expected_constant(const std::string& placement, const std::string& name, double sublayers) {
  if (ends_with(name, ".bias") || name.find(".bias_") != std::string::npos) return 0;
  if (ends_with(name, ".gain_qk") || name == "head.gain") return 1 / std::sqrt(kWidth);  // only ngpt's
  if (ends_with(name, ".gain_ffn")) return 1;                                            // only ngpt's
  if (ends_with(name, ".scales")) return 0.01;
  if (ends_with(name, "norm_out.gain")) return placement == "res-post-norm" ? 0 : 1;
  if (ends_with(name, ".gain") || ends_with(name, ".head_gain")) return 1;
  if (ends_with(name, ".a")) return 1;
  if (ends_with(name, ".p")) return 0;  // GPAS stores its gate
  if (ends_with(name, ".b")) {
    static const std::map<std::string, double> starts = {
        {"rezero", 0}, {"layerscale", 0.1}, {"fixup", 1}, {"ngpt", 1 / std::sqrt(kWidth)}};
    if (placement == "skipinit") return 1 / std::sqrt(sublayers);
    return starts.at(placement);
  }
  ADD_FAILURE() << name << " has no rule here";
  return std::nan("");
}

TEST(InitialConstants, AreExactInEveryTensorOfEveryPlacement) {
  for (const Placement& row : placements()) {
    const std::string placement(row.name);
    SCOPED_TRACE(placement);
    for (const std::int64_t blocks : {3, 12}) {
      const InitialModel model(placement, blocks);
      std::size_t vectors = 0;
      for (const Parameter& parameter : model.all()) {
        if (parameter.shape.rank() != 1 || ends_with(parameter.name, ".streams.base")) continue;
        ++vectors;
        const double expected = expected_constant(placement, parameter.name, 2 * static_cast<double>(blocks));
        for (const double value : model.values(parameter.name)) ASSERT_EQ(value, expected) << parameter.name;
      }
      EXPECT_TRUE(vectors > 0 || placement == "none" || placement == "t-fixup");
    }
  }
}

struct Special {
  const char *placement, *name;
  std::int64_t entries;
};

TEST(InitialConstants, WhatTheRowsTrainIsThere) {
  const Special list[] = {{"res-post-norm", "blocks.2.ffn.norm_out.gain", 32},
                          {"res-post-norm", "blocks.2.attention.norm_out.bias", 32},
                          {"rezero", "blocks.2.b", 1},
                          {"skipinit", "blocks.2.ffn.b", 1},
                          {"layerscale", "blocks.2.ffn.b", 32},
                          {"admin", "blocks.2.ffn.a", 32},
                          {"gpas", "blocks.2.p", 1},
                          {"normformer", "blocks.2.ffn.a", 32},
                          {"normformer", "blocks.2.attention.head_gain", 4},
                          {"normformer", "blocks.2.ffn.norm_ffn_inner.gain", 128},
                          {"sub-ln", "blocks.2.attention.norm_pre_projection.gain", 32},
                          {"hybridnorm", "blocks.2.attention.norm_v.gain", 8},
                          {"out-norm", "blocks.2.attention.norm_q.gain", 32},
                          {"gemma3", "blocks.2.attention.norm_k.gain", 8},
                          {"fixup", "blocks.2.attention.bias_in", 1},
                          {"fixup", "blocks.2.ffn.bias_in", 1},
                          {"fixup", "blocks.2.ffn.bias_hidden", 1},
                          {"fixup", "blocks.2.ffn.bias_out", 1},
                          {"fixup", "blocks.2.attention.b", 1},
                          {"ngpt", "blocks.2.attention.b", 32},
                          {"ngpt", "blocks.2.attention.gain_qk", 32},
                          {"ngpt", "blocks.2.ffn.gain_ffn", 256},
                          {"ngpt", "head.gain", 256},
                          {"residual", "stream_norm.gain", 32},
                          {"siamesenorm", "blocks.2.ffn.norm_stream.gain", 32},
                          {"hyper-connections", "blocks.2.ffn.norm_stream.gain", 32},
                          {"hyper-connections", "blocks.2.ffn.streams.scales", 2},
                          {"mhc", "blocks.2.ffn.streams.scales", 3}};
  for (const Special& special : list) {
    const InitialModel model(special.placement, 3);
    EXPECT_EQ(model.values(special.name).size(), static_cast<std::size_t>(special.entries))
        << special.placement << " " << special.name;
  }
  EXPECT_EQ(InitialModel("rezero", 3).find("blocks.2.ffn.b"), nullptr) << "one number for a block";
  EXPECT_EQ(InitialModel("fixup", 3).find("blocks.2.ffn.expand.bias"), nullptr);
  EXPECT_EQ(InitialModel("hybridnorm", 3).find("blocks.2.ffn.norm_post.gain"), nullptr);
}

TEST(InitialConstants, LayerScaleGoesDownWithDepth) {
  for (const auto& [blocks, start] : {std::pair{18, 0.1}, std::pair{19, 1e-5}, std::pair{24, 1e-5},
                                      std::pair{25, 1e-6}, std::pair{36, 1e-6}}) {
    const InitialModel model("layerscale", blocks);
    for (const char* name : {"blocks.0.attention.b", "blocks.17.ffn.b"}) {
      EXPECT_THAT(model.values(name), testing::Each(start)) << blocks << " blocks";
    }
  }
}

/// [ read_i, write_i, mix_i1 .. mix_in ] for i = 1..n.
std::vector<double> base_of(std::int64_t n, const std::function<double(int)>& read, double write,
                            double diagonal, double other) {
  std::vector<double> base;
  for (int i = 0; i < n; ++i) {
    base.insert(base.end(), {read(i), write});
    for (int j = 0; j < n; ++j) base.push_back(i == j ? diagonal : other);
  }
  return base;
}

TEST(InitialConstants, MixingWeights) {
  for (const std::int64_t n : {2, 4, 5}) {
    const std::string count = "model.streams.count=" + std::to_string(n);
    for (const char* placement : {"hyper-connections", "hyper-connections-static"}) {
      const InitialModel model(placement, 4, {count});
      for (int k = 0; k < 8; ++k) {
        const std::string name =
            "blocks." + std::to_string(k / 2) + (k % 2 == 0 ? ".attention" : ".ffn") + ".streams.base";
        EXPECT_EQ(model.values(name), base_of(
                                          n, [&](int i) { return i == k % n ? 1.0 : 0.0; }, 1, 1, 0));
      }
    }
    const InitialModel model("mhc", 2, {count});
    const double logit = -std::log(static_cast<double>(n) - 1);  // sigmoid(logit) = 1 / n
    EXPECT_NEAR(1 / (1 + std::exp(-logit)), 1 / static_cast<double>(n), 1e-15);
    EXPECT_EQ(model.values("blocks.1.ffn.streams.base"), base_of(
                                                             n, [&](int) { return logit; }, 0, 0, -8));
    for (const char* placement : {"hyper-connections", "mhc"}) {
      const InitialModel dynamic(placement, 2, {count});
      EXPECT_THAT(dynamic.values("blocks.1.ffn.streams.projection.weight"), testing::Each(0.0));
    }
  }
  EXPECT_EQ(InitialModel("hyper-connections-static", 2).find("blocks.1.ffn.streams.projection.weight"),
            nullptr);
}

TEST(InitialConstants, DeepNormCheckValues) {
  EXPECT_NEAR(deepnorm_single_stack(12).alpha, 2.213, 5e-4);
  EXPECT_NEAR(deepnorm_single_stack(12).beta, 0.3195, 5e-5);
  EXPECT_NEAR(deepnorm_encoder(12, 6).alpha, 1.686, 5e-4);
  EXPECT_NEAR(deepnorm_encoder(12, 6).beta, 0.418, 5e-4);
  EXPECT_NEAR(deepnorm_decoder(6).alpha, 2.060, 5e-4);
  EXPECT_NEAR(deepnorm_decoder(6).beta, 0.343, 5e-4);
}

/// 2-norms of the rows, or the columns, of a matrix.
std::vector<double> norms(const std::vector<double>& x, std::int64_t columns, bool of_columns) {
  const std::size_t width = static_cast<std::size_t>(columns), rows = x.size() / width;
  std::vector<double> sums(of_columns ? width : rows);
  for (std::size_t i = 0; i < x.size(); ++i) sums[of_columns ? i % width : i / width] += x[i] * x[i];
  for (double& sum : sums) sum = std::sqrt(sum);
  return sums;
}

TEST(InitialSphere, MatricesAreUnitVectorsAlongTheWidth) {
  for (const std::int64_t blocks : {3, 12}) {
    const InitialModel model("ngpt", blocks);
    std::size_t matrices = 0;
    for (const Parameter& parameter : model.all()) {
      if (parameter.shape.rank() != 2) continue;
      ++matrices;
      const bool writes = parameter.name.find("projection") != std::string::npos ||
                          parameter.name.find("contract") != std::string::npos;
      // The vector that is normed has the width's length in each.
      EXPECT_EQ(writes ? parameter.shape[0] : parameter.shape[1], 32) << parameter.name;
      EXPECT_THAT(norms(model.values(parameter.name), parameter.shape[1], writes),
                  testing::Each(testing::DoubleNear(1, 1e-14)))
          << parameter.name;
    }
    EXPECT_EQ(matrices, static_cast<std::size_t>(4 * blocks + 2));
  }
}

/// Every matrix of sublayers under `settings` is, entry by entry, factor(block, sublayer) times the plain
/// one.
void expect_scaled(const std::vector<std::string>& settings,
                   const std::function<double(int block, int sublayer)>& factor) {
  for (const char* placement : {"pre", "deepnorm"}) {
    const InitialModel plain(placement, 4), scaled(placement, 4, settings);
    for (int k = 0; k < 8; ++k) {
      const std::string block = "blocks." + std::to_string(k / 2);
      const std::vector<std::string> matrices =
          k % 2 == 0 ? std::vector<std::string>{".attention.qkv.weight", ".attention.projection.weight"}
                     : std::vector<std::string>{".ffn.expand.weight", ".ffn.contract.weight"};
      for (const std::string& matrix : matrices) {
        const auto before = plain.values(block + matrix), after = scaled.values(block + matrix);
        for (std::size_t i = 0; i < before.size(); ++i) {
          ASSERT_NEAR(after[i], factor(k / 2, k) * before[i], 1e-15) << block << matrix;
        }
      }
    }
    for (const char* name : {"embedding.token", "embedding.position"}) {
      EXPECT_EQ(scaled.values(name), plain.values(name));
    }
  }
}

TEST(InitialDepth, DsInitShrinksWithTheRootOfTheBlock) {
  expect_scaled({"model.init.depth=ds-init", "model.init.depth_scale=0.7"},
                [](int block, int) { return 0.7 / std::sqrt(block + 1.0); });
}

TEST(InitialDepth, GrowingWeights) {
  constexpr double r = 1.3;
  expect_scaled({"model.init.depth=depth-growing", "model.init.depth_growth=1.3"},
                [](int, int sublayer) { return std::pow(r, sublayer); });
  // And as measured from one sublayer to another of the same model.
  const InitialModel model("layerscale", 6,
                           {"model.init.depth=depth-growing", "model.init.depth_growth=1.3"});
  const double first = rms(model.values("blocks.0.attention.qkv.weight"));
  const double last = rms(model.values("blocks.5.ffn.expand.weight"));
  const double error = 4 * std::sqrt(1 / (2 * 3072.0) + 1 / (2 * 4096.0));
  EXPECT_NEAR(std::log(last / first) / std::log(r), 11, error / std::log(r));
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum / static_cast<double>(a.size()) / rms(a) / rms(b);
}

TEST(InitialDepth, CorrelatedWeights) {
  for (const char* placement : {"layerscale", "admin"}) {  // normal, uniform
    for (const double rho : {0.8, -0.5, 1.0}) {
      SCOPED_TRACE(fmt::format("{} rho {}", placement, rho));
      const InitialModel plain(placement, 4);
      const InitialModel model(placement, 4, {fmt::format("model.init.depth_correlation={}", rho)});
      for (const char* part : {"attention.qkv.weight", "ffn.expand.weight", "ffn.contract.weight"}) {
        std::vector<std::vector<double>> weights;
        for (int block = 0; block < 4; ++block) {
          weights.push_back(model.values(fmt::format("blocks.{}.{}", block, part)));
        }
        const double error = 4 / std::sqrt(static_cast<double>(weights[0].size()));
        EXPECT_EQ(weights[0], plain.values(fmt::format("blocks.0.{}", part)));
        for (std::size_t k = 1; k < 4; ++k) {
          EXPECT_NEAR(correlation(weights[k], weights[0]), rho, error * (1 - rho * rho) + 1e-12) << part;
          EXPECT_NEAR(rms(weights[k]) / rms(weights[0]), 1, error) << part << ": the deviation stays";
          for (std::size_t j = 1; j < k; ++j) {
            EXPECT_NEAR(correlation(weights[k], weights[j]), rho * rho,
                        error * (1 - std::pow(rho, 4)) + 1e-12)
                << part;
          }
        }
      }
    }
  }
  const InitialModel plain("pre", 3);
  EXPECT_NEAR(
      correlation(plain.values("blocks.0.ffn.expand.weight"), plain.values("blocks.2.ffn.expand.weight")), 0,
      4 / std::sqrt(4096.0));
}

TEST(InitialDepth, SmallEmbedding) {
  const InitialModel model("pre", 2,
                           {"model.init.embedding=small-embedding", "model.norm.embedding.kind=standard"});
  const auto table = model.values("embedding.token");
  EXPECT_LE(largest(table), 1e-4);
  EXPECT_NEAR(rms(table), 1e-4 / std::sqrt(3.0), 4e-4 / std::sqrt(3.0 * 2 * 256 * 32));
  EXPECT_THAT(model.values("embedding_norm.gain"), testing::Each(1.0));
}

}  // namespace
}  // namespace plumb::test
