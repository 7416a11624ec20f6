// Identities between placements (float64, reference backend); the others are in identity_test.cpp.
#include "core/error.h"
#include "nn/placed_config.h"
#include "nn/tiny_model.h"

namespace plumb::test {
namespace {

ModelConfig placed(const std::string& placement, std::vector<std::string> settings = {}) {
  for (const char* setting : {"model.blocks=3", "model.width=12", "model.heads=2", "model.sequence_length=5",
                              "model.init.kind=gpt2", "model.init.standard_deviation=0.3",
                              "model.init.embedding=normal", "model.init.embedding_standard_deviation=0.7"}) {
    settings.emplace_back(setting);
  }
  return load_placed(placement, settings).config.model;
}

/// Same loss, same streams up to factors, same gradients of all tensors that both have, with the same
/// weights.
void expect_same(const ModelConfig& one, const ModelConfig& other) {
  TinyModel first(one), second(other);
  copy_weights(first, second);
  EXPECT_NEAR(first.forward_backward(), second.forward_backward(), 1e-12);
  double largest = 0;
  std::size_t compared = 0;
  for (const Parameter* parameter : first.engine().parameters().trainable()) {
    const Parameter* same = second.engine().parameters().find(parameter->name);
    if (same == nullptr) continue;
    ++compared;
    const auto expected = TinyModel::gradient(*parameter);
    largest = std::max(largest, norm_of(expected));
    EXPECT_LT(distance(TinyModel::gradient(*same), expected), 1e-10 * (norm_of(expected) + 0.01))
        << parameter->name;
  }
  EXPECT_GT(largest, 0.01);
  EXPECT_GE(compared + 1, first.engine().parameters().trainable().size());
}

double loss_of(const ModelConfig& config) { return TinyModel(config).forward(); }

// I1. N_post(a x + b z) = N_post(k a x + k b z), with eps / k^2 on the left where eps is not 0: here with k =
// alpha, DeepNorm(alpha) is Post with b = 1 / alpha.
TEST(PlacementIdentity, I1DeepNormIsPostWithAScaledStep) {
  const double alpha = std::pow(6, 0.25);  // 2 L = 6
  for (const double epsilon : {0.0, 0.05}) {
    SCOPED_TRACE(epsilon);
    ModelConfig deepnorm = placed("deepnorm"), post = placed("post");
    deepnorm.base.norm.post.epsilon = epsilon;
    post.base.norm.post.epsilon = epsilon / (alpha * alpha);
    post.base.residual.b.value = 1 / alpha;
    expect_same(deepnorm, post);
    if (epsilon == 0) continue;
    post.base.norm.post.epsilon = epsilon;
    EXPECT_GT(std::abs(loss_of(post) - loss_of(deepnorm)), 1e-4) << "eps must be scaled as well";
  }
}

TEST(PlacementIdentity, I1TheFactorMayStandInBothCoefficients) {
  for (const double k : {0.2, 7.0}) {
    ModelConfig plain = placed("post"), scaled = plain;
    plain.base.norm.post.epsilon = 0.02;
    plain.base.residual.a.value = 1.4;
    plain.base.residual.b.value = 0.6;
    scaled.base.norm.post.epsilon = 0.02 * k * k;
    scaled.base.residual.a.value = k * 1.4;
    scaled.base.residual.b.value = k * 0.6;
    expect_same(plain, scaled);
  }
}

// I1 for Keel: a = 2 L is pre-post with b = 1 / (2 L); the first block has neither.
TEST(PlacementIdentity, I1KeelIsPrePostWithAScaledStep) {
  for (const double epsilon : {0.0, 0.1}) {
    ModelConfig keel = placed("keel"), stepped = keel;
    keel.base.norm.post.epsilon = epsilon;
    stepped.base.norm.post.epsilon = epsilon / 36;
    stepped.base.residual.a = KnobConfig{};
    stepped.base.residual.b.value = 1.0 / 6;
    ASSERT_EQ(stepped.overrides.size(), 1U);
    stepped.overrides[0].settings = {{"norm.post.kind", "'none'"}, {"residual.b.value", "1.0"}};
    expect_same(keel, stepped);
  }
}

// I1 for Admin with fixed skips: a = c is post with b = 1 / c.
TEST(PlacementIdentity, I1AdminIsPostWithAScaledStep) {
  ModelConfig admin = placed("admin"), post = placed("post", {"model.embedding_scale_by=sqrt(width)"});
  admin.base.residual.a.trainable = "none";
  admin.base.residual.a.value = 2.5;
  admin.base.norm.post.epsilon = 0.03;
  post.base.norm.post.epsilon = 0.03 / (2.5 * 2.5);
  post.base.residual.b.value = 1 / 2.5;
  expect_same(admin, post);
}

// I1 as the note of SiameseNorm's row uses it: dividing f by c = sqrt(2 l) on its way to X alone, N_post(X +
// f / c) and Y + f, is a skip of c before N_post, which Y does not see. Against plain loops, one sublayer at
// a time.
TEST(PlacementIdentity, I1SiameseNormsDivisionIsASkipOfTheFirstStream) {
  ModelConfig config =
      placed("siamesenorm", {"model.residual.a.value=1.4142135623730951", "model.residual.a.depth=sqrt(l)",
                             "model.residual.a.counts=blocks"});
  config.base.norm.post.epsilon = 0;
  TinyModel model(config);
  model.forward();
  const auto width = static_cast<std::size_t>(config.width);
  for (std::int64_t k = 0; k < 6; ++k) {
    SCOPED_TRACE(k);
    const auto before = model.stream(k), after = model.stream(k + 1);  // X, then Y
    const std::size_t half = before.size() / 2;
    const std::string name = sublayer_name(config, k) + ".norm_post.";
    const double* gain = TinyModel::value(model.parameter(name + "gain"));
    const double* bias = TinyModel::value(model.parameter(name + "bias"));
    const double c = std::sqrt(2.0 * static_cast<double>(k / 2 + 1));
    std::vector<double> branch(half), expected(half);
    for (std::size_t i = 0; i < half; ++i) branch[i] = after[half + i] - before[half + i];
    for (std::size_t row = 0; row < half; row += width) {
      double mean = 0, variance = 0;
      const auto sum = [&](std::size_t i) { return before[row + i] + branch[row + i] / c; };
      for (std::size_t i = 0; i < width; ++i) mean += sum(i) / static_cast<double>(width);
      for (std::size_t i = 0; i < width; ++i) {
        variance += (sum(i) - mean) * (sum(i) - mean) / static_cast<double>(width);
      }
      for (std::size_t i = 0; i < width; ++i) {
        expected[row + i] = gain[i] * (sum(i) - mean) / std::sqrt(variance) + bias[i];
      }
    }
    ASSERT_GT(norm_of(branch), 0.1);
    const std::vector<double> x(after.begin(), after.begin() + static_cast<std::ptrdiff_t>(half));
    EXPECT_LT(distance(x, expected), 1e-12 * norm_of(expected));
  }
}

// I5. c N(x) is N with gain and bias times c: LayerNorm Scaling with fixed factors is Pre with smaller gains.
TEST(PlacementIdentity, I5InputFactorIsAGain) {
  const ModelConfig pre = placed("pre"), scaling = placed("layernorm-scaling");
  TinyModel with_gains(pre), with_factors(scaling);
  copy_weights(with_gains, with_factors);
  for (int block = 0; block < 3; ++block) {
    for (const char* part :
         {"attention.norm_in.gain", "attention.norm_in.bias", "ffn.norm_in.gain", "ffn.norm_in.bias"}) {
      const Parameter& parameter = with_gains.parameter(fmt::format("blocks.{}.{}", block, part));
      for (int i = 0; i < 12; ++i) TinyModel::value(parameter)[i] /= std::sqrt(block + 1.0);
    }
  }
  EXPECT_NEAR(with_factors.forward_backward(), with_gains.forward_backward(), 1e-12);
  // In training they differ: the same gain has a gradient that is smaller by the factor.
  for (int block = 0; block < 3; ++block) {
    const std::string gain = fmt::format("blocks.{}.ffn.norm_in.gain", block);
    auto expected = TinyModel::gradient(with_gains.parameter(gain));
    for (double& value : expected) value /= std::sqrt(block + 1.0);
    ASSERT_GT(norm_of(expected), 1e-5);
    EXPECT_LT(distance(TinyModel::gradient(with_factors.parameter(gain)), expected), 1e-11) << gain;
  }
}

/// A table of norms, one entry for every sublayer, on top of a placement without norms.
struct SublayerRow {
  std::string in = "none", post = "none";
};

ModelConfig from_table(const std::vector<SublayerRow>& rows, const std::string& kind, bool inner_norms) {
  ModelConfig config = placed("none", {"model.norm_kind=" + kind, "model.norm.final.kind=standard"});
  for (std::size_t k = 0; k < rows.size(); ++k) {
    OverrideConfig change;
    const double block = static_cast<double>(k / 2);
    change.blocks = {block, block};
    change.sublayer = k % 2 == 0 ? "attention" : "ffn";
    change.settings = {{"norm.in.kind", "'" + rows[k].in + "'"},
                       {"norm.post.kind", "'" + rows[k].post + "'"}};
    if (inner_norms && k % 2 == 0) {
      change.settings.emplace_back("norm.qk.kind", "'" + kind + "'");
      change.settings.emplace_back("norm.v.kind", "'" + kind + "'");
    }
    config.overrides.push_back(change);
  }
  return config;
}

// I6. HybridNorm and its like are nothing but a table of what every sublayer has.
TEST(PlacementIdentity, I6PlacementsAreTablesOfSublayers) {
  const SublayerRow none, post{"none", "standard"}, pre{"standard", "none"};
  expect_same(placed("hybridnorm"), from_table({post, none, post, none, post, none}, "rmsnorm", true));
  expect_same(placed("hybridnorm-star"), from_table({pre, pre, post, none, post, none}, "rmsnorm", true));
  expect_same(placed("mix-ln", {"model.placement_fraction=0.5"}),
              from_table({post, post, pre, pre, pre, pre}, "layernorm", false));
  expect_same(placed("mix-ln", {"model.placement_fraction=0.6"}),
              from_table({post, post, post, post, pre, pre}, "layernorm", false));
  ModelConfig keel = placed("keel");
  const SublayerRow both{"standard", "standard"};
  ModelConfig table = from_table({pre, pre, both, both, both, both}, "rmsnorm", false);
  table.final_norm.kind = "none";
  for (std::size_t k = 2; k < 6; ++k) table.overrides[k].settings.emplace_back("residual.a.value", "6.0");
  expect_same(keel, table);
}

TEST(PlacementIdentity, I6HybridNormTouchesAttentionAlone) {
  const ModelConfig config = placed("hybridnorm");
  for (std::int64_t block = 0; block < 3; ++block) {
    const SublayerConfig attention = resolved_sublayer(config, block, "attention");
    const SublayerConfig ffn = resolved_sublayer(config, block, "ffn");
    EXPECT_EQ(attention.norm.post.kind, "standard");
    EXPECT_EQ(ffn.norm.post.kind, "none");
    for (const SublayerConfig* sublayer : {&attention, &ffn}) {
      EXPECT_EQ(sublayer->norm.in.kind, "none");
      EXPECT_EQ(sublayer->norm.out.kind, "none");
    }
  }
}

// Mix-LN at the depth of its authors: the lowest 3 of 12 blocks; and the ends of the share.
TEST(PlacementIdentity, I6MixLnCountsBlocksByTheirMiddle) {
  const auto posts = [](const std::string& blocks, const std::string& fraction) {
    const ModelConfig config =
        load_placed("mix-ln", {"model.blocks=" + blocks, "model.placement_fraction=" + fraction})
            .config.model;
    std::string out;
    for (std::int64_t block = 0; block < config.blocks; ++block) {
      const SublayerNorms norm = resolved_sublayer(config, block, "ffn").norm;
      EXPECT_NE(norm.in.kind == "standard", norm.post.kind == "standard");
      out += norm.post.kind == "standard" ? 'P' : '-';
    }
    return out;
  };
  EXPECT_EQ(posts("12", "0.25"), "PPP---------");
  EXPECT_EQ(posts("4", "0"), "----");
  EXPECT_EQ(posts("4", "1"), "PPPP");
  EXPECT_EQ(posts("16", "0.06"), "P---------------");
  EXPECT_EQ(posts("8", "0.06"), "--------");
}

// Swin v2 at large depth: a norm of the stream itself at the end of every sixth block.
TEST(PlacementIdentity, I6ResPostNormNormsTheStreamEverySoManyBlocks) {
  const ModelConfig config = load_placed("res-post-norm", {"model.blocks=14"}).config.model;
  for (std::int64_t block = 0; block < 14; ++block) {
    EXPECT_EQ(resolved_sublayer(config, block, "attention").norm.post.kind, "none");
    EXPECT_EQ(resolved_sublayer(config, block, "ffn").norm.post.kind,
              block == 5 || block == 11 ? "standard" : "none");
  }
  for (const char* period : {"model.placement_period=0", "model.placement_period=15"}) {
    EXPECT_TRUE(load_placed("res-post-norm", {"model.blocks=14", period}).config.model.overrides.empty());
  }
}

// I10. With the weights of one block in all, blocks of step b = 0.4 / L are Euler's method on dx/dt = F(x):
// the end converges, and halving b halves what is missing.
TEST(PlacementIdentity, I10HalvingTheStepConvergesAtFirstOrder) {
  const auto end_of = [](int blocks) {
    const std::string count = "model.blocks=" + std::to_string(blocks);
    TinyModel model(load_placed("pre", {count, "model.width=12", "model.heads=2", "model.sequence_length=5",
                                        "model.init.kind=normal", "model.init.standard_deviation=0.3",
                                        "model.residual.b.value=0.4", "model.residual.b.depth=1/L",
                                        "model.residual.b.counts=blocks"})
                        .config.model);
    for (const Parameter& parameter : model.engine().parameters().all()) {
      if (!parameter.name.starts_with("blocks.")) continue;
      const std::size_t part = parameter.name.find('.', 7);
      const Parameter& first = model.parameter("blocks.0" + parameter.name.substr(part));
      std::copy(TinyModel::value(first), TinyModel::value(first) + first.shape.elements(),
                TinyModel::value(parameter));
    }
    model.forward();
    return model.stream(2 * blocks);
  };
  std::vector<std::vector<double>> ends;
  for (const int blocks : {16, 32, 64, 128}) ends.push_back(end_of(blocks));
  const double coarse = distance(ends[0], ends[1]), middle = distance(ends[1], ends[2]);
  const double fine = distance(ends[2], ends[3]);
  EXPECT_GT(fine, 1e-4 * norm_of(ends[3]));
  EXPECT_NEAR(coarse / middle, 2, 0.15);
  EXPECT_NEAR(middle / fine, 2, 0.08);
}

}  // namespace
}  // namespace plumb::test
