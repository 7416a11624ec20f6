#include "report/report_numbers.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace plumb {

ReportJson rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::general, 5);
  double result = 0;
  std::from_chars(text, end.ptr, result);
  // Whole numbers without ".0": shorter, and the same to a page.
  if (result == std::trunc(result) && std::abs(result) < 1e15) return static_cast<std::int64_t>(result);
  return result;
}

ReportJson rounded_list(std::span<const double> values) {
  ReportJson list = ReportJson::array();
  for (const double value : values) list.push_back(rounded(value));
  return list;
}

std::string base64_floats(std::span<const float> values) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve(values.size() * 16 / 3 + 4);
  std::uint32_t buffer = 0;
  int bits = 0;
  for (const float value : values) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    for (int byte = 0; byte < 4; ++byte) {
      buffer = buffer << 8 | (word >> (8 * byte) & 0xFF);
      bits += 8;
      while (bits >= 6) {
        bits -= 6;
        text.push_back(kAlphabet[buffer >> bits & 63]);
      }
    }
  }
  if (bits > 0) text.push_back(kAlphabet[buffer << (6 - bits) & 63]);
  while (text.size() % 4 != 0) text.push_back('=');
  return text;
}

}  // namespace plumb
