// The saved configuration.
#include "config/dump.h"

#include <gtest/gtest.h>

#include "config/fixture.h"
#include "config/schema.h"

namespace plumb {
namespace {

constexpr const char* kRich = R"(
training.seed = 9223372036854775807
[run]
name = "a \"quoted\" \\ name"
dir = "runs/x # no comment"
[optimizer]
learning_rate = 0.1
epsilon = 1e-300
weight_decay = 0.30000000000000004
[model]
placement = "two-halves"
blocks = 3
position = "rotary"
block = ["attention", "linear", "ffn"]
norm.qk = {kind = "rmsnorm", epsilon = 0, trainable = false}
residual.b = {depth = "list", counts = "blocks", list = [1, 0.1, 1e-7]}
residual.p.stop_gradient = true
dropout.branch = 0.1
[[model.override]]
blocks = [0, 1]
sublayer = "ffn"
residual.b.value = 0.7
norm.ffn_inner.kind = "l2"
[[model.override]]
every = 2
branch_biases = true
gain.qk = {trainable = "vector", storage = "unit"}
residual.c = {time = "prores-linear", ramp_steps = 100, time_counts = "sublayers"}
[[model.override]]
blocks = [0.0, 1.0]
residual.e.value = 1
residual.a.depth = "list"
residual.a.list = [1, 2, 3, 4, 5, 6, 7, 8, 9.5]
)";

TEST(ConfigDump, LoadsBackToTheSame) {
  const LoadedConfig first = load_text(minimal() + kRich, {"model.z_loss=1e-4"});
  const std::string text = dump_config(first);
  const LoadedConfig second =
      load_config(std::vector<ConfigSource>{{"config.toml", text}}, {}, test_presets());
  EXPECT_EQ(settings_text(second.config), settings_text(first.config));
  EXPECT_EQ(config_hash(second.config), config_hash(first.config));
  // Values that were set are there at all, checked apart from the writer.
  EXPECT_EQ(second.config.run.name, "a \"quoted\" \\ name");
  EXPECT_EQ(second.config.training.seed, 9223372036854775807ULL);
  EXPECT_EQ(second.config.optimizer.epsilon, 1e-300);
  EXPECT_EQ(second.config.optimizer.weight_decay, 0.30000000000000004);
  EXPECT_EQ(second.config.model.base.residual.b.list, (std::vector<double>{1, 0.1, 1e-7}));
  EXPECT_EQ(second.config.model.base.residual.b.value, 0.5);
  ASSERT_EQ(second.config.model.overrides.size(), 5U);
  EXPECT_TRUE(second.config.model.overrides[0].fractions);
  EXPECT_FALSE(second.config.model.overrides[2].fractions);
  EXPECT_EQ(second.config.model.overrides[2].every, 1);
  EXPECT_EQ(second.config.model.overrides[3].every, 2);
  EXPECT_TRUE(resolved_sublayer(second.config.model, 1, "ffn").branch_biases);
  EXPECT_FALSE(resolved_sublayer(second.config.model, 2, "ffn").branch_biases);
  for (std::int64_t block = 0; block < 3; ++block) {
    for (const char* kind : {"attention", "linear", "ffn"}) {
      EXPECT_EQ(resolved_sublayer(second.config.model, block, kind),
                resolved_sublayer(first.config.model, block, kind));
    }
  }
}

TEST(ConfigDump, EveryValueSaysWhereItCameFrom) {
  const std::string text = dump_config(load_text(minimal() + kRich, {"model.z_loss=1e-4"}));
  for (const char* line :
       {"z_loss = 0.0001  # --set\n", "blocks = 3  # configs/x.toml:15\n", "width = 64  # default\n",
        "\n[model.residual.b]\nvalue = 0.5  # placement two-halves\n",
        "\n[[model.override]]  # configs/x.toml:22\n",
        "\n[[model.override]]  # placement two-halves\nblocks = [0.0, 0.5]\nsublayer = \"all\"\n"}) {
    EXPECT_THAT(text, testing::HasSubstr(line));
  }
  for (const Field& field : config_fields()) {
    const std::string name = field.key.substr(field.key.rfind('.') + 1);
    EXPECT_THAT(text, testing::HasSubstr("\n" + name + " = "));
  }
}

TEST(ConfigDump, ADumpWithOtherSettingsOnTop) {
  const LoadedConfig first = load_text(minimal() + kRich);
  const LoadedConfig second = load_config(std::vector<ConfigSource>{{"config.toml", dump_config(first)}},
                                          {"training.steps=7"}, test_presets());
  EXPECT_EQ(second.config.training.steps, 7);
  EXPECT_EQ(second.config.model.overrides.size(), 5U);
}

TEST(ConfigHash, DependsOnWhatShapesTheRunOnly) {
  const std::string base = config_hash(load_text(minimal()).config);
  EXPECT_EQ(base.size(), 16U);
  for (const char* same : {"run.name=other", "run.overwrite=true", "log.console_every=3",
                           "checkpoint.every=5", "validation.every=4"}) {
    EXPECT_EQ(config_hash(load_text(minimal(), {same}).config), base) << same;
  }
  for (const char* other :
       {"training.seed=2", "model.width=128", "model.norm.in.epsilon=1e-6", "compute.dtype=fp32",
        "model.override=[{activation='relu'}]", "model.override=[{every=2, activation='relu'}]",
        "model.streams.kind=siamese", "optimizer.learning_rate=0.0010000000000000002"}) {
    EXPECT_NE(config_hash(load_text(minimal(), {other}).config), base) << other;
  }
}

}  // namespace
}  // namespace plumb
