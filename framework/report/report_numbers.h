// Numbers as the page holds them.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace plumb {

using ReportJson = nlohmann::ordered_json;

/// To five significant digits, which no plot can tell from more; null for what is not finite.
ReportJson rounded(double value);
ReportJson rounded_list(std::span<const double> values);

/// Base64 of little-endian float32: a matrix that a page decodes at once.
std::string base64_floats(std::span<const float> values);

}  // namespace plumb
