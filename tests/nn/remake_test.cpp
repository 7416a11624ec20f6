// What one pass makes again in backward has the bits that it would have had, had it been kept.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "backend/loader.h"
#include "nn/engine.h"
#include "nn/placed_config.h"

namespace plumb::test {
namespace {

constexpr std::int64_t kVocabulary = 19, kBatch = 2, kTokens = 24;

/// Of two passes over one batch, which add up.
std::vector<unsigned char> gradients_of(const ModelConfig& config, const std::string& device, DType compute,
                                        Recompute recompute, bool remakes) {
  const auto backend = make_backend(device);
  Engine engine(
      config, kVocabulary,
      {.batch = kBatch, .tokens = kTokens, .compute = compute, .recompute = recompute, .remakes = remakes}, 7,
      *backend);
  engine.initialize();
  std::vector<std::int32_t> inputs, targets;
  for (std::int32_t i = 0; i < kBatch * kTokens; ++i) {
    inputs.push_back(i * 7 % kVocabulary);
    targets.push_back(i * 11 % kVocabulary);
  }
  const Buffer sums = backend->allocate(kHeadLossSums * sizeof(double));
  Probes probes;
  probes.loss_sums = Tensor(sums.data(), DType::Float64, {kHeadLossSums});
  engine.begin_step(1);
  engine.upload_batch(inputs, targets, 0);
  for (int pass = 0; pass < 2; ++pass) {
    engine.forward(probes, /*training=*/true);
    engine.backward(probes, 1.0 / (kBatch * kTokens), nullptr, /*training=*/true);
  }
  const Tensor gradient = engine.parameters().flat_gradient();
  std::vector<unsigned char> bytes(gradient.bytes());
  backend->download(engine.stream(), gradient.data, bytes.data(), bytes.size());
  engine.stream().synchronize();
  return bytes;
}

struct Variant {
  const char *name, *placement;
  std::vector<std::string> settings;
};
void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

std::vector<Variant> variants() {
  return {{"Pre", "pre", {}},
          {"Peri", "peri", {"model.dropout.branch=0.2"}},
          {"Post", "post", {}},
          {"RmsGated", "pre", {"model.norm_kind='rmsnorm'", "model.activation='swiglu'"}},
          {"ScaledInput", "none", {"model.residual.c={value=1.1, trainable='scalar'}"}},
          {"TrainedStep", "pre", {"model.residual.b={value=0.5, trainable='vector'}"}},
          {"InnerNorm", "pre", {"model.norm.ffn_inner.kind='standard'", "model.norm.qk.kind='standard'"}},
          {"Linear", "pre", {"model.block=['linear', 'ffn', 'attention']"}},
          {"Fixup", "fixup", {}},
          {"TwoStreams", "siamesenorm", {}},
          {"MixedStreams", "mhc", {}},
          {"FirstValues", "value-residual", {}}};
}

struct Platform {
  const char* device;
  DType dtype;
};

class Remake : public testing::TestWithParam<std::tuple<Variant, Platform>> {};

TEST_P(Remake, KeepsTheBits) {
  const auto& [variant, platform] = GetParam();
  std::vector<std::string> settings = {"model.blocks=2", "model.width=48", "model.heads=3",
                                       fmt::format("model.sequence_length={}", kTokens)};
  settings.insert(settings.end(), variant.settings.begin(), variant.settings.end());
  const ModelConfig config = load_placed(variant.placement, settings).config.model;
  const auto kept = gradients_of(config, platform.device, platform.dtype, Recompute::None, false);
  ASSERT_NE(std::count(kept.begin(), kept.end(), 0), static_cast<std::ptrdiff_t>(kept.size()));
  for (const Recompute recompute : {Recompute::None, Recompute::FeedForward, Recompute::Block}) {
    EXPECT_TRUE(gradients_of(config, platform.device, platform.dtype, recompute, true) == kept)
        << "recompute " << static_cast<int>(recompute);
  }
}

std::string case_name(const testing::TestParamInfo<Remake::ParamType>& info) {
  const Platform& platform = std::get<Platform>(info.param);
  return std::string(std::get<Variant>(info.param).name) + "_" + platform.device + "_" +
         std::string(name_of(platform.dtype));
}

INSTANTIATE_TEST_SUITE_P(Variants, Remake,
                         testing::Combine(testing::ValuesIn(variants()),
                                          testing::Values(Platform{"reference", DType::Float64},
                                                          Platform{"cpu", DType::Float32},
                                                          Platform{"cpu", DType::BFloat16})),
                         case_name);

}  // namespace
}  // namespace plumb::test
