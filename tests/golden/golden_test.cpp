// Loss, hidden states and every gradient of whole models against float64 PyTorch (README.md), on every
// backend. With Frobenius norms: hidden states and loss |h - h*| / |h*|, gradients |g - g*| / max(|g*|, 1e-4
// |whole g*|). In bf16 every tensor's error is held against what rounding alone does to that tensor, too.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "backend/loader.h"
#include "config/load.h"
#include "golden/golden_case.h"
#include "nn/placement.h"

namespace plumb::golden {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(PLUMB_SOURCE_DIR) / "tests" / "golden";
/// Gradients below this share of the whole one are measured against it.
constexpr double kGradientFloor = 1e-4;
/// Gradients that are zero by analysis may reach this share of tolerance * |whole g*|: they are sums of
/// rounded terms.
constexpr double kZeroShare = 1e-2;
/// In bf16 a tensor's error may be this many times the one that random rounding gave in PyTorch, and anything
/// up to the floor: a few roundings (2^-9 each) that do not average out.
constexpr double kRoundingFactor = 3, kRoundingFloor = 5e-3;

struct Platform {
  const char* backend;
  DType compute;
  double tolerance;
};
void PrintTo(const Platform& platform, std::ostream* out) {
  *out << platform.backend << ' ' << name_of(platform.compute);
}
const Platform kPlatforms[] = {
    {"reference", DType::Float64, 1e-10}, {"cpu", DType::Float32, 1e-5}, {"cpu", DType::BFloat16, 2e-2}};

const char* const kCases[] = {"none",
                              "pre",
                              "post",
                              "peri",
                              "custom",
                              "linear",
                              "no_biases",
                              "activation_gelu",
                              "activation_gelu_tanh",
                              "activation_relu",
                              "activation_relu_squared",
                              "activation_silu",
                              "activation_swiglu",
                              "activation_geglu"};

/// The largest error of a kind, and where it was.
struct Worst {
  double error = 0;
  std::string where = "-";

  void add(double candidate, const std::string& name) {
    // A NaN must win.
    if (!(candidate <= error)) *this = {candidate, name};
  }
};

/// Takes the span out of the gradient and returns its norm.
double cut_out(Values& gradient, const ZeroSpan& span) {
  const auto first = gradient.begin() + static_cast<std::ptrdiff_t>(span.first);
  const auto last = gradient.begin() + static_cast<std::ptrdiff_t>(span.last);
  const double norm = norm_of(Values(first, last));
  std::fill(first, last, 0.0);
  return norm;
}

class Golden : public ::testing::TestWithParam<std::tuple<const char*, Platform>> {
 protected:
  static std::string case_name() { return std::get<0>(GetParam()); }
  static Platform platform() { return std::get<1>(GetParam()); }

  void compare_gradients(EngineResult& result, const GoldenFile& golden) {
    const std::vector<std::string> names = golden.names("gradient");
    ASSERT_EQ(names.size(), result.gradients.size());
    std::map<std::string, Values> expected;
    double whole_squared = 0;
    for (const std::string& name : names) {
      ASSERT_EQ(result.gradients.count(name), 1U) << name;
      expected[name] = golden.values("gradient/" + name);
      whole_squared += std::pow(norm_of(expected[name]), 2);
    }
    const double whole = std::sqrt(whole_squared);
    for (const ZeroSpan& span : golden.zero_spans()) {
      EXPECT_LE(cut_out(expected.at(span.name), span), 1e-14 * whole) << span.name;
      zero_.add(cut_out(result.gradients.at(span.name), span) / whole, span.name);
    }
    for (const std::string& name : names) {
      const double scale = std::max(norm_of(expected[name]), kGradientFloor * whole);
      measure(gradient_, distance(result.gradients.at(name), expected[name]) / scale, "gradient/" + name);
    }
  }

  void measure(Worst& kind, double error, const std::string& name) {
    kind.add(error, name);
    if (platform().compute != DType::BFloat16) return;
    ASSERT_EQ(bf16_errors_.count(name), 1U) << name;
    const double allowed = std::max(kRoundingFactor * bf16_errors_.at(name), kRoundingFloor);
    rounding_.add(error / allowed, name);
  }

  std::map<std::string, double> bf16_errors_;
  Worst loss_, hidden_, gradient_, zero_;
  Worst rounding_;  ///< share of what bf16 may do
};

TEST_P(Golden, AgreesWithPyTorch) {
  const LoadedConfig loaded =
      load_config(std::vector<std::filesystem::path>{kFolder / (case_name() + ".toml")}, {},
                  PresetProvider{placement_settings, placement_names});
  const GoldenFile golden(kFolder / (case_name() + ".safetensors"));
  const auto backend = make_backend(platform().backend);
  bf16_errors_ = golden.bf16_errors();
  EngineResult result = run_engine(loaded.config, golden, *backend, platform().compute);
  ASSERT_FALSE(HasFatalFailure());

  const double expected_loss = golden.values("loss")[0];
  measure(loss_, std::abs(result.loss - expected_loss) / std::abs(expected_loss), "loss");
  const auto compare_hidden = [&](const char* prefix, const std::vector<Values>& values) {
    ASSERT_EQ(golden.names(prefix).size(), values.size());
    for (std::size_t k = 0; k < values.size(); ++k) {
      const std::string name = fmt::format("{}/{}", prefix, k);
      const Values expected = golden.values(name);
      measure(hidden_, distance(values[k], expected) / norm_of(expected), name);
    }
  };
  compare_hidden("stream", result.streams);
  compare_hidden("branch", result.branches);
  compare_gradients(result, golden);

  fmt::print("  loss {:.1e}; hidden {:.1e} ({}); gradient {:.1e} ({}); zero gradients {:.1e} ({})\n",
             loss_.error, hidden_.error, hidden_.where, gradient_.error, gradient_.where, zero_.error,
             zero_.where);
  EXPECT_LE(loss_.error, platform().tolerance);
  EXPECT_LE(hidden_.error, platform().tolerance) << hidden_.where;
  EXPECT_LE(gradient_.error, platform().tolerance) << gradient_.where;
  EXPECT_LE(zero_.error, kZeroShare * platform().tolerance) << zero_.where << ", against the whole gradient";
  EXPECT_LE(rounding_.error, 1) << rounding_.where << ", against what rounding does to it in PyTorch";
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(kPlatforms)),
                         [](const auto& info) {
                           const Platform& platform = std::get<1>(info.param);
                           return fmt::format("{}_{}_{}", std::get<0>(info.param), platform.backend,
                                              name_of(platform.compute));
                         });

TEST(GoldenFiles, EveryFileIsACase) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".safetensors") found.insert(entry.path().stem().string());
  }
  EXPECT_EQ(found, std::set<std::string>(std::begin(kCases), std::end(kCases)));
}

// The tests above must be able to see a wrong gradient anywhere: the custom case leaves none near zero.
TEST(GoldenFiles, NoGradientOfTheCustomCaseIsTrivial) {
  const GoldenFile golden(kFolder / "custom.safetensors");
  double whole_squared = 0;
  for (const std::string& name : golden.names("gradient")) {
    whole_squared += std::pow(norm_of(golden.values("gradient/" + name)), 2);
  }
  EXPECT_TRUE(golden.zero_spans().empty());
  for (const std::string& name : golden.names("gradient")) {
    EXPECT_GT(norm_of(golden.values("gradient/" + name)), kGradientFloor * std::sqrt(whole_squared)) << name;
  }
}

}  // namespace
}  // namespace plumb::golden
