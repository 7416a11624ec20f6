// Initial values of every tensor of every placement, against deviations by role that are written out here
// from the papers.
#include "nn/init.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "config/schema.h"
#include "nn/initial_model.h"

namespace plumb::test {
namespace {

constexpr double kWidth = InitialModel::kWidth, kHidden = InitialModel::kHidden;

/// Deviations by role; a negative one is that of a uniform distribution, 0 are zeros.
struct Deviations {
  double query_key, value, output, expand, contract, token, position = 0.02;
};

/// Of block l = 1..L of L.
using Rule = std::function<Deviations(double L, double l)>;

const double kSquare = std::sqrt(2 / (kWidth + kWidth)), kOblong = std::sqrt(2 / (kWidth + kHidden));
const double kSmall = std::sqrt(2 / (5 * kWidth)), kFairseqEmbedding = 1 / std::sqrt(kWidth);

Deviations gpt2(double L, double) {
  const double projection = 0.02 / std::sqrt(2 * L);
  return {0.02, 0.02, projection, 0.02, projection, 0.02};
}
Deviations normal(double, double) { return {0.02, 0.02, 0.02, 0.02, 0.02, 0.02}; }
Deviations small(double L, double) {
  const double projection = kSmall / std::sqrt(2 * L);
  return {kSmall, kSmall, projection, kSmall, projection, kSmall};
}
/// Xavier, negative (uniform), with factors on W_Q and W_K, and on the others.
Deviations xavier(double query_key, double others, double token) {
  return {-kSquare * query_key, -kSquare * others, -kSquare * others,
          -kOblong * others,    -kOblong * others, token};
}
/// fairseq draws W_Q, W_K and W_V with the gain 1/sqrt(2).
Deviations fairseq_xavier(double gain) {
  const double packed = gain / std::sqrt(2.0);
  return {-kSquare * packed, -kSquare * packed, -kSquare * gain,
          -kOblong * gain,   -kOblong * gain,   kFairseqEmbedding};
}
Deviations xavier_normal(double others) {
  return {kSquare, kSquare * others, kSquare * others, kOblong * others, kOblong * others, 0.02};
}

/// The correlation of the tokens before block l = 1, 2, ... is followed through every attention, which leaves
/// rows alike, and every ReLU FFN (arXiv 2403.09635 without dropout).
Deviations deepscalelm(double L, double l) {
  const double branch = 2 / (2 * L), skip = 1 - branch;
  double r = 0.221;
  for (int block = 1; block < l; ++block) {
    r = skip * r + branch * 1;
    r = skip * r + branch * (r + (std::sqrt(1 - r * r) - r * std::acos(r)) / M_PI);
  }
  const double attention = std::sqrt(std::sqrt(1 / r) / kWidth), ffn = std::sqrt(std::sqrt(0.5) / kWidth);
  return {1 / std::sqrt(kWidth), attention, attention, ffn, ffn, std::sqrt(0.5), std::sqrt(0.5)};
}

Deviations fixup(double L, double) {
  const double branches = 2 * L;
  const double packed = std::sqrt(2 / (kWidth + 3 * kWidth)) * std::pow(branches, -1.0 / 6);
  return {-packed, -packed, 0, -kOblong * std::pow(branches, -0.5), 0, kFairseqEmbedding};
}

Deviations normformer(double L, double l) {
  Deviations deviations = gpt2(L, l);
  deviations.output = 0.02;  // attention ends in a norm
  return deviations;
}

Deviations t_fixup(double L, double) {
  return xavier(1 / std::sqrt(2.0), 0.67 * std::pow(L, -0.25), std::pow(9 * L, -0.25) / std::sqrt(kWidth));
}

const std::map<std::string, Rule>& rules() {
  const Rule plain_xavier = [](double, double) { return xavier(1, 1, 0.02); };
  const Rule fairseq = [](double, double) { return fairseq_xavier(1); };
  static const std::map<std::string, Rule> table = {
      {"none", gpt2},
      {"post", gpt2},
      {"pre", gpt2},
      {"peri", normal},
      {"out-norm", normal},
      {"res-post-norm", normal},
      {"pre-post", gpt2},
      {"parallel", gpt2},
      {"gemma2", normal},
      {"gemma3", normal},
      {"mix-ln", normal},
      {"hybridnorm", small},
      {"hybridnorm-star", small},
      {"b2t", [](double L, double) { return fairseq_xavier(1 / std::sqrt(L)); }},
      {"spannorm", gpt2},
      {"normformer", normformer},
      {"sub-ln", [](double L, double) { return xavier_normal(std::sqrt(std::log(2 * L))); }},
      {"value-residual", gpt2},
      {"deepnorm", [](double L, double) { return xavier_normal(std::pow(8 * L, -0.25)); }},
      {"keel", gpt2},
      {"admin", fairseq},
      {"rezero", plain_xavier},
      {"skipinit", plain_xavier},
      {"layerscale", normal},
      {"layernorm-scaling", normal},
      {"gpas", normal},
      {"fixup", fixup},
      {"t-fixup", t_fixup},
      {"deepscalelm", deepscalelm},
      {"deepscalelm-post", deepscalelm},
      {"spike-no-more", small},
      {"residual", fairseq},
      {"siamesenorm", gpt2},
      {"hyper-connections-static", gpt2},
      {"hyper-connections", gpt2},
      {"mhc", gpt2},
  };
  return table;
}

/// Sums squares of x / deviation over the tensors of one role, and checks each by itself.
class RoleCheck {
 public:
  void add(const std::vector<double>& x, double signed_deviation, const std::string& what) {
    const double deviation = std::abs(signed_deviation), count = static_cast<double>(x.size());
    ASSERT_GT(x.size(), 0U);
    if (deviation == 0) {
      EXPECT_EQ(largest(x), 0) << what;
      return;
    }
    const double measured = rms(x);
    EXPECT_NEAR(measured, deviation, 4 * deviation / std::sqrt(2 * count)) << what;
    double sum = 0;
    for (double v : x) sum += v;
    EXPECT_NEAR(sum / count, 0, 4 * deviation / std::sqrt(count)) << what << ": mean";
    if (signed_deviation < 0) {
      EXPECT_LE(largest(x), deviation * std::sqrt(3.0) * (1 + 1e-12)) << what << " is uniform";
    } else {
      EXPECT_GT(largest(x), 2.2 * deviation) << what << " is normal";
    }
    square_ += measured * measured / (deviation * deviation) * count;
    count_ += count;
  }
  void check_together(const std::string& what) const {
    if (count_ == 0) return;
    EXPECT_NEAR(std::sqrt(square_ / count_), 1, 4 / std::sqrt(2 * count_)) << what << " of all blocks";
  }

 private:
  double square_ = 0, count_ = 0;
};

/// A row that prescribes nothing starts as GPT-2 does, and needs no entry above unless a branch ends in a
/// norm.
bool starts_as_gpt2(const Placement& row) {
  return row.settings.find("init.") == std::string_view::npos &&
         row.settings.find("norm.out") == std::string_view::npos;
}

Rule rule_of(const std::string& name) {
  const auto found = rules().find(name);
  return found != rules().end() ? found->second : Rule(gpt2);
}

std::vector<std::string> rows_with_rules() {
  std::vector<std::string> names;
  for (const Placement& row : placements()) {
    if (row.name != "ngpt") names.emplace_back(row.name);  // on the sphere: init_constants_test.cpp
  }
  return names;
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& letter : name) letter = letter == '-' ? '_' : letter;
  return name;
}

class InitialDeviations : public testing::TestWithParam<std::string> {};

TEST_P(InitialDeviations, FollowThePaperInEveryTensor) {
  const bool has_entry = rules().count(GetParam()) > 0;
  SCOPED_TRACE(has_entry ? "against the row's entry in rules()"
                         : "no entry in rules(): held to GPT-2's rule, because the row prescribes nothing");
  for (const std::int64_t blocks : {3, 12}) {
    const auto L = static_cast<double>(blocks);
    const InitialModel model(GetParam(), blocks);
    RoleCheck query, key, value, output, expand, contract;
    std::size_t matrices = 0;
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::string prefix = "blocks." + std::to_string(block);
      const Deviations expected = rule_of(GetParam())(L, static_cast<double>(block + 1));
      const auto qkv = model.values(prefix + ".attention.qkv.weight");
      query.add(third(qkv, 0), expected.query_key, prefix + " W_Q");
      key.add(third(qkv, 1), expected.query_key, prefix + " W_K");
      value.add(third(qkv, 2), expected.value, prefix + " W_V");
      output.add(model.values(prefix + ".attention.projection.weight"), expected.output, prefix + " W_O");
      expand.add(model.values(prefix + ".ffn.expand.weight"), expected.expand, prefix + " W_1");
      contract.add(model.values(prefix + ".ffn.contract.weight"), expected.contract, prefix + " W_2");
      matrices += 4;
    }
    query.check_together("W_Q");
    key.check_together("W_K");
    value.check_together("W_V");
    output.check_together("W_O");
    expand.check_together("W_1");
    contract.check_together("W_2");
    const Deviations outer = rule_of(GetParam())(L, 1);
    RoleCheck tables;
    tables.add(model.values("embedding.token"), outer.token, "token embedding");
    tables.add(model.values("embedding.position"), outer.position, "position embedding");
    matrices += 2;
    for (const Parameter& parameter : model.all()) {
      const bool of_streams = parameter.name.find(".streams.projection.") != std::string::npos;
      if (parameter.shape.rank() < 2 || of_streams) continue;
      EXPECT_GT(matrices, 0U) << parameter.name << " has no rule here";
      --matrices;
    }
    EXPECT_EQ(matrices, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, InitialDeviations, testing::ValuesIn(rows_with_rules()), test_name);

TEST(InitialDeviations, EveryPlacementHasARuleHere) {
  for (const Placement& row : placements()) {
    if (row.name == "ngpt" || starts_as_gpt2(row)) continue;
    EXPECT_EQ(rules().count(std::string(row.name)), 1U) << row.name;
  }
  for (const auto& entry : rules()) EXPECT_NE(find_placement(entry.first), nullptr) << entry.first;
}

TEST(InitialDeviations, OfAnUntiedHead) {
  for (const auto& [placement, deviation] :
       {std::pair{"pre", 0.02}, std::pair{"layerscale", 0.02}, std::pair{"admin", 1 / std::sqrt(kWidth)},
        std::pair{"deepnorm", 1 / std::sqrt(kWidth)}, std::pair{"fixup", 0.0}}) {
    const InitialModel model(placement, 2, {"model.tied_head=false"});
    RoleCheck().add(model.values("head.weight"), deviation, placement);
  }
}

TEST(InitialDeviations, DropoutIsPartOfDeepScaleLm) {
  const InitialModel model("deepscalelm", 3, {"model.dropout.branch=0.1", "model.dropout.embedding=0.1"});
  RoleCheck().add(model.values("embedding.token"), std::sqrt(0.9 / 2), "token embedding");
  RoleCheck().add(model.values("blocks.2.ffn.expand.weight"), std::sqrt(std::sqrt(0.45) / kWidth), "W_1");
  const double r = 0.221 * 0.9;
  RoleCheck().add(third(model.values("blocks.0.attention.qkv.weight"), 2),
                  std::sqrt(std::sqrt(0.9 / r) / kWidth), "W_V");
}

TEST(InitialDeviations, ProjectionScaleWinsOverTheRow) {
  const InitialModel peri("peri", 3, {"model.init.projection_scale=1/sqrt(2L)"});
  RoleCheck().add(peri.values("blocks.1.attention.projection.weight"), 0.02 / std::sqrt(6.0), "W_O");
  const InitialModel pre("pre", 3, {"model.init.projection_scale=none"});
  RoleCheck().add(pre.values("blocks.1.ffn.contract.weight"), 0.02, "W_2");
}

TEST(InitialDeviations, SchemaNamesAreTheTables) {
  std::vector<std::string> kinds, embeddings;
  for (const InitKind& row : init_kinds()) kinds.emplace_back(row.name);
  for (const EmbeddingInit& row : embedding_inits()) embeddings.emplace_back(row.name);
  EXPECT_THAT(find_field("model.init.kind")->allowed.names, testing::UnorderedElementsAreArray(kinds));
  EXPECT_THAT(find_field("model.init.embedding")->allowed.names,
              testing::UnorderedElementsAreArray(embeddings));
}

}  // namespace
}  // namespace plumb::test
