#include "stability/statistics_shape.h"

#include <cmath>
#include <numeric>

#include "nn/engine.h"

namespace plumb {
namespace {

/// For queries that see all T keys or, causal, those up to their own position.
double mean_log_keys(std::int64_t tokens, bool causal) {
  if (!causal) return std::log(static_cast<double>(tokens));
  double sum = 0;
  for (std::int64_t keys = 1; keys <= tokens; ++keys) sum += std::log(static_cast<double>(keys));
  return sum / static_cast<double>(tokens);
}

}  // namespace

std::int64_t sum_of_counts(const std::vector<std::int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

StatisticsShape statistics_shape(const Engine& engine) {
  const Transformer& transformer = engine.model();
  const ModelConfig& config = transformer.config();
  StatisticsShape shape;
  shape.sublayers = transformer.sublayers();
  shape.width = config.width;
  shape.tensors = static_cast<std::int64_t>(engine.parameters().trainable().size());
  for (const Parameter* parameter : engine.parameters().trainable())
    shape.tensor_entries.push_back(parameter->shape.elements());
  shape.heads = config.heads;
  shape.mean_log_keys = mean_log_keys(transformer.shape().tokens, config.causal);
  for (std::int64_t k = 0; k < shape.sublayers; ++k) {
    shape.is_attention.push_back(transformer.sublayer(k).kind() == "attention");
    shape.hidden_units.push_back(transformer.sublayer(k).hidden_units());
  }
  shape.has_alignment = transformer.adds_to_one_stream();
  for (const NormParameters& norm : engine.parameters().norms()) {
    shape.norms += 1;
    shape.norm_vectors.push_back(norm.vectors);
    shape.norm_bounded.push_back(norm.bounded_entries);
    for (const Parameter* parameter : {norm.gain, norm.bias})
      shape.norm_entries.push_back(parameter != nullptr ? parameter->shape.elements() : 0);
  }
  return shape;
}

}  // namespace plumb
