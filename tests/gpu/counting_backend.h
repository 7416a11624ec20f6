// A backend that runs nothing: every op leaves the kernels that the CUDA backend makes of it, with the bytes
// and operations of each, in a list. What issues a step of a model to it gets the account of that step.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace plumb::gpu {

/// One kernel of a step, or the product of a library. Small kernels that add up partial sums are left out:
/// they move less than a hundredth of what the kernel before them does.
struct CountedKernel {
  std::string name, shape;
  double bytes = 0;       ///< least traffic: every input read once, every output written once
  double operations = 0;  ///< floating-point, multiply and add counted as two
  bool tensor_cores = false;
  bool statistics = false;  ///< runs for statistics alone
};

/// Memory is address space that nobody touches. Ops that a decoder of plain sublayers does not have fail.
std::unique_ptr<Backend> make_counting_backend(std::vector<CountedKernel>& kernels);

}  // namespace plumb::gpu
