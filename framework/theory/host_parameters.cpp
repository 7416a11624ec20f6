#include "theory/host_parameters.h"

#include <algorithm>
#include <cmath>

#include "core/maximum.h"

namespace plumb {

const HostParameter* HostParameters::find(const std::string& name) const {
  const auto found = list_.find(name);
  return found == list_.end() ? nullptr : &found->second;
}

const HostParameter& HostParameters::at(const std::string& name) const {
  const HostParameter* found = find(name);
  PLUMB_CHECK(found != nullptr, "there is no parameter '{}'", name);
  return *found;
}

HostParameters download_parameters(Backend& backend, Stream& stream, const ParameterStore& store) {
  HostParameters host;
  for (const Parameter& parameter : store.all()) {
    HostParameter copy{parameter.shape, {}};
    const auto elements = static_cast<std::size_t>(parameter.shape.elements());
    copy.values.resize(elements);
    if (parameter.value.dtype == DType::Float64) {
      backend.download(stream, parameter.value.data, copy.values.data(), parameter.value.bytes());
      stream.synchronize();
    } else {
      PLUMB_CHECK(parameter.value.dtype == DType::Float32, "master parameters of {}",
                  name_of(parameter.value.dtype));
      std::vector<float> narrow(elements);
      backend.download(stream, parameter.value.data, narrow.data(), parameter.value.bytes());
      stream.synchronize();
      std::copy(narrow.begin(), narrow.end(), copy.values.begin());
    }
    host.add(parameter.name, std::move(copy));
  }
  return host;
}

double norm_of(std::span<const double> values) {
  double sum = 0;
  for (double value : values) sum += value * value;
  return std::sqrt(sum);
}

double largest_of(std::span<const double> values) {
  double most = 0;
  for (double value : values) most = maximum_or_nan(most, std::abs(value));
  return most;
}

}  // namespace plumb
