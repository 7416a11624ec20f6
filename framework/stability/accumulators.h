// Accumulators: the device memory behind the probes of a step.
#pragma once

#include <array>
#include <cstdint>

#include "backend/backend.h"
#include "nn/probes.h"
#include "stability/statistics_layout.h"

namespace plumb {

class Accumulators {
 public:
  /// The backend must outlive it.
  Accumulators(const StatisticsShape& shape, const StatisticsLayout& layout, Backend& backend);
  Accumulators(const Accumulators&) = delete;
  Accumulators& operator=(const Accumulators&) = delete;

  /// Makes the parts of a step of this cadence ready to be added to.
  void begin(Stream& stream, Cadence cadence);
  const Probes& probes(Cadence cadence) const { return probes_[static_cast<std::size_t>(cadence)]; }
  /// A part as (n) float64.
  Tensor part(PartName name) const { return view(layout_.part(name).device, {layout_.part(name).elements}); }
  /// All parts of a step of this cadence, as one.
  Tensor used(Cadence cadence) const { return view(0, {layout_.device_elements(cadence)}); }
  /// (M, C): what column sums are taken about.
  Tensor shift() const;
  std::size_t bytes() const { return memory_.bytes() + shift_.bytes(); }

 private:
  Tensor view(std::int64_t offset, Shape shape) const;
  Probes make_probes(Cadence cadence) const;
  void add_detailed(Probes& probes) const;
  bool takes(PartName name) const { return layout_.part(name).elements > 0; }

  const StatisticsShape& shape_;
  const StatisticsLayout& layout_;
  Backend& backend_;
  Buffer memory_, shift_;
  std::array<Probes, kCadences> probes_;
};

}  // namespace plumb
