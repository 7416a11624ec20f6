// How every tensor of a model starts, taken from the declarations of the model itself.
#pragma once

#include <vector>

#include "nn/description/placement_description.h"

namespace plumb {

/// Declares the model without memory. Tensors in the order of declaration; successive blocks whose tensors
/// start alike are one entry.
std::vector<TensorDescription> describe_tensors(const Config& config);

}  // namespace plumb
