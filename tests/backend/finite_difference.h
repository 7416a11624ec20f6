// Central differences of a forward pass in fp64.
#pragma once

#include <functional>

#include "backend/host_tensors.h"

namespace plumb::test {

using Loss = std::function<double()>;

/// d loss / d x by central differences, element by element, against `gradient`.
inline void expect_gradient(const char* name, const Tensor& x, const Tensor& gradient, const Loss& loss) {
  if (!x.defined()) return;
  std::vector<double> differences;
  for (std::int64_t i = 0; i < x.elements(); ++i) {
    const double value = at(x, i), h = 1e-5 * std::max(1.0, std::abs(value));
    at(x, i) = value + h;
    const double above = loss();
    at(x, i) = value - h;
    const double below = loss();
    at(x, i) = value;
    differences.push_back((above - below) / (2 * h));
  }
  EXPECT_LE(relative_error(values_of(gradient), differences), 1e-6) << name;
}

}  // namespace plumb::test
