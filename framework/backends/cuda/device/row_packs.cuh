// Kernels that go through matrices element by element: every thread takes packs of neighbouring columns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "backends/cuda/device/elements.cuh"
#include "core/tensor.h"

namespace plumb::cuda {

inline constexpr int kRowPackThreads = 256;

/// Whether packs of that many elements can be accessed at once in every row.
inline bool allows_packs(const Tensor& tensor, int elements) {
  const auto bytes = size_of(tensor.dtype) * static_cast<std::size_t>(elements);
  return reinterpret_cast<std::uintptr_t>(tensor.data) % bytes == 0 &&
         (tensor.rows() <= 1 || tensor.row_stride % elements == 0);
}

/// Splits (rows, cols) matrices over threads, kPack neighbouring columns at a time. Launch with grid() and
/// block(); all threads of the grid call for_each.
template <int kPack>
class RowPacks {
 public:
  /// `tensors`: all that read() and write() will be called for.
  RowPacks(std::int64_t rows, std::int64_t cols, std::initializer_list<Tensor> tensors)
      : rows_(rows), cols_(cols) {
    for (const Tensor& tensor : tensors)
      whole_ = whole_ && (!tensor.defined() || allows_packs(tensor, kPack));
  }
  /// Of tensors of one shape; as one long row where all are contiguous.
  static RowPacks flat(std::initializer_list<Tensor> tensors) {
    const Tensor& first = *tensors.begin();
    const bool contiguous =
        std::all_of(tensors.begin(), tensors.end(), [](const Tensor& tensor) { return tensor.contiguous(); });
    return contiguous ? RowPacks(1, first.elements(), tensors)
                      : RowPacks(first.rows(), first.cols(), tensors);
  }

  dim3 block() const {
    unsigned wide = 1;
    while (wide < packs() && wide < kRowPackThreads) wide *= 2;
    return dim3(wide, kRowPackThreads / wide);
  }
  dim3 grid() const {
    const dim3 threads = block();
    return dim3(static_cast<unsigned>((packs() + threads.x - 1) / threads.x),
                static_cast<unsigned>(std::min<std::int64_t>((rows_ + threads.y - 1) / threads.y, 65535)));
  }

  /// Calls body(row, column, count) for this thread's packs: `count` columns from `column` on.
  template <class Body>
  __device__ __forceinline__ void for_each(Body&& body) const {
    const std::int64_t column = (blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x) * kPack;
    if (column >= cols_) return;
    const int count = cols_ - column < kPack ? static_cast<int>(cols_ - column) : kPack;
    const std::int64_t step = std::int64_t{gridDim.y} * blockDim.y;
    for (std::int64_t row = blockIdx.y * std::int64_t{blockDim.y} + threadIdx.y; row < rows_; row += step)
      body(row, column, count);
  }

  /// The pack at `source`; what lies behind `count` is zero.
  template <class T>
  __device__ __forceinline__ void read(const T* source, int count, T (&out)[kPack]) const {
    if (whole_ && count == kPack) {
      const auto pack = load_pack<Pack<T, kPack>>(source);
#pragma unroll
      for (int j = 0; j < kPack; ++j) out[j] = pack.values[j];
      return;
    }
#pragma unroll
    for (int j = 0; j < kPack; ++j) out[j] = j < count ? source[j] : T{};
  }
  template <class T>
  __device__ __forceinline__ void write(T* target, int count, const T (&values)[kPack]) const {
    if (whole_ && count == kPack) {
      Pack<T, kPack> pack;
#pragma unroll
      for (int j = 0; j < kPack; ++j) pack.values[j] = values[j];
      store_pack_global(target, pack);
      return;
    }
#pragma unroll
    for (int j = 0; j < kPack; ++j)
      if (j < count) target[j] = values[j];
  }
  /// The same in fp32, for elements of any compute dtype.
  template <class T>
  __device__ __forceinline__ void read_floats(const T* source, int count, float (&out)[kPack]) const {
    T values[kPack];
    read(source, count, values);
#pragma unroll
    for (int j = 0; j < kPack; ++j) out[j] = to_float(values[j]);
  }
  template <class T>
  __device__ __forceinline__ void write_floats(T* target, int count, const float (&values)[kPack]) const {
    T rounded[kPack];
#pragma unroll
    for (int j = 0; j < kPack; ++j) rounded[j] = from_float<T>(values[j]);
    write(target, count, rounded);
  }

 private:
  std::int64_t packs() const { return (cols_ + kPack - 1) / kPack; }

  std::int64_t rows_, cols_;
  bool whole_ = true;
};

}  // namespace plumb::cuda
