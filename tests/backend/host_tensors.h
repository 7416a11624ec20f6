// fp64 tensors for tests that look at the reference backend's memory directly.
#pragma once

#include <deque>
#include <vector>

#include "backend/op_test.h"
#include "core/error.h"
#include "core/rng.h"

namespace plumb::test {

/// Owns fp64 tensors in host memory; the n-th random one always holds the same values.
class HostTensors {
 public:
  Tensor random(Shape shape, double mean = 0, double deviation = 1) {
    const RandomStream random{99, 0, static_cast<std::uint32_t>(memory_.size())};
    std::vector<double> drawn(static_cast<std::size_t>(shape.elements()));
    for (std::size_t i = 0; i < drawn.size(); ++i) drawn[i] = mean + deviation * random.normal(i);
    return of(shape, drawn);
  }
  Tensor zeros(Shape shape) {
    return of(shape, std::vector<double>(static_cast<std::size_t>(shape.elements())));
  }
  Tensor like(const Tensor& tensor) { return tensor.defined() ? zeros(tensor.shape) : Tensor(); }
  Tensor of(Shape shape, const std::vector<double>& values) {
    PLUMB_CHECK(static_cast<std::int64_t>(values.size()) == shape.elements(), "{} values for {}",
                values.size(), to_string(shape));
    memory_.push_back(values);
    return Tensor(memory_.back().data(), DType::Float64, shape);
  }
  Tensor integers(const std::vector<std::int32_t>& values) {
    integers_.push_back(values);
    return Tensor(integers_.back().data(), DType::Int32, Shape{static_cast<std::int64_t>(values.size())});
  }
  Tensor counters(std::int64_t step, std::int64_t first_sequence) {
    counters_.push_back({step, first_sequence});
    return Tensor(counters_.back().data(), DType::Int64, Shape{2});
  }
  Workspace workspace(std::size_t bytes) {
    const Tensor tensor = zeros(Shape{static_cast<std::int64_t>(bytes / 8 + 1)});
    return {tensor.data, bytes};
  }

 private:
  std::deque<std::vector<double>> memory_;
  std::deque<std::vector<std::int32_t>> integers_;
  std::deque<std::vector<std::int64_t>> counters_;
};

/// Element i of a contiguous fp64 tensor.
inline double& at(const Tensor& tensor, std::int64_t i) { return tensor.as<double>()[i]; }

inline std::vector<double> values_of(const Tensor& tensor) {
  return {tensor.as<double>(), tensor.as<double>() + tensor.elements()};
}

/// sum_i a_i b_i.
inline double inner_product(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.elements(); ++i) sum += at(a, i) * at(b, i);
  return sum;
}

}  // namespace plumb::test
