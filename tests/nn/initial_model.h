// A placed model just after initialisation, on the reference backend in float64, large enough for statistics.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "backend/loader.h"
#include "nn/engine.h"
#include "nn/placed_config.h"

namespace plumb::test {

struct InitialModel {
  static constexpr std::int64_t kWidth = 32, kHidden = 128, kVocabulary = 256;

  std::unique_ptr<Backend> backend = make_backend("reference");
  std::unique_ptr<Engine> engine;

  InitialModel(const std::string& placement, std::int64_t blocks, std::vector<std::string> settings = {},
               std::uint64_t seed = 3) {
    for (const char* setting :
         {"model.width=32", "model.heads=4", "model.ffn_hidden=128", "model.sequence_length=64"}) {
      settings.emplace_back(setting);
    }
    settings.push_back("model.blocks=" + std::to_string(blocks));
    engine = std::make_unique<Engine>(load_placed(placement, settings).config.model, kVocabulary,
                                      ModelShape{.batch = 1, .tokens = 2, .compute = DType::Float64}, seed,
                                      *backend);
    engine->initialize();
  }
  const std::deque<Parameter>& all() const { return engine->parameters().all(); }
  const Parameter* find(const std::string& name) const { return engine->parameters().find(name); }
  std::vector<double> values(const std::string& name) const {
    const Parameter* parameter = find(name);
    if (parameter == nullptr) {
      ADD_FAILURE() << "no parameter " << name;
      return {};
    }
    const auto* data = parameter->value.as<double>();
    return {data, data + parameter->shape.elements()};
  }
};

inline double rms(const std::vector<double>& x) {
  double sum = 0;
  for (double v : x) sum += v * v;
  return std::sqrt(sum / static_cast<double>(x.size()));
}

inline double largest(const std::vector<double>& x) {
  double most = 0;
  for (double v : x) most = std::max(most, std::abs(v));
  return most;
}

/// W_Q (0), W_K (1) or W_V (2) of a qkv matrix.
inline std::vector<double> third(const std::vector<double>& x, std::size_t part) {
  const auto size = static_cast<std::ptrdiff_t>(x.size() / 3), at = static_cast<std::ptrdiff_t>(part) * size;
  return {x.begin() + at, x.begin() + at + size};
}

}  // namespace plumb::test
