// Memory of a device for kernels that are looked at alone.
#pragma once

#include <vector>

#include "backend/backend.h"

namespace plumb::gpu {

/// Tensors that live as long as this; bf16 and fp32 ones hold small numbers of changing sign.
class DeviceMemory {
 public:
  DeviceMemory(Backend& backend, Stream& stream) : backend_(backend), stream_(stream) {}
  Tensor tensor(DType dtype, Shape shape);
  Tensor zeros(DType dtype, Shape shape);
  /// int32 in [0, limit).
  Tensor integers(std::int64_t elements, std::int64_t limit);
  Tensor doubles(const std::vector<double>& values);
  Workspace workspace(std::size_t bytes);

 private:
  Buffer& add(std::size_t bytes);
  Backend& backend_;
  Stream& stream_;
  std::vector<Buffer> buffers_;
};

}  // namespace plumb::gpu
