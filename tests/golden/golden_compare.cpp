#include "golden/golden_compare.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "backend/loader.h"
#include "backend/tested_backends.h"
#include "core/error.h"

namespace plumb::golden {
namespace {

/// Gradients that are zero by analysis may reach this share of tolerance * |whole g*|: they are sums of
/// rounded terms.
constexpr double kZeroShare = 1e-2;
/// In bf16 a tensor's error may be this many times the one that random rounding gave in PyTorch, and anything
/// up to the floor: a few roundings (2^-9 each) that do not average out.
constexpr double kRoundingFactor = 3, kRoundingFloor = 5e-3;

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

class Comparison {
 public:
  Comparison(const GoldenFile& golden, const Platform& platform)
      : golden_(golden), platform_(platform), bf16_errors_(golden.bf16_errors()) {}

  void compare(EngineResult& result) {
    const double expected_loss = golden_.values("loss")[0];
    measure(loss_, std::abs(result.loss - expected_loss) / std::abs(expected_loss), "loss");
    ASSERT_NO_FATAL_FAILURE(compare_hidden("stream", result.streams));
    ASSERT_NO_FATAL_FAILURE(compare_hidden("branch", result.branches));
    ASSERT_NO_FATAL_FAILURE(compare_gradients(result));
    report();
  }

 private:
  void compare_hidden(const char* prefix, const std::vector<Values>& values) {
    ASSERT_EQ(golden_.names(prefix).size(), values.size());
    for (std::size_t k = 0; k < values.size(); ++k) {
      const std::string name = fmt::format("{}/{}", prefix, k);
      const Values expected = golden_.values(name);
      ASSERT_EQ(values[k].size(), expected.size()) << name;
      measure(hidden_, distance(values[k], expected) / norm_of(expected), name);
    }
  }

  void compare_gradients(EngineResult& result) {
    const std::vector<std::string> names = golden_.names("gradient");
    ASSERT_EQ(names.size(), result.gradients.size());
    std::map<std::string, Values> expected;
    for (const std::string& name : names) {
      ASSERT_EQ(result.gradients.count(name), 1U) << name;
      expected[name] = golden_.values("gradient/" + name);
      ASSERT_EQ(result.gradients.at(name).size(), expected[name].size()) << name;
    }
    const double whole = whole_gradient_norm(golden_);
    for (const ZeroSpan& span : golden_.zero_spans()) {
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
    if (platform_.compute != DType::BFloat16) return;
    ASSERT_EQ(bf16_errors_.count(name), 1U) << name;
    const double allowed = std::max(kRoundingFactor * bf16_errors_.at(name), kRoundingFloor);
    rounding_.add(error / allowed, name);
  }

  void report() const {
    fmt::print("  loss {:.1e}; hidden {:.1e} ({}); gradient {:.1e} ({}); zero gradients {:.1e} ({})\n",
               loss_.error, hidden_.error, hidden_.where, gradient_.error, gradient_.where, zero_.error,
               zero_.where);
    EXPECT_LE(loss_.error, platform_.tolerance);
    EXPECT_LE(hidden_.error, platform_.tolerance) << hidden_.where;
    EXPECT_LE(gradient_.error, platform_.tolerance) << gradient_.where;
    EXPECT_LE(zero_.error, kZeroShare * platform_.tolerance) << zero_.where << ", against the whole gradient";
    EXPECT_LE(rounding_.error, 1) << rounding_.where << ", against what rounding does to it in PyTorch";
  }

  const GoldenFile& golden_;
  Platform platform_;
  std::map<std::string, double> bf16_errors_;
  Worst loss_, hidden_, gradient_, zero_;
  Worst rounding_;  ///< share of what bf16 may do
};

}  // namespace

void PrintTo(const Platform& platform, std::ostream* out) {
  *out << platform.backend << ' ' << plumb::name_of(platform.compute);
}

std::string name_of(const Platform& platform) {
  std::string backend = platform.backend;  // GoogleTest wants letters, digits and _
  std::replace(backend.begin(), backend.end(), '-', '_');
  return fmt::format("{}_{}", backend, plumb::name_of(platform.compute));
}

std::vector<Platform> platforms() {
  std::vector<Platform> list;
  for (const std::string& backend : test::tested_backends()) {
    if (backend == "reference") {
      list.push_back({backend, DType::Float64, 1e-10});
    } else {
      list.push_back({backend, DType::Float32, 1e-5});
      list.push_back({backend, DType::BFloat16, 2e-2});
    }
  }
  return list;
}

void expect_agreement(const Config& config, const GoldenFile& golden, const Platform& platform) {
  const auto backend = make_backend(platform.backend);
  EngineResult result;
  ASSERT_NO_FATAL_FAILURE(result = run_engine(config, golden, *backend, platform.compute));
  ASSERT_NO_FATAL_FAILURE(Comparison(golden, platform).compare(result));
}

double whole_gradient_norm(const GoldenFile& golden) {
  double squared = 0;
  for (const std::string& name : golden.names("gradient")) {
    squared += std::pow(norm_of(golden.values("gradient/" + name)), 2);
  }
  return std::sqrt(squared);
}

}  // namespace plumb::golden
