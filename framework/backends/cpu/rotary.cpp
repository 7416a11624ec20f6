#include <cmath>

#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/rotary_tables.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

template <class Element>
void rotate(const Rotary& arguments, const RotaryTable& table) {
  const std::int64_t half = arguments.width / 2, cols = arguments.heads * arguments.width;
  const float direction = arguments.inverse ? -1.0F : 1.0F;
  auto* x = arguments.x.as<Element>();
  parallel_for(arguments.x.rows(), std::max<std::int64_t>(1, 16384 / cols), [&](std::int64_t r) {
    const float* cosine = table.cosine.data() + r % arguments.tokens * half;
    const float* sine = table.sine.data() + r % arguments.tokens * half;
    for (std::int64_t h = 0; h < arguments.heads; ++h) {
      Element* first = x + r * arguments.x.row_stride + h * arguments.width;
      Element* second = first + half;
      // The halves and the tables never overlap.
#pragma GCC ivdep
      for (std::int64_t i = 0; i < half; ++i) {
        const auto u = static_cast<float>(first[i]), w = static_cast<float>(second[i]);
        const float c = cosine[i], s = direction * sine[i];
        first[i] = Element(u * c - w * s);
        second[i] = Element(u * s + w * c);
      }
    }
  });
}

}  // namespace

const RotaryTable& RotaryTables::get(std::int64_t tokens, std::int64_t width, double base) {
  for (const RotaryTable& table : tables_) {
    if (table.tokens >= tokens && table.width == width && table.base == base) return table;
  }
  const std::int64_t half = width / 2;
  RotaryTable table{tokens, width, base, {}, {}};
  table.cosine.reserve(static_cast<std::size_t>(tokens * half));
  table.sine.reserve(static_cast<std::size_t>(tokens * half));
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(t) * std::pow(base, -static_cast<double>(i) / static_cast<double>(half));
      table.cosine.push_back(static_cast<float>(std::cos(angle)));
      table.sine.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  tables_.push_back(std::move(table));
  return tables_.back();
}

void CpuAttention::prepare_rotary(const Rotary& arguments) const {
  PLUMB_CHECK(arguments.width >= 2 && arguments.width % 2 == 0, "rotary: the head width {} must be even",
              arguments.width);
  PLUMB_CHECK(arguments.tokens >= 1, "rotary: tokens is {}", arguments.tokens);
  rotary_tables_.get(arguments.tokens, arguments.width, arguments.base);
}

void CpuAttention::rotary(Stream& /*stream*/, const Rotary& arguments) const {
  prepare_rotary(arguments);
  const Tensor& x = arguments.x;
  if (x.dtype != DType::Float32 && x.dtype != DType::BFloat16) fail_dtype("rotary", x.dtype);
  require_rows("rotary", "x", x, x.dtype, x.rows(), arguments.heads * arguments.width);
  const RotaryTable& table = rotary_tables_.get(arguments.tokens, arguments.width, arguments.base);
  if (arguments.x.dtype == DType::BFloat16) {
    rotate<bfloat16>(arguments, table);
  } else {
    rotate<float>(arguments, table);
  }
}

}  // namespace plumb::cpu
