// Cosines and sines of rotary positions, computed once per geometry.
#pragma once

#include <cstdint>
#include <vector>

namespace plumb::cpu {

/// Element (t, i) is at t * (width / 2) + i: the angle t * base^(-2i/width).
struct RotaryTable {
  std::int64_t tokens = 0, width = 0;
  double base = 0;
  std::vector<float> cosine, sine;
};

/// Owns the tables; only the first call for a geometry allocates. Used by one host thread at a time.
class RotaryTables {
 public:
  const RotaryTable& get(std::int64_t tokens, std::int64_t width, double base);

 private:
  std::vector<RotaryTable> tables_;
};

}  // namespace plumb::cpu
