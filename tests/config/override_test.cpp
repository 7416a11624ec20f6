// [[model.override]] and resolved_sublayer.
#include "config/override.h"

#include <gtest/gtest.h>

#include "config/fixture.h"
#include "core/error.h"

namespace plumb {
namespace {

/// Blocks 0 .. blocks-1 that [first, last] covers, as digits.
std::string covered(double first, double last, bool fractions, std::int64_t blocks) {
  OverrideConfig change;
  change.blocks = {first, last};
  change.fractions = fractions;
  std::string out;
  for (std::int64_t block = 0; block < blocks; ++block) {
    if (covers(change, blocks, block, "ffn")) out += std::to_string(block);
  }
  return out;
}

TEST(ConfigOverride, RangesOfBlocks) {
  EXPECT_EQ(covered(0, 0, false, 8), "0");
  EXPECT_EQ(covered(2, 4, false, 8), "234");
  EXPECT_EQ(covered(0.0, 0.25, true, 8), "01");
  EXPECT_EQ(covered(0.25, 1.0, true, 8), "234567");
  // Adjoining fractions share no block and leave none out, whatever the depth.
  for (std::int64_t blocks = 1; blocks <= 9; ++blocks) {
    const std::string all = covered(0.0, 1.0, true, blocks);
    EXPECT_EQ(all.size(), static_cast<std::size_t>(blocks));
    EXPECT_EQ(covered(0.0, 0.5, true, blocks) + covered(0.5, 1.0, true, blocks), all);
  }
}

TEST(ConfigOverride, EverySoManyBlocks) {
  const auto covered_by = [](std::int64_t every, std::vector<double> range) {
    OverrideConfig change;
    change.every = every;
    change.blocks = std::move(range);
    std::string out;
    for (std::int64_t block = 0; block < 8; ++block) {
      if (covers(change, 8, block, "ffn")) out += std::to_string(block);
    }
    return out;
  };
  EXPECT_EQ(covered_by(1, {}), "01234567");
  EXPECT_EQ(covered_by(3, {}), "25");
  EXPECT_EQ(covered_by(8, {}), "7");
  EXPECT_EQ(covered_by(2, {2, 6}), "35");
  const ModelConfig model = load_text(minimal() +
                                      "model.blocks = 6\n[[model.override]]\nevery = 3\nsublayer = 'ffn'\n"
                                      "norm.post.kind = 'l2'\n")
                                .config.model;
  for (std::int64_t block = 0; block < 6; ++block) {
    EXPECT_EQ(resolved_sublayer(model, block, "ffn").norm.post.kind, block % 3 == 2 ? "l2" : "none");
    EXPECT_EQ(resolved_sublayer(model, block, "attention").norm.post.kind, "none");
  }
}

TEST(ConfigOverride, ChangesOnlyWhatItCovers) {
  const ModelConfig model = load_text(minimal() + R"(model.blocks = 4
[[model.override]]
blocks = [1, 2]
sublayer = "attention"
norm.qk.kind = "rmsnorm"
norm.qk.epsilon = 0
residual.b.value = 0.25
head_gains = true
)")
                                .config.model;
  for (std::int64_t block = 0; block < 4; ++block) {
    for (const std::string kind : {"attention", "ffn"}) {
      const SublayerConfig sublayer = resolved_sublayer(model, block, kind);
      if (kind == "attention" && (block == 1 || block == 2)) {
        EXPECT_EQ(sublayer.norm.qk.kind, "rmsnorm");
        EXPECT_EQ(sublayer.norm.qk.epsilon, 0);
        EXPECT_EQ(sublayer.residual.b.value, 0.25);
        EXPECT_TRUE(sublayer.head_gains);
        EXPECT_EQ(sublayer.norm.in, model.base.norm.in);
      } else {
        EXPECT_EQ(sublayer, model.base);
      }
    }
  }
}

TEST(ConfigOverride, LaterOnesWinAndAddUpOverLayers) {
  const std::vector<ConfigSource> sources = {
      {"a.toml",
       minimal() + "model.blocks = 2\n[[model.override]]\nactivation = 'relu'\nresidual.c.value = 3\n"},
      {"b.toml", "[[model.override]]\nblocks = [1, 1]\nactivation = 'silu'\n"}};
  const ModelConfig model =
      load_config(sources, {"model.override=[{blocks = [0, 0], residual.c.value = 4}]"}, test_presets())
          .config.model;
  ASSERT_EQ(model.overrides.size(), 3U);
  EXPECT_EQ(model.overrides[0].origin, "a.toml:5");
  EXPECT_EQ(model.overrides[1].origin, "b.toml:1");
  EXPECT_EQ(model.overrides[2].origin, "--set");
  EXPECT_EQ(resolved_sublayer(model, 0, "ffn").activation, "relu");
  EXPECT_EQ(resolved_sublayer(model, 1, "ffn").activation, "silu");
  EXPECT_EQ(resolved_sublayer(model, 0, "ffn").residual.c.value, 4);
  EXPECT_EQ(resolved_sublayer(model, 1, "ffn").residual.c.value, 3);
}

TEST(ConfigOverride, Errors) {
  const std::string head = "[[model.override]]\n";
  EXPECT_EQ(
      error_of(head + "norm.otu.kind = 'l2'"),
      "configs/x.toml:5: unknown key 'norm.otu.kind' in [[model.override]]; did you mean 'norm.out.kind'?");
  EXPECT_EQ(error_of(head + "block = [0, 1]"),
            "configs/x.toml:5: unknown key 'block' in [[model.override]]; did you mean 'blocks'?");
  EXPECT_EQ(error_of(head + "width = 3"),
            "configs/x.toml:5: 'width' holds for the whole model and cannot be in [[model.override]]");
  EXPECT_EQ(
      error_of(head + "norm.final.kind = 'l2'"),
      "configs/x.toml:5: 'norm.final.kind' holds for the whole model and cannot be in [[model.override]]");
  EXPECT_EQ(error_of(head + "residual.b.value = 'x'"),
            "configs/x.toml:5: model.residual.b.value wants a number, found the string \"x\"");
  EXPECT_EQ(error_of(head + "norm.in.kind = 'batchnorm'"),
            "configs/x.toml:5: model.norm.in.kind = \"batchnorm\" is not allowed; allowed: none, standard, "
            "layernorm, "
            "rmsnorm, dyt, derf, l2");
  EXPECT_EQ(
      error_of(head + "blocks = [0, 1]"),
      "configs/x.toml:4: [[model.override]] sets nothing; allowed keys beside blocks, every and sublayer: "
      "norm.*, residual.*, gain.*, activation, qk_norm_extent, v_norm_extent, head_gains, branch_input, "
      "branch_biases");
  EXPECT_EQ(error_of(head + "blocks = [3]\nactivation = 'relu'"),
            "configs/x.toml:5: model.override.blocks wants [first, last], found [3]");
  EXPECT_EQ(error_of(head + "blocks = [0, 12]\nactivation = 'relu'"),
            "configs/x.toml:4: [[model.override]] blocks = [0, 12] is not a range within the depth; allowed: "
            "0 <= first "
            "<= last <= 11");
  EXPECT_THAT(error_of(head + "blocks = [5, 2]\nactivation = 'relu'"),
              testing::StartsWith("configs/x.toml:4: [[model.override]] blocks = [5, 2] is"));
  EXPECT_THAT(error_of(head + "blocks = [0.5, 1.5]\nactivation = 'relu'"),
              testing::StartsWith("configs/x.toml:4: [[model.override]] blocks = [0.5, 1.5] i"));
  EXPECT_EQ(
      error_of(head + "blocks = [0.5, 0.5]\nactivation = 'relu'"),
      "configs/x.toml:4: [[model.override]] blocks = [0.5, 0.5] holds the middle of none of the 12 blocks");
  EXPECT_EQ(error_of(head + "every = 0\nactivation = 'relu'"),
            "configs/x.toml:5: model.override.every = 0 is not allowed; allowed: >= 1");
  EXPECT_EQ(error_of(head + "every = 13\nactivation = 'relu'"),
            "configs/x.toml:4: [[model.override]] every = 13 covers none of the 12 blocks");
  EXPECT_EQ(error_of(head + "every = 12\nactivation = 'relu'"), "");
  EXPECT_THAT(error_of(head + "every = 3\nblocks = [0, 1]\nactivation = 'relu'"),
              testing::StartsWith("configs/x.toml:4: [[model.override]]"));
  EXPECT_EQ(error_of(head + "sublayer = 'linear'\nresidual.b.value = 2"),
            "configs/x.toml:4: [[model.override]] is for linear sublayers, but model.block has none");
  EXPECT_EQ(error_of(head + "sublayer = 'mlp'\nresidual.b.value = 2"),
            "configs/x.toml:5: model.override.sublayer = \"mlp\" is not allowed; allowed: all, attention, "
            "ffn, linear");
  EXPECT_EQ(error_of(head + "sublayer = 'ffn'\nnorm.qk.kind = 'l2'"),
            "configs/x.toml:4: model.norm.qk.kind acts in attention sublayers, but this [[model.override]] "
            "is for ffn");
  EXPECT_THAT(error_of(head + "norm.post.epsilon = 0.1"),
              testing::StartsWith(
                  "configs/x.toml:4: model.norm.post.epsilon is set in [[model.override]] but not read the"));
  EXPECT_EQ(
      error_of(head + "blocks = [2, 3]\nresidual.b.time = 'linear'"),
      "configs/x.toml:4: model.residual.b.time = \"linear\" needs model.residual.b.ramp_steps of at least 1");
}

TEST(ConfigOverride, ResolvingSettingsMadeInCodeIsChecked) {
  ModelConfig model;
  OverrideConfig change;
  change.origin = "here";
  change.settings = {{"norm.in.epsilon", "-1"}};
  model.overrides = {change};
  try {
    resolved_sublayer(model, 0, "ffn");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "here: model.norm.in.epsilon = -1 is not allowed; allowed: >= 0");
  }
  model.overrides[0].settings = {{"width", "3"}};
  EXPECT_THROW(resolved_sublayer(model, 0, "ffn"), InputError);
}

}  // namespace
}  // namespace plumb
