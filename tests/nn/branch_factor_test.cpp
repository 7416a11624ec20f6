// Factors and numbers inside a branch: what each means, by a model without it, and its gradient.
#include "core/error.h"
#include "nn/finite_difference.h"

namespace plumb::test {
namespace {

ModelConfig pre_config() {
  ModelConfig config = tiny_config();
  use_placement(config, "pre");
  return config;
}

/// Multiplies rows [first, last) of the weight and entries of the bias by a factor.
void scale_rows(TinyModel& model, const std::string& matrix, std::int64_t first, std::int64_t last,
                double factor) {
  const Parameter& weight = model.parameter(matrix + ".weight");
  const std::int64_t columns = weight.shape[1];
  for (std::int64_t i = first * columns; i < last * columns; ++i) TinyModel::value(weight)[i] *= factor;
  for (std::int64_t i = first; i < last; ++i)
    TinyModel::value(model.parameter(matrix + ".bias"))[i] *= factor;
}

/// bias += number * W 1: what the number, added to all inputs of W, does.
void add_to_inputs(TinyModel& model, const std::string& matrix, double number) {
  const Parameter& weight = model.parameter(matrix + ".weight");
  const std::int64_t columns = weight.shape[1];
  for (std::int64_t i = 0; i < weight.shape.elements(); ++i) {
    TinyModel::value(model.parameter(matrix + ".bias"))[i / columns] += number * TinyModel::value(weight)[i];
  }
}

TEST(BranchFactor, GainOfQueriesAndKeysScalesTheLogitsByItsSquare) {
  for (const char* position : {"learned", "rotary"}) {
    ModelConfig config = pre_config();
    config.position = position;
    TinyModel plain(config);
    config.base.gain.qk.value = 1.7;
    config.attention_scale = 1 / std::sqrt(6.0) / (1.7 * 1.7);
    TinyModel gained(config);
    EXPECT_NEAR(gained.forward(), plain.forward(), 1e-13);
    config.base.gain.qk.value = 1;
    EXPECT_GT(std::abs(TinyModel(config).forward() - plain.forward()), 1e-4) << "the scale must matter";
  }
}

/// Row `row` of W x + b, with the weight and bias of `matrix`.
double affine(TinyModel& model, const std::string& matrix, std::size_t row, const double* x) {
  double y = TinyModel::value(model.parameter(matrix + ".bias"))[row];
  for (std::size_t i = 0; i < 12; ++i) {
    y += TinyModel::value(model.parameter(matrix + ".weight"))[12 * row + i] * x[i];
  }
  return y;
}

/// s o R(L2(W x + b)) of one head of 6, token t; `first` is the first of its rows in qkv.
std::vector<double> query_or_key(TinyModel& model, std::size_t first, std::size_t head, int t,
                                 const double* x) {
  std::vector<double> v(6), turned(6);
  for (std::size_t i = 0; i < 6; ++i) v[i] = affine(model, "blocks.0.attention.qkv", first + 6 * head + i, x);
  const double length = norm_of(v);
  const double* gain = TinyModel::value(model.parameter("blocks.0.attention.gain_qk")) + 6 * head;
  for (std::size_t i = 0; i < 3; ++i) {
    const double angle = t * std::pow(10000, -static_cast<double>(2 * i) / 6);
    turned[i] = gain[i] * (v[i] * std::cos(angle) - v[i + 3] * std::sin(angle)) / length;
    turned[i + 3] = gain[i + 3] * (v[i] * std::sin(angle) + v[i + 3] * std::cos(angle)) / length;
  }
  return turned;
}

// nGPT's order (NVIDIA/ngpt): norm, rotation, then one vector of gains for queries and keys.
TEST(BranchFactor, GainOfQueriesAndKeysActsAfterNormAndRotation) {
  ModelConfig config = tiny_config();
  config.blocks = 1;
  config.block = {"attention"};
  config.position = "rotary";
  config.base.norm.qk = {.kind = "l2", .epsilon = 0, .gain = false};
  config.base.gain.qk.trainable = "vector";
  config.attention_scale = 3;
  TinyModel model(config);
  for (int i = 0; i < 12; ++i) {  // far from equal within a pair
    TinyModel::value(model.parameter("blocks.0.attention.gain_qk"))[i] = 0.5 + 0.2 * i;
  }
  model.forward();
  const auto start = model.stream(0), end = model.stream(1);
  for (std::size_t row = 0; row < 10; ++row) {
    const int t = static_cast<int>(row % 5);
    std::vector<double> heads(12);
    for (std::size_t head = 0; head < 2; ++head) {
      const auto query = query_or_key(model, 0, head, t, &start[12 * row]);
      std::vector<double> mixed(6);
      double total = 0;
      for (int past = 0; past <= t; ++past) {
        const double* x = &start[12 * (row - static_cast<std::size_t>(t - past))];
        const auto key = query_or_key(model, 12, head, past, x);
        double logit = 0;
        for (std::size_t i = 0; i < 6; ++i) logit += 3 * query[i] * key[i];
        total += std::exp(logit);
        for (std::size_t i = 0; i < 6; ++i) {
          mixed[i] += std::exp(logit) * affine(model, "blocks.0.attention.qkv", 24 + 6 * head + i, x);
        }
      }
      for (std::size_t i = 0; i < 6; ++i) heads[6 * head + i] = mixed[i] / total;
    }
    for (std::size_t o = 0; o < 12; ++o) {
      const double expected =
          start[12 * row + o] + affine(model, "blocks.0.attention.projection", o, heads.data());
      EXPECT_NEAR(end[12 * row + o], expected, 1e-12) << "token " << row;
    }
  }
}

TEST(BranchFactor, AttentionScaleByTheRoot) {
  ModelConfig config = pre_config();
  config.base.norm.qk = {.kind = "l2", .gain = false};
  config.attention_scale_by = "sqrt(head_width)";
  TinyModel by_root(config);
  config.attention_scale = std::sqrt(6.0);
  EXPECT_EQ(by_root.forward(), TinyModel(config).forward());
}

TEST(BranchFactor, GainOfValuesScalesTheirMatrix) {
  ModelConfig config = pre_config();
  TinyModel scaled(config);
  for (int block = 0; block < 2; ++block) {
    scale_rows(scaled, fmt::format("blocks.{}.attention.qkv", block), 24, 36, 0.6);
  }
  config.base.gain.value.value = 0.6;
  EXPECT_NEAR(TinyModel(config).forward(), scaled.forward(), 1e-13);
}

TEST(BranchFactor, GainOfTheFfnScalesItsFirstMatrix) {
  for (const char* activation : {"gelu", "swiglu"}) {
    ModelConfig config = pre_config();
    config.base.activation = activation;
    TinyModel scaled(config);
    for (int block = 0; block < 2; ++block) {
      const std::string matrix = fmt::format("blocks.{}.ffn.expand", block);
      scale_rows(scaled, matrix, 0, scaled.parameter(matrix + ".bias").shape.elements(),
                 0.5 * std::sqrt(12.0));
    }
    config.base.gain.ffn.value = 0.5;
    config.base.gain.ffn.width_exponent = 0.5;
    TinyModel gained(config);
    EXPECT_NEAR(gained.forward_backward(), scaled.forward_backward(), 1e-13);
    auto expected = TinyModel::gradient(scaled.parameter("blocks.0.ffn.expand.weight"));
    for (double& value : expected) value *= 0.5 * std::sqrt(12.0);
    EXPECT_LT(distance(TinyModel::gradient(gained.parameter("blocks.0.ffn.expand.weight")), expected),
              1e-11 * norm_of(expected));
  }
}

TEST(BranchFactor, GainOfTheLogitsScalesTheHead) {
  ModelConfig config = pre_config();
  config.tied_head = false;
  config.head_bias = true;
  TinyModel scaled(config);
  const Parameter& head = scaled.parameter("head.weight");
  for (std::int64_t i = 0; i < head.shape.elements(); ++i) TinyModel::value(head)[i] *= 0.7 / std::sqrt(12.0);
  config.logit_gain.value = 0.7;
  config.logit_gain.width_exponent = -0.5;
  EXPECT_NEAR(TinyModel(config).forward(), scaled.forward(), 1e-13);
  // A vector is a number for each token of the vocabulary.
  config.logit_gain.trainable = "vector";
  TinyModel vector(config);
  EXPECT_EQ(vector.parameter("head.gain").shape.elements(), TinyModel::kVocabulary);
}

TEST(BranchFactor, BranchBiasesAreAddedToEveryInput) {
  for (const char* activation : {"gelu", "geglu"}) {
    ModelConfig config = pre_config();
    config.base.activation = activation;
    TinyModel plain(config);
    config.base.branch_biases = true;
    TinyModel biased(config);
    copy_weights(plain, biased);
    const auto number = [&](const std::string& name) { return TinyModel::value(biased.parameter(name))[0]; };
    for (int block = 0; block < 2; ++block) {
      const std::string prefix = fmt::format("blocks.{}.", block);
      add_to_inputs(plain, prefix + "attention.qkv", number(prefix + "attention.bias_in"));
      add_to_inputs(plain, prefix + "ffn.expand", number(prefix + "ffn.bias_in"));
      const Parameter& bias = plain.parameter(prefix + "ffn.expand.bias");
      for (std::int64_t i = 0; i < bias.shape.elements(); ++i) {
        TinyModel::value(bias)[i] += number(prefix + "ffn.bias_hidden");
      }
      add_to_inputs(plain, prefix + "ffn.contract", number(prefix + "ffn.bias_out"));
    }
    EXPECT_NEAR(biased.forward(), plain.forward(), 1e-13) << activation;
    EXPECT_EQ(biased.engine().parameters().find("blocks.0.attention.bias_out"), nullptr);
  }
}

// With a single token attention is the identity on the values, and the branch is linear.
TEST(ValueResidual, MixesTheValuesOfTheFirstAttention) {
  ModelConfig config = tiny_config();
  config.block = {"attention"};
  config.blocks = 3;
  config.sequence_length = 1;
  config.base.gain.value.value = 0.4;
  config.base.gain.first_value.value = 0.9;
  OverrideConfig first;
  first.blocks = {0, 0};
  first.settings = {{"gain.value.value", "1.0"}};
  config.overrides.push_back(first);
  TinyModel model(config);
  model.forward();
  const auto affine = [&](const std::string& matrix, std::size_t skipped, const std::vector<double>& x) {
    std::vector<double> y(12);
    for (std::size_t o = 0; o < 12; ++o) {
      y[o] = TinyModel::value(model.parameter(matrix + ".bias"))[skipped + o];
      for (std::size_t i = 0; i < 12; ++i) {
        y[o] += TinyModel::value(model.parameter(matrix + ".weight"))[12 * (skipped + o) + i] * x[i];
      }
    }
    return y;
  };
  for (std::size_t token = 0; token < 2; ++token) {
    const auto row = [&](std::int64_t k) {
      const auto all = model.stream(k);
      return std::vector<double>(all.begin() + static_cast<std::ptrdiff_t>(12 * token),
                                 all.begin() + static_cast<std::ptrdiff_t>(12 * token + 12));
    };
    const auto first_values = affine("blocks.0.attention.qkv", 24, row(0));
    for (int block = 0; block < 3; ++block) {
      const std::string name = fmt::format("blocks.{}.attention.", block);
      auto values = affine(name + "qkv", 24, row(block));
      for (std::size_t i = 0; i < 12 && block > 0; ++i) values[i] = 0.4 * values[i] + 0.9 * first_values[i];
      auto expected = affine(name + "projection", 0, values);
      for (std::size_t i = 0; i < 12; ++i) expected[i] += row(block)[i];
      EXPECT_LT(distance(row(block + 1), expected), 1e-12) << name;
    }
  }
}

struct FactorCase {
  const char* name;
  std::function<void(ModelConfig&)> change;
  std::vector<std::string> felt;
};

void PrintTo(const FactorCase& test, std::ostream* out) { *out << test.name; }

void train(KnobConfig& knob, const std::string& kind, double value) {
  knob.trainable = kind;
  knob.value = value;
}

void value_residual(ModelConfig& c, const std::string& kind) {
  c.blocks = 3;
  train(c.base.gain.value, kind, 0.5);
  train(c.base.gain.first_value, kind, 0.5);
}

const FactorCase kCases[] = {
    {"value_residual_fixed",
     [](ModelConfig& c) { value_residual(c, "none"); },
     {"blocks.0.attention.qkv.weight"}},
    {"value_residual_scalars",
     [](ModelConfig& c) { value_residual(c, "scalar"); },
     {"blocks.2.attention.gain_value", "blocks.1.attention.gain_first_value",
      "blocks.0.attention.gain_value"}},
    {"value_residual_vectors_with_norm_and_rotation",
     [](ModelConfig& c) {
       value_residual(c, "vector");
       c.base.norm.v.kind = "layernorm";
       c.position = "rotary";
       c.dropout_attention = 0.2;
     },
     {"blocks.2.attention.gain_first_value", "blocks.0.attention.norm_v.gain"}},
    {"value_residual_of_two_attentions_in_a_block",
     [](ModelConfig& c) {
       value_residual(c, "scalar");
       c.blocks = 2;
       c.block = {"ffn", "attention", "attention"};
       c.base.head_gains = true;
     },
     {"blocks.0.attention_1.gain_first_value", "blocks.1.attention.gain_first_value"}},
    {"qk_scalar",
     [](ModelConfig& c) { train(c.base.gain.qk, "scalar", 1.3); },
     {"blocks.0.attention.gain_qk"}},
    {"qk_vector_with_norm_and_rotation",
     [](ModelConfig& c) {
       train(c.base.gain.qk, "vector", 1.3);
       c.base.norm.qk = {.kind = "l2", .gain = false};
       c.position = "rotary";
       c.attention_scale_by = "sqrt(head_width)";
     },
     {"blocks.1.attention.gain_qk"}},
    {"value_vector",
     [](ModelConfig& c) { train(c.base.gain.value, "vector", 0.8); },
     {"blocks.1.attention.gain_value"}},
    {"ffn_scalar", [](ModelConfig& c) { train(c.base.gain.ffn, "scalar", 1.2); }, {"blocks.1.ffn.gain_ffn"}},
    {"ffn_vector_of_a_gated_activation_without_biases",
     [](ModelConfig& c) {
       train(c.base.gain.ffn, "vector", 1.2);
       c.base.activation = "swiglu";
       c.biases = false;
     },
     {"blocks.1.ffn.gain_ffn"}},
    {"logits_scalar", [](ModelConfig& c) { train(c.logit_gain, "scalar", 0.8); }, {"head.gain"}},
    {"logits_vector_of_an_untied_head_with_cap",
     [](ModelConfig& c) {
       train(c.logit_gain, "vector", 0.8);
       c.tied_head = false;
       c.head_bias = true;
       c.head_soft_cap = 3;
       c.z_loss = 0.01;
     },
     {"head.gain", "head.weight"}},
    {"branch_biases",
     [](ModelConfig& c) { c.base.branch_biases = true; },
     {"blocks.0.attention.bias_in", "blocks.0.ffn.bias_in", "blocks.0.ffn.bias_hidden",
      "blocks.0.ffn.bias_out"}},
    {"branch_biases_with_inner_norm_gain_and_gate",
     [](ModelConfig& c) {
       c.base.branch_biases = true;
       c.base.activation = "geglu";
       c.biases = false;
       c.base.norm.ffn_inner.kind = "rmsnorm";
       train(c.base.gain.ffn, "vector", 1.1);
     },
     {"blocks.1.ffn.bias_hidden", "blocks.1.ffn.bias_out", "blocks.1.ffn.gain_ffn"}},
    {"all_stored_at_other_scales_over_depth_and_time",
     [](ModelConfig& c) {
       for (KnobConfig* gain : {&c.base.gain.qk, &c.base.gain.value, &c.base.gain.ffn, &c.logit_gain}) {
         train(*gain, "vector", 0.9);
         gain->storage = "1/sqrt(width)";
         gain->width_exponent = 0.1;
       }
       c.base.gain.ffn.depth = "1/sqrt(l)";
       c.base.gain.value.time = "linear";
       c.base.gain.value.ramp_steps = 10;
     },
     {"blocks.0.attention.gain_qk", "blocks.0.attention.gain_value", "head.gain"}},
};

class Factors : public testing::TestWithParam<FactorCase> {};

TEST_P(Factors, GradientEqualsCentralDifferences) {
  ModelConfig config = pre_config();
  GetParam().change(config);
  TinyModel model(config, 2, true);
  expect_gradients_match(model);
  model.forward_backward();
  for (const std::string& name : GetParam().felt) {
    EXPECT_GT(norm_of(TinyModel::gradient(model.parameter(name))), 1e-4) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Factors, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace plumb::test
