// Parameters of a model in host memory, in float64, whatever their dtype on the device.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "core/error.h"
#include "nn/parameter.h"

namespace plumb {

struct HostParameter {
  Shape shape{};
  std::vector<double> values{};

  std::int64_t rows() const { return shape[0]; }
  std::int64_t columns() const { return shape.elements() / shape[0]; }
  std::span<const double> row_range(std::int64_t first, std::int64_t count) const {
    return std::span(values).subspan(static_cast<std::size_t>(first * columns()),
                                     static_cast<std::size_t>(count * columns()));
  }
};

class HostParameters {
 public:
  void add(const std::string& name, HostParameter parameter) { list_[name] = std::move(parameter); }
  /// Null if there is none of that name.
  const HostParameter* find(const std::string& name) const;
  /// Throws Error if there is none of that name.
  const HostParameter& at(const std::string& name) const;

 private:
  std::map<std::string, HostParameter> list_;
};

/// Copies of all values of the store, frozen ones included. Waits for the stream.
HostParameters download_parameters(Backend& backend, Stream& stream, const ParameterStore& store);

/// The 2-norm, and the largest absolute value (0 of nothing).
double norm_of(std::span<const double> values);
double largest_of(std::span<const double> values);

}  // namespace plumb
