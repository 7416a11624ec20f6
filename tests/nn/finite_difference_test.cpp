// The gradient of the whole model against central differences of its loss.
#include "nn/finite_difference.h"

#include "nn/placed_config.h"

namespace plumb::test {
namespace {

class Placements : public testing::TestWithParam<std::string> {};

TEST_P(Placements, GradientEqualsCentralDifferences) {
  std::vector<std::string> settings = {"model.blocks=2", "model.width=12", "model.heads=2",
                                       "model.sequence_length=5"};
  // A gradient that is stopped is no derivative: GPAS has a test of its own.
  if (GetParam() == "gpas") settings.emplace_back("model.residual.p.stop_gradient=false");
  expect_gradients_match(load_placed(GetParam(), settings).config.model, false);
}

std::vector<std::string> row_names() {
  std::vector<std::string> names;
  for (const Placement& row : placements()) names.emplace_back(row.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Rows, Placements, testing::ValuesIn(row_names()), [](const auto& info) {
  std::string name = info.param;
  for (char& letter : name) letter = letter == '-' ? '_' : letter;
  return name;
});

ModelConfig with_every_slot(const std::string& kind) {
  ModelConfig config = tiny_config();
  config.block = {"attention", "ffn", "linear"};
  for (NormConfig* slot : {&config.base.norm.in, &config.base.norm.out, &config.base.norm.post,
                           &config.base.norm.qk, &config.base.norm.v, &config.base.norm.pre_projection,
                           &config.base.norm.ffn_inner, &config.embedding_norm, &config.final_norm}) {
    slot->kind = kind;
    slot->epsilon = 1e-3;
  }
  config.base.head_gains = true;
  return config;
}

class NormKinds : public testing::TestWithParam<const char*> {};

TEST_P(NormKinds, EverySlotOfEveryKind) { expect_gradients_match(with_every_slot(GetParam()), false); }

TEST_P(NormKinds, FullWidthInnerNormsWithUntiedHead) {
  ModelConfig config = with_every_slot(GetParam());
  config.base.qk_norm_extent = "full";
  config.base.v_norm_extent = "full";
  config.tied_head = false;
  config.head_bias = true;
  config.z_loss = 0.01;
  config.head_soft_cap = 3;
  config.attention_soft_cap = 2;
  expect_gradients_match(config, false);
}

INSTANTIATE_TEST_SUITE_P(Kinds, NormKinds, testing::Values("layernorm", "rmsnorm", "dyt", "derf", "l2"),
                         [](const auto& info) { return std::string(info.param); });

class Activations : public testing::TestWithParam<const char*> {};

TEST_P(Activations, GradientEqualsCentralDifferences) {
  ModelConfig config = tiny_config();
  use_placement(config, "pre");
  config.base.activation = GetParam();
  expect_gradients_match(config, false);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Activations,
                         testing::Values("gelu", "gelu_tanh", "relu_squared", "silu", "swiglu", "geglu"),
                         [](const auto& info) { return std::string(info.param); });

struct KnobCase {
  const char* name;
  std::function<void(ModelConfig&)> change;
};

class Knobs : public testing::TestWithParam<KnobCase> {};

TEST_P(Knobs, GradientEqualsCentralDifferences) {
  for (const char* placement : {"peri", "post"}) {
    SCOPED_TRACE(placement);
    ModelConfig config = tiny_config();
    use_placement(config, placement);
    GetParam().change(config);
    expect_gradients_match(config, true);
  }
}

const KnobCase kKnobCases[] = {
    {"trainable_scalars",
     [](ModelConfig& c) {
       for (KnobConfig* knob :
            {&c.base.residual.a, &c.base.residual.b, &c.base.residual.c, &c.base.residual.p}) {
         knob->trainable = "scalar";
         knob->value = 0.7;
       }
     }},
    {"trainable_vectors_with_block_skip",
     [](ModelConfig& c) {
       for (KnobConfig* knob : {&c.base.residual.a, &c.base.residual.b, &c.base.residual.c,
                                &c.base.residual.e, &c.base.residual.p}) {
         knob->trainable = "vector";
         knob->value = 0.6;
       }
     }},
    {"fixed_over_depth_and_time",
     [](ModelConfig& c) {
       c.base.residual.b.depth = "1/sqrt(L)";
       c.base.residual.b.time = "linear";
       c.base.residual.b.ramp_steps = 6;
       c.base.residual.c.depth = "1/l";
       c.base.residual.c.counts = "blocks";
       c.base.residual.e.value = 0.3;
       c.base.residual.p.value = 0.9;
     }},
    {"skip_tied_to_branch",
     [](ModelConfig& c) {
       c.base.residual.a.tie_to_branch = true;
       c.base.residual.b.trainable = "vector";
       c.base.residual.b.value = 0.3;
     }},
    {"bernoulli",
     [](ModelConfig& c) {
       c.base.residual.b.keep_probability = 0.5;
       c.base.residual.b.trainable = "scalar";
       c.base.residual.p.keep_probability = 0.8;
     }},
    {"dropout_everywhere",
     [](ModelConfig& c) { c.dropout_embedding = c.dropout_attention = c.dropout_branch = 0.3; }},
    {"rotary_without_biases",
     [](ModelConfig& c) {
       c.position = "rotary";
       c.biases = false;
       c.embedding_scale = 1.5;
     }},
    {"not_causal", [](ModelConfig& c) { c.causal = false; }},
    {"wide_heads", [](ModelConfig& c) { c.head_width = 7; }},
};

INSTANTIATE_TEST_SUITE_P(Cases, Knobs, testing::ValuesIn(kKnobCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(StopGradient, OutputScalePassesTheGradientUnscaled) {
  // p with stop_gradient (GPAS): the data gradient must be that of p = 1 and its own that of the scaled sum,
  // so it is no derivative of the loss; compare with two ordinary runs instead.
  ModelConfig config = tiny_config();
  config.blocks = 1;
  config.block = {"linear"};
  config.base.residual.p.trainable = "scalar";
  config.base.residual.p.value = 0.5;
  TinyModel plain(config);
  plain.forward_backward();
  config.base.residual.p.stop_gradient = true;
  TinyModel stopped(config);
  stopped.forward_backward();
  const double p = TinyModel::value(plain.parameter("blocks.0.linear.p"))[0];
  EXPECT_NEAR(TinyModel::gradient(stopped.parameter("blocks.0.linear.p"))[0],
              TinyModel::gradient(plain.parameter("blocks.0.linear.p"))[0], 1e-12);
  const auto with_p = TinyModel::gradient(plain.parameter("blocks.0.linear.matrix.weight"));
  const auto without = TinyModel::gradient(stopped.parameter("blocks.0.linear.matrix.weight"));
  ASSERT_GT(norm_of(with_p), 0);
  for (std::size_t i = 0; i < with_p.size(); ++i) EXPECT_NEAR(with_p[i], p * without[i], 1e-12);
}

}  // namespace
}  // namespace plumb::test
