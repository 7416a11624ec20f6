// Gradients through the stream adapters against central differences, and who announces them.
#include <gmock/gmock.h>

#include <map>

#include "nn/finite_difference.h"
#include "nn/placed_config.h"

namespace plumb::test {
namespace {

struct StreamCase {
  const char* name;
  std::function<void(ModelConfig&)> change;
  /// Tensors whose gradients must not vanish, or the comparison says nothing.
  std::vector<std::string> felt;
};

void PrintTo(const StreamCase& test, std::ostream* out) { *out << test.name; }

void use_norms(ModelConfig& c, std::initializer_list<NormConfig*> slots) {
  for (NormConfig* slot : slots) slot->kind = "layernorm";
  c.stream_norm.epsilon = 1e-3;
}

void residual(ModelConfig& c) {
  c.streams.kind = "residual";
  use_norms(c, {&c.base.norm.post, &c.stream_norm});
}

void siamese(ModelConfig& c) {
  c.streams.kind = "siamese";
  use_norms(c, {&c.base.norm.in, &c.base.norm.post, &c.stream_norm, &c.final_norm});
}

void mixed(ModelConfig& c, const std::string& kind, bool dynamic) {
  c.streams = {.kind = kind, .count = 3, .dynamic = dynamic, .sinkhorn_iterations = 20};
  use_norms(c, {&c.base.norm.in, &c.final_norm});
  if (dynamic) c.stream_norm.kind = "rmsnorm";
}

void train(KnobConfig& knob, const std::string& kind) {
  knob.trainable = kind;
  knob.value = 0.7;
}

const StreamCase kCases[] = {
    {"residual", residual, {"stream_norm.gain", "blocks.0.attention.norm_post.gain", "embedding.token"}},
    {"residual_with_trained_knobs",
     [](ModelConfig& c) {
       residual(c);
       train(c.base.residual.a, "scalar");
       train(c.base.residual.b, "vector");
       train(c.base.residual.c, "scalar");
       train(c.base.residual.e, "vector");
       train(c.base.residual.p, "scalar");
     },
     {"blocks.1.ffn.b", "blocks.0.attention.b", "blocks.0.ffn.e", "blocks.1.attention.p"}},
    {"residual_with_skip_tied_to_the_step",
     [](ModelConfig& c) {
       residual(c);
       c.base.residual.a.tie_to_branch = true;
       train(c.base.residual.b, "vector");
       c.base.residual.b.transform = "absolute";
     },
     {"blocks.1.ffn.b", "blocks.0.attention.b"}},
    {"residual_with_draws",
     [](ModelConfig& c) {
       residual(c);
       c.base.residual.b.keep_probability = 0.6;
       train(c.base.residual.b, "scalar");
       c.dropout_branch = 0.2;
     },
     {"blocks.0.ffn.b"}},
    {"siamese",
     siamese,
     {"blocks.1.ffn.norm_stream.gain", "blocks.0.attention.norm_stream.bias", "stream_norm.gain"}},
    {"siamese_with_scaled_skip",
     [](ModelConfig& c) {
       siamese(c);
       c.base.residual.a.value = std::sqrt(2.0);
       c.base.residual.a.depth = "sqrt(l)";
       c.base.residual.a.counts = "blocks";
       train(c.base.residual.b, "scalar");
       c.base.norm.out.kind = "rmsnorm";
     },
     {"blocks.1.attention.b", "blocks.1.attention.norm_out.gain"}},
    {"siamese_with_block_skip",
     [](ModelConfig& c) {
       siamese(c);
       c.block = {"attention", "ffn", "ffn"};
       train(c.base.residual.e, "scalar");
     },
     {"blocks.1.ffn_1.e", "blocks.0.ffn.e"}},
    {"hyper_static", [](ModelConfig& c) { mixed(c, "hyper", false); }, {"blocks.1.ffn.streams.base"}},
    {"hyper_static_with_trained_step",
     [](ModelConfig& c) {
       mixed(c, "hyper", false);
       train(c.base.residual.b, "vector");
       train(c.base.residual.c, "scalar");
       c.base.residual.b.keep_probability = 0.75;
     },
     {"blocks.1.ffn.b", "blocks.0.attention.c"}},
    {"hyper_dynamic",
     [](ModelConfig& c) { mixed(c, "hyper", true); },
     {"blocks.1.ffn.streams.projection.weight", "blocks.0.attention.streams.scales",
      "blocks.0.ffn.norm_stream.gain", "blocks.0.ffn.streams.base"}},
    {"hyper_dynamic_without_norm",
     [](ModelConfig& c) {
       mixed(c, "hyper", true);
       c.stream_norm.kind = "none";
       c.base.norm.out.kind = "layernorm";
     },
     {"blocks.1.ffn.streams.projection.weight"}},
    {"mhc",
     [](ModelConfig& c) {
       mixed(c, "mhc", true);
       c.stream_norm.gain = false;
     },
     {"blocks.1.ffn.streams.projection.weight", "blocks.0.attention.streams.scales",
      "blocks.0.ffn.streams.base"}},
    {"mhc_with_gain_and_trained_step",
     [](ModelConfig& c) {
       mixed(c, "mhc", true);
       c.streams.count = 2;
       c.streams.sinkhorn_iterations = 2;
       train(c.base.residual.b, "scalar");
       c.dropout_embedding = 0.2;
     },
     {"blocks.1.ffn.norm_stream.gain", "blocks.0.ffn.b"}},
    {"parallel",
     [](ModelConfig& c) {
       use_norms(c, {&c.base.norm.in, &c.final_norm});
       c.base.branch_input = "block";
     },
     {"blocks.0.attention.norm_in.gain", "blocks.0.ffn.norm_in.gain"}},
    {"parallel_of_three_with_block_skip_and_post_norm",
     [](ModelConfig& c) {
       c.block = {"attention", "ffn", "ffn"};
       use_norms(c, {&c.base.norm.in, &c.base.norm.post, &c.final_norm});
       c.base.branch_input = "block";
       train(c.base.residual.e, "scalar");
     },
     {"blocks.1.ffn_1.e", "blocks.0.ffn_1.norm_in.gain"}},
    {"one_parallel_sublayer",
     [](ModelConfig& c) {
       use_norms(c, {&c.base.norm.in, &c.final_norm});
       OverrideConfig change;
       change.sublayer = "ffn";
       change.settings = {{"branch_input", "'block'"}};
       c.overrides.push_back(change);
     },
     {"blocks.0.ffn.norm_in.gain"}},
    {"two_ffn_sublayers",
     [](ModelConfig& c) {
       c.block = {"ffn", "attention", "ffn"};
       use_norms(c, {&c.base.norm.in, &c.final_norm});
       train(c.base.residual.b, "scalar");
       c.base.residual.b.per_block = true;
     },
     {"blocks.1.b", "blocks.0.ffn.expand.weight", "blocks.0.ffn_1.expand.weight"}},
};

class Streams : public testing::TestWithParam<StreamCase> {};

TEST_P(Streams, GradientEqualsCentralDifferences) {
  ModelConfig config = tiny_config();
  GetParam().change(config);
  TinyModel model(config, 2, true);
  for (const Parameter& parameter : model.engine().parameters().all()) {
    // The scales of 0.01 and the logits of -8 would hide what goes through them.
    const bool scales = parameter.name.ends_with(".scales");
    for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) {
      double& value = TinyModel::value(parameter)[i];
      if (scales) value += 0.5;
      if (parameter.name.ends_with(".base")) value = std::max(value, -1.0 + 0.01 * static_cast<double>(i));
    }
  }
  expect_gradients_match(model);
  model.forward_backward();
  for (const std::string& name : GetParam().felt) {
    EXPECT_GT(norm_of(TinyModel::gradient(model.parameter(name))), 1e-4) << name;
  }
}

struct Listener : GradientListener {
  std::vector<std::string> names;
  std::map<std::string, std::vector<double>> values;
  void gradient_ready(const Parameter& parameter) override {
    names.push_back(parameter.name);
    values[parameter.name] = TinyModel::gradient(parameter);
  }
  void progress() override {}
};

/// Once each, and not before they are final.
void expect_announced_once(const ModelConfig& config) {
  TinyModel model(config);
  Listener listener;
  model.forward();
  model.engine().zero_gradients();
  model.engine().backward(model.probes(), 1, &listener, false);
  std::vector<std::string> expected;
  for (const Parameter* parameter : model.engine().parameters().trainable()) {
    expected.push_back(parameter->name);
    EXPECT_EQ(listener.values[parameter->name], TinyModel::gradient(*parameter)) << parameter->name;
  }
  EXPECT_THAT(listener.names, testing::UnorderedElementsAreArray(expected));
  EXPECT_EQ(listener.names.back(), "embedding.token");
}

TEST_P(Streams, BackwardAnnouncesEveryTensorOnceAndAtItsEnd) {
  ModelConfig config = tiny_config();
  GetParam().change(config);
  expect_announced_once(config);
}

TEST(Announcements, OfEveryPlacement) {
  for (const Placement& row : placements()) {
    SCOPED_TRACE(row.name);
    expect_announced_once(load_placed(std::string(row.name), {"model.blocks=2", "model.width=12",
                                                              "model.heads=2", "model.sequence_length=5"})
                              .config.model);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Streams, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace plumb::test
