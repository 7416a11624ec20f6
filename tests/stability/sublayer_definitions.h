// Definitions (definitions.h) of what is inside sublayers.
#pragma once

#include <map>
#include <string>

#include "definitions.h"

namespace plumb::test {

/// The norms of the model in the order in which they are declared.
std::vector<std::string> norm_names(const StepTensors& step);
/// k of a norm within a sublayer.
std::int64_t sublayer_of(const StepTensors& step, const std::string& norm);
/// u W^T + b of every row.
Matrix linear(const Matrix& u, const std::vector<double>& weight, const std::vector<double>& bias);
/// N_in(x) of sublayer k.
Matrix branch_input(const StepTensors& step, const Matrix& x, std::int64_t k);

std::map<std::string, Definition> attention_definitions();
std::map<std::string, Definition> norm_definitions();
std::map<std::string, Definition> residual_definitions();

}  // namespace plumb::test
