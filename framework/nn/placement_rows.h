// What the files of rows share.
#pragma once

#include <vector>

#include "nn/placement.h"

namespace plumb::rows {

inline constexpr std::string_view kGpt2Init = "gpt2: normal 0.02; W_O, W_2 / sqrt(2L)";
inline constexpr std::string_view kUnscaledGpt2Init =
    "gpt2; W_O, W_2 not scaled, because the branch ends in a norm";
inline constexpr std::string_view kAuthorsCode = "read in the authors' code";

std::vector<Placement> classic_rows();  ///< norms in their slots
std::vector<Placement>
mixed_rows();  ///< that differ between blocks or kinds of sublayer, or inside the branch
std::vector<Placement> scaled_rows();  ///< with coefficients and inits of their own
std::vector<Placement> stream_rows();  ///< with several streams

}  // namespace plumb::rows
