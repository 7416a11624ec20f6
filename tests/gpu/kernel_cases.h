// The kernels of a training step, each with the bytes that it must move and the operations that it must do:
// what its time is held against.
#pragma once

#include <functional>
#include <string>
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

/// A kernel, or the few that make up one op.
struct KernelCase {
  std::string name, shape;
  double bytes = 0;       ///< least traffic: every input read once, every output written once
  double operations = 0;  ///< floating-point, multiply and add counted as two
  bool tensor_cores = false;
  /// Prepares memory once and returns what issues the op.
  std::function<std::function<void()>(Backend&, Stream&, DeviceMemory&)> prepare;
};

/// The model whose kernels these are. Default: 12 blocks of width 768 with 12 heads on 8 sequences of 1024
/// tokens, vocabulary padded to 50304: 124 M parameters.
struct KernelSizes {
  std::int64_t blocks = 12, batch = 8, tokens = 1024, width = 768, heads = 12, vocabulary = 50304;
  std::int64_t parameters = 124'000'000;
  DType compute = DType::BFloat16;

  std::int64_t rows() const { return batch * tokens; }
  std::int64_t head_width() const { return width / heads; }
  std::int64_t inner() const { return 4 * width; }
  double compute_bytes() const { return static_cast<double>(size_of(compute)); }
  /// Bytes of an activation of (rows, width) and of one of (rows, inner).
  double activation() const { return static_cast<double>(rows() * width) * compute_bytes(); }
  double inner_activation() const { return 4 * activation(); }
};
std::vector<KernelCase> kernel_cases(const KernelSizes& sizes = {});

/// What a device can do at best.
struct Peaks {
  std::string device;
  double bytes_per_second = 0;
  double tensor_operations_per_second = 0;  ///< bf16, dense
  double operations_per_second = 0;         ///< fp32
};
/// NVIDIA H100 SXM: 3.35 TB/s, 989 and 67 TFLOP/s (NVIDIA H100 data sheet, dense figures).
Peaks h100();
/// Of the device with that name: A100, H100 and H200 from NVIDIA's data sheets; of any other the H100's.
Peaks peaks_of(const std::string& device_name);

/// The roofline's time in seconds: the longer of moving the bytes and doing the operations.
double predicted_seconds(const KernelCase& one, const Peaks& peaks);

}  // namespace plumb::gpu
