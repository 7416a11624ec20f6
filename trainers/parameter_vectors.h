// Vectors of the size of all trainable parameters, on the device, and moves of the parameters along them.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "nn/parameter.h"

namespace plumb {

class ParameterVectors {
 public:
  /// Backend, stream and the allocated store must outlive it. Takes `count` vectors, all zero.
  ParameterVectors(Backend& backend, Stream& stream, ParameterStore& store, int count);
  ParameterVectors(const ParameterVectors&) = delete;
  ParameterVectors& operator=(const ParameterVectors&) = delete;

  /// vector := parameters, gradients, another vector.
  void copy_parameters(int vector);
  void copy_gradients(int vector);
  /// parameters := vector, bit by bit, and their compute copies.
  void set_parameters(int vector);
  /// Standard normal variates, a pure function of the seed and the step.
  void draw(int vector, std::uint64_t seed, std::uint32_t step);

  /// parameters += factor * vector, and their compute copies.
  void move_parameters(double factor, int vector);
  /// vector += factor * (other vector | gradients).
  void add(int vector, double factor, int other);
  void add_gradients(int vector, double factor);
  /// vector := factor * other.
  void assign(int vector, double factor, int other);
  /// 2-norm, float64. Waits for the stream.
  double norm(int vector);

  std::size_t bytes() const { return memory_.bytes() + workspace_.bytes() + scalars_.bytes(); }

 private:
  const std::vector<Tensor>& parts(int vector) const { return vectors_[static_cast<std::size_t>(vector)]; }
  Tensor whole(int vector) const;
  void add_to(const std::vector<Tensor>& targets, const std::vector<Tensor>& copies, double factor,
              const std::vector<Tensor>& sources);

  Backend& backend_;
  Stream& stream_;
  ParameterStore& store_;
  std::int64_t elements_;  ///< of a vector, with the padding of the store
  std::vector<std::vector<Tensor>> vectors_;
  std::vector<Tensor> values_, copies_, gradients_;
  std::vector<UpdateTensor> updates_;  ///< of the last move, so that none allocates
  Buffer memory_, workspace_, scalars_, host_;
  Tensor squares_;
};

}  // namespace plumb
