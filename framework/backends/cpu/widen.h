// Rows between bf16 storage and the fp32 in which everything is computed.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/dtype.h"

namespace plumb::cpu {

inline void widen(const bfloat16* source, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(source[i]);
}
inline void widen(const float* source, float* out, std::int64_t n) {
  std::memcpy(out, source, static_cast<std::size_t>(n) * sizeof(float));
}
inline void narrow(const float* source, bfloat16* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = bfloat16(source[i]);
}
inline void narrow(const float* source, float* out, std::int64_t n) {
  std::memcpy(out, source, static_cast<std::size_t>(n) * sizeof(float));
}

}  // namespace plumb::cpu
