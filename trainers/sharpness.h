// Sharpness: how sharp the loss of a batch is where an update starts from (docs/design/sharpness.md).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "parameter_vectors.h"
#include "stability/critical_multiple.h"

namespace plumb {

/// The loss that is looked at, as a function of the parameters in the store; the same batch, dropout and
/// loss scale at every call. Collectives where there are several ranks.
struct BatchLoss {
  std::function<double()> value;   ///< of all ranks
  std::function<void()> gradient;  ///< into the store's gradients, of all ranks
  double gradient_scale = 1;       ///< what these gradients are multiplied by (fp16)
};

struct Eigenvalue {
  double value = 0;     ///< of the Hessian, the one farthest from 0; from below
  double residual = 0;  ///< |H v - value v| / |H v| of the unit vector v that it was found with
};

class Sharpness {
 public:
  Sharpness(Backend& backend, Stream& stream, ParameterStore& store, std::uint64_t seed)
      : vectors_(backend, stream, store, kVectors),
        fp64_(store.flat_gradient().dtype == DType::Float64),
        seed_(seed) {}

  /// Before the update: where it starts from.
  void keep_start() { vectors_.copy_parameters(kStart); }
  /// After it: the multiple of the update at which the loss would have begun to rise. Parameters are
  /// afterwards, bit by bit, what they were before.
  std::optional<double> critical_multiple(const BatchLoss& loss);
  /// Power iteration on products of the Hessian at the start, each the central difference of two gradients.
  /// Parameters as above. Needs parameters that are not rounded to 16 bits.
  Eigenvalue eigenvalue(const BatchLoss& loss, std::int64_t iterations, std::uint32_t step);

  std::size_t bytes() const { return vectors_.bytes(); }

 private:
  enum { kStart = 0, kKept, kDirection, kProduct, kVectors };
  /// kProduct := factor * H kDirection; returns the factor.
  double hessian_product(const BatchLoss& loss, double epsilon);

  ParameterVectors vectors_;
  bool fp64_;
  std::uint64_t seed_;
};

}  // namespace plumb
