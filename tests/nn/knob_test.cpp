// Knobs: storage, transforms, sharing over a block, and the gradient that GPAS stops.
#include "core/error.h"
#include "nn/finite_difference.h"

namespace plumb::test {
namespace {

ModelConfig pre_config() {
  ModelConfig config = tiny_config();
  use_placement(config, "pre");
  return config;
}

KnobConfig trained_knob(double value, const std::string& kind) {
  KnobConfig knob;
  knob.value = value;
  knob.trainable = kind;
  return knob;
}

double* b_of(TinyModel& model, int k) {
  return TinyModel::value(model.parameter(sublayer_name(model.engine().model().config(), k) + ".b"));
}

std::vector<double> gradient_of(TinyModel& model, const std::string& name) {
  return TinyModel::gradient(model.parameter(name));
}

double silu(double x) { return x / (1 + std::exp(-x)); }

// The coefficient is a fixed factor times what is stored; the factor multiplies the gradient as well.
TEST(Knob, StorageChangesTheScaleOfWhatIsTrained) {
  const double width = 12;
  for (const auto& [storage, stored] :
       {std::pair{"unit", 1.0}, std::pair{"1/sqrt(width)", 1 / std::sqrt(width)}}) {
    for (const char* kind : {"scalar", "vector"}) {
      ModelConfig config = pre_config();
      config.base.residual.b.value = 0.3;
      config.base.residual.b.trainable = kind;
      config.base.residual.b.depth = "1/sqrt(l)";
      TinyModel plain(config);
      config.base.residual.b.storage = storage;
      TinyModel scaled(config);
      for (int k = 0; k < 4; ++k) {
        const std::string name = sublayer_name(config, k) + ".b";
        const double start = 0.3 / std::sqrt(k + 1.0);
        for (const double value : draw_initial_values(scaled.parameter(name), 1)) EXPECT_EQ(value, stored);
        for (const double value : draw_initial_values(plain.parameter(name), 1))
          EXPECT_DOUBLE_EQ(value, start);
        for (std::int64_t i = 0; i < plain.parameter(name).shape.elements(); ++i) {
          b_of(plain, k)[i] = b_of(scaled, k)[i] * start / stored;
        }
      }
      EXPECT_NEAR(scaled.forward_backward(), plain.forward_backward(), 1e-13);
      for (int k = 0; k < 4; ++k) {
        const std::string name = sublayer_name(config, k) + ".b";
        auto expected = gradient_of(plain, name);
        for (double& value : expected) value *= 0.3 / std::sqrt(k + 1.0) / stored;
        ASSERT_GT(norm_of(expected), 1e-6);
        EXPECT_LT(distance(gradient_of(scaled, name), expected), 1e-11 * norm_of(expected)) << name;
      }
    }
  }
}

TEST(Knob, AbsoluteTakesTheSizeAndTurnsTheGradient) {
  ModelConfig config = pre_config();
  config.base.residual.b = trained_knob(0.4, "vector");
  TinyModel plain(config);
  config.base.residual.b.transform = "absolute";
  TinyModel absolute(config);
  for (int k = 0; k < 4; ++k) {
    for (int i = 0; i < 12; ++i) {
      b_of(absolute, k)[i] = (i % 3 == 0 ? -1 : 1) * (0.1 + 0.05 * i);
      b_of(plain, k)[i] = 0.1 + 0.05 * i;
    }
  }
  EXPECT_NEAR(absolute.forward_backward(), plain.forward_backward(), 1e-14);
  for (int k = 0; k < 4; ++k) {
    const std::string name = sublayer_name(config, k) + ".b";
    auto expected = gradient_of(plain, name);
    for (std::size_t i = 0; i < 12; i += 3) expected[i] *= -1;
    EXPECT_LT(distance(gradient_of(absolute, name), expected), 1e-13) << name;
    ASSERT_GT(norm_of(expected), 1e-6);
  }
}

TEST(Knob, GpasGateIsOneMinusSilu) {
  ModelConfig config = pre_config();
  config.base.residual.p = trained_knob(1, "scalar");
  TinyModel plain(config);
  config.base.residual.p.transform = "gpas";
  TinyModel gated(config);
  for (int k = 0; k < 4; ++k) {
    const std::string name = sublayer_name(config, k) + ".p";
    const double gate = 0.2 * k - 0.3;
    EXPECT_EQ(draw_initial_values(gated.parameter(name), 1), std::vector<double>{0});
    TinyModel::value(gated.parameter(name))[0] = gate;
    TinyModel::value(plain.parameter(name))[0] = 1 - silu(gate);
  }
  EXPECT_NEAR(gated.forward(), plain.forward(), 1e-14);
}

/// GPAS with and without its stopped gradient, a gate per sublayer or per block.
ModelConfig gpas_config(const std::string& placement, bool stopped, bool per_block) {
  ModelConfig config = tiny_config();
  use_placement(config, placement);
  config.tied_head = false;
  config.final_norm.kind = "none";  // it would hide the last gate
  config.base.residual.p.trainable = "scalar";
  config.base.residual.p.transform = "gpas";
  config.base.residual.p.per_block = per_block;
  config.base.residual.p.stop_gradient = stopped;
  return config;
}

/// One value for all gates of a block.
void set_gates(TinyModel& model, const std::vector<double>& gates) {
  for (const Parameter& parameter : model.engine().parameters().all()) {
    if (!parameter.name.ends_with(".p")) continue;
    TinyModel::value(parameter)[0] = gates[parameter.name.starts_with("blocks.0") ? 0 : 1];
  }
}

// x' = s - SiLU(g) stopgrad(s) (arXiv 2506.22049): forward p s with p = 1 - SiLU(g); backward dL/ds = dL/dx'
// and dL/dg = -SiLU'(g) <dL/dx', s>. The plain product has dL/ds = p dL/dx' instead, so that every gradient
// below is smaller there by the p of all sublayers above it.
TEST(Knob, StoppedGradientPassesEveryGatedSublayerUnscaled) {
  const std::vector<double> gates = {0.8, -0.6};
  const double p[] = {1 - silu(gates[0]), 1 - silu(gates[1])};
  for (const char* placement : {"pre", "post"}) {
    SCOPED_TRACE(placement);
    TinyModel plain(gpas_config(placement, false, false)), stopped(gpas_config(placement, true, false)),
        shared(gpas_config(placement, true, true));
    for (TinyModel* model : {&plain, &stopped, &shared}) set_gates(*model, gates);
    EXPECT_NEAR(stopped.forward_backward(), plain.forward_backward(), 1e-14);
    const auto expect_ratio = [&](const std::string& name, double passed) {
      auto expected = gradient_of(plain, name);
      for (double& value : expected) value /= passed;
      ASSERT_GT(norm_of(expected), 1e-6) << name;
      EXPECT_LT(distance(gradient_of(stopped, name), expected), 1e-12 * norm_of(expected)) << name;
    };
    expect_ratio("head.weight", 1);
    expect_ratio("blocks.1.ffn.p", 1);
    expect_ratio("blocks.1.ffn.contract.weight", p[1]);
    expect_ratio("blocks.1.attention.p", p[1]);
    expect_ratio("blocks.1.attention.qkv.weight", p[1] * p[1]);
    expect_ratio("blocks.0.ffn.expand.weight", p[1] * p[1] * p[0]);
    expect_ratio("embedding.token", p[1] * p[1] * p[0] * p[0]);

    EXPECT_NEAR(shared.forward_backward(), stopped.forward(), 1e-14);
    for (int block = 0; block < 2; ++block) {
      const std::string name = fmt::format("blocks.{}.", block);
      const double sum =
          gradient_of(stopped, name + "attention.p")[0] + gradient_of(stopped, name + "ffn.p")[0];
      EXPECT_NEAR(gradient_of(shared, name + "p")[0], sum, 1e-14);
    }
  }
}

// One number for a block: its gradient is the sum of those of the sublayers.
TEST(Knob, PerBlockSharesOneParameter) {
  ModelConfig config = pre_config();
  config.block = {"attention", "ffn", "ffn"};
  for (const char* kind : {"scalar", "vector"}) {
    config.base.residual.b = trained_knob(0.5, kind);
    TinyModel separate(config);
    config.base.residual.b.per_block = true;
    TinyModel shared(config);
    EXPECT_EQ(shared.engine().parameters().find("blocks.0.ffn.b"), nullptr);
    EXPECT_EQ(shared.engine().parameters().all().size() + 4, separate.engine().parameters().all().size());
    for (int k = 0; k < 6; ++k) {
      const Parameter& number = shared.parameter(fmt::format("blocks.{}.b", k / 3));
      std::copy(TinyModel::value(number), TinyModel::value(number) + number.shape.elements(),
                b_of(separate, k));
    }
    EXPECT_NEAR(shared.forward_backward(), separate.forward_backward(), 1e-14);
    for (int block = 0; block < 2; ++block) {
      std::vector<double> sum(static_cast<std::size_t>(kind[0] == 's' ? 1 : 12));
      for (const char* sublayer : {"attention", "ffn", "ffn_1"}) {
        const auto part = gradient_of(separate, fmt::format("blocks.{}.{}.b", block, sublayer));
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
      }
      ASSERT_GT(norm_of(sum), 1e-6);
      EXPECT_LT(distance(gradient_of(shared, fmt::format("blocks.{}.b", block)), sum), 1e-13);
    }
  }
}

// A number shared by a block counts blocks, as separate ones do when told to.
TEST(Knob, PerBlockKeepsTheScheduleOverDepth) {
  for (const char* storage : {"value", "unit"}) {
    const auto start = [&](bool per_block, const char* counts) {
      ModelConfig config = pre_config();
      config.base.residual.b = trained_knob(0.5, "scalar");
      config.base.residual.b.depth = "1/l";
      config.base.residual.b.counts = counts;
      config.base.residual.b.storage = storage;
      config.base.residual.b.per_block = per_block;
      TinyModel model(config);
      for (const Parameter& parameter : model.engine().parameters().all()) {
        const auto values = draw_initial_values(parameter, 1);
        std::copy(values.begin(), values.end(), TinyModel::value(parameter));
      }
      return model.forward();
    };
    EXPECT_NEAR(start(true, "sublayers"), start(false, "blocks"), 1e-14) << storage;
    EXPECT_GT(std::abs(start(false, "sublayers") - start(false, "blocks")), 1e-6);
  }
}

TEST(Knob, WidthExponent) {
  ModelConfig config = pre_config();
  config.base.residual.b.value = 0.2 * std::pow(12, 0.7);
  TinyModel plain(config);
  config.base.residual.b.value = 0.2;
  config.base.residual.b.width_exponent = 0.7;
  EXPECT_NEAR(TinyModel(config).forward(), plain.forward(), 1e-14);
}

struct KnobCase {
  const char* name;
  std::function<void(ModelConfig&)> change;
};

void PrintTo(const KnobCase& test, std::ostream* out) { *out << test.name; }

/// a, b, c, e and p, all trained.
std::vector<KnobConfig*> trained(ModelConfig& c, const std::string& kind) {
  std::vector<KnobConfig*> knobs = {&c.base.residual.a, &c.base.residual.b, &c.base.residual.c,
                                    &c.base.residual.e, &c.base.residual.p};
  for (KnobConfig* knob : knobs) {
    knob->trainable = kind;
    knob->value = 0.7;
  }
  return knobs;
}

const KnobCase kCases[] = {
    {"absolute_scalars",
     [](ModelConfig& c) {
       for (KnobConfig* knob : trained(c, "scalar")) knob->transform = "absolute";
     }},
    {"absolute_vectors_at_unit_scale",
     [](ModelConfig& c) {
       for (KnobConfig* knob : trained(c, "vector")) {
         knob->transform = "absolute";
         knob->storage = "unit";
       }
     }},
    {"gpas_on_every_knob",
     [](ModelConfig& c) {
       for (KnobConfig* knob : trained(c, "vector")) knob->transform = "gpas";
     }},
    {"shared_over_a_block",
     [](ModelConfig& c) {
       for (KnobConfig* knob : trained(c, "scalar")) knob->per_block = true;
       c.block = {"ffn", "attention", "ffn"};
     }},
    {"shared_and_transformed_vectors",
     [](ModelConfig& c) {
       for (KnobConfig* knob : trained(c, "vector")) {
         knob->per_block = true;
         knob->transform = "gpas";
       }
     }},
    {"everything_drawn",
     [](ModelConfig& c) {
       for (KnobConfig* knob : trained(c, "vector")) {
         knob->keep_probability = 0.8;
         knob->keep_depth = "linear";
         knob->transform = "absolute";
         knob->storage = "1/sqrt(width)";
       }
     }},
    {"over_depth_and_time",
     [](ModelConfig& c) {
       for (KnobConfig* knob : trained(c, "vector")) {
         knob->depth = "1/sqrt(l)";
         knob->time = "prores-stagewise-1/sqrt(l)";
         knob->ramp_steps = 5;
       }
     }},
    {"tied_to_a_mapped_step",
     [](ModelConfig& c) {
       c.base.residual.a.tie_to_branch = true;
       c.base.residual.b = trained_knob(0.05, "vector");
       c.base.residual.b.storage = "1/sqrt(width)";
       c.base.residual.b.transform = "absolute";
       c.base.norm.out = {.kind = "l2", .gain = false};
     }},
};

class KnobGradients : public testing::TestWithParam<KnobCase> {};

TEST_P(KnobGradients, EqualCentralDifferences) {
  for (const char* placement : {"pre", "post"}) {
    SCOPED_TRACE(placement);
    ModelConfig config = tiny_config();
    use_placement(config, placement);
    GetParam().change(config);
    expect_gradients_match(config, true);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, KnobGradients, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace plumb::test
