// What is not a finite number, for host and device alike.
#pragma once

namespace plumb {

constexpr bool is_finite_value(double value) { return value - value == 0; }

/// "nan", "inf" or "-inf" of a value that is not finite: how logs and reports name it.
constexpr const char* non_finite_kind(double value) {
  return value != value ? "nan" : value > 0 ? "inf" : "-inf";
}

}  // namespace plumb
