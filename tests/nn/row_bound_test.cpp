// I8 of docs/design/placements.md for every row that names it (float64, reference backend): under N_out the
// stream stays within a bound that depends on gains, biases and steps alone.
#include "nn/row_identity.h"

namespace plumb::test {
namespace {

struct RowI8 : testing::TestWithParam<std::string> {};

double largest(const std::vector<double>& values) {
  double out = 0;
  for (double v : values) out = std::max(out, std::abs(v));
  return out;
}

double largest_coefficient(TinyModel& model, const Place& place, char knob) {
  const KnobConfig& config = knob_of(place, knob);
  expect_plain(config);
  if (is_trained(config)) return largest(values_of(model.parameter(knob_name(place, knob))));
  EXPECT_EQ(config.depth, "constant");
  EXPECT_EQ(config.width_exponent, 0);
  return std::abs(config.value);
}

/// Of the 2-norm of what a norm writes: max |gain| sqrt(d) + |bias|.
double largest_norm_output(TinyModel& model, const ModelConfig& config, const NormConfig& norm,
                           const std::string& name) {
  const NormKind kind = norm_kind_from_name(norm.kind, config.norm_kind);
  EXPECT_TRUE(kind == NormKind::LayerNorm || kind == NormKind::RmsNorm) << name;
  const Parameter* gain = model.engine().parameters().find(name + ".gain");
  const Parameter* bias = model.engine().parameters().find(name + ".bias");
  return (gain == nullptr ? 1 : largest(values_of(*gain))) * std::sqrt(static_cast<double>(config.width)) +
         (bias == nullptr ? 0 : norm_of(values_of(*bias)));
}

/// Row by row |x_k| / bound at every level k = 1..K: levels x rows. The bound is that of
/// docs/design/theory.md: S = |a| B + |b| R + |e| B_block, and that of N_post where it is
/// there.
std::vector<std::vector<double>> shares_of_bound(TinyModel& model, const ModelConfig& config) {
  const auto width = static_cast<std::size_t>(config.width);
  const auto row_norms = [&](std::int64_t k) {
    const auto x = model.stream(k);
    std::vector<double> norms(x.size() / width);
    for (std::size_t i = 0; i < x.size(); ++i) norms[i / width] += x[i] * x[i];
    for (double& norm : norms) norm = std::sqrt(norm);
    return norms;
  };
  std::vector<double> bound = row_norms(0), block_bound;
  std::vector<std::vector<double>> shares;
  for (const Place& place : places_of(config)) {
    EXPECT_TRUE(place.has_out) << place.name << " has no bound for any weights";
    EXPECT_EQ(place.config.residual.p, KnobConfig{});
    if (shares.size() % config.block.size() == 0) block_bound = bound;
    const double a = largest_coefficient(model, place, 'a'), b = largest_coefficient(model, place, 'b');
    const double e = largest_coefficient(model, place, 'e');
    const double branch = largest_norm_output(model, config, place.config.norm.out, place.name + ".norm_out");
    auto share = row_norms(static_cast<std::int64_t>(shares.size()) + 1);
    for (std::size_t row = 0; row < bound.size(); ++row) {
      bound[row] = a * bound[row] + b * branch + e * block_bound[row];
      if (place.has_post) {
        bound[row] = largest_norm_output(model, config, place.config.norm.post, place.name + ".norm_post");
      }
      share[row] /= bound[row];
    }
    shares.push_back(share);
  }
  return shares;
}

ModelConfig stepped_config(const std::string& row) {
  ModelConfig config = row_config(row);
  for (const Place& place : places_of(config)) {
    if (!is_trained(knob_of(place, 'b'))) change(config, "residual.b.value", "0.8", &place);
  }
  return config;
}

TEST_P(RowI8, BoundHoldsAtEveryLayerForAnyParameters) {
  const ModelConfig config = stepped_config(GetParam());
  for (const double size : {0.0, 0.2, 1.0, 5.0}) {
    TinyModel model(config);
    for (const Parameter& parameter : model.engine().parameters().all()) {
      const RandomStream random{hash_text(parameter.name), 0, 31};
      for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) {
        TinyModel::value(parameter)[i] += size * random.normal(static_cast<std::uint64_t>(i));
      }
    }
    model.forward();
    for (const auto& level : shares_of_bound(model, config)) EXPECT_LE(largest(level), 1 + 1e-12) << size;
  }
}

// The bound is reached where all branches and the embedding point one way.
TEST_P(RowI8, BoundIsReachedByAlignedBranches) {
  const ModelConfig config = stepped_config(GetParam());
  TinyModel model(config);
  const auto fill_aligned = [&](const Parameter& parameter, double size) {
    for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) {
      TinyModel::value(parameter)[i] = i % 2 == 0 ? size : -size;
    }
  };
  for (const Parameter& parameter : model.engine().parameters().all()) {
    const std::string& name = parameter.name;
    if (name.ends_with(".gain")) fill(parameter, 1);
    if (name.ends_with(".bias") || name == "embedding.token") fill(parameter, 0);
  }
  fill_aligned(model.parameter("embedding.position"), 0.4);
  for (const Place& place : places_of(config)) {
    const auto last = last_matrix(model, place);
    ASSERT_EQ(last.size(), 2U);
    fill(*last[0], 0);
    fill_aligned(*last[1], 1);
  }
  model.forward();
  for (const auto& level : shares_of_bound(model, config)) {
    for (const double share : level) EXPECT_NEAR(share, 1, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, RowI8, testing::ValuesIn(rows_naming("I8")), row_test_name);

}  // namespace
}  // namespace plumb::test
