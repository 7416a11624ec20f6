// The equations of docs/design/block_equation.md with what is absent left out: from a resolved configuration
// to text.
#pragma once

#include <string>
#include <vector>

#include "nn/description/placement_description.h"

namespace plumb {

/// "u = N_in(x)", "x' = a x + b F(u)".
std::vector<std::string> equation_lines(const SublayerDescription& sublayer, const ModelConfig& model);
/// What acts inside the branch: norms, gains, caps.
std::vector<std::string> inside_lines(const SublayerDescription& sublayer, const ModelConfig& model);
/// "a = L^0.25 = 2.2134, L = 24 sublayers", one line for each coefficient that is there.
std::vector<std::string> definition_lines(const SublayerDescription& sublayer, const ModelConfig& model);
/// From the tokens to the stream, and from the stream to the logits.
std::vector<std::string> start_lines(const ModelConfig& model);
std::vector<std::string> end_lines(const ModelConfig& model);

/// The fixed part of a knob in symbols: "0.05", "L^0.25", "1/sqrt(l)"; "1" if it is 1.
std::string knob_rule(const KnobConfig& knob);
/// "2.2134", "1e-05".
std::string short_number(double value);

}  // namespace plumb
