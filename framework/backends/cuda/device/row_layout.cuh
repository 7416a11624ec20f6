// How threads that work on a row together share its columns.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "backends/cuda/device/elements.cuh"
#include "core/tensor.h"

namespace plumb::cuda {

/// kLanes threads share a row of `width` columns, each taking a pack of 16 bytes at a time; the packs of all
/// lanes of one number cover kStep neighbouring columns. With kVector a pack is one access, which needs
/// aligned rows (vector_access()); without, the columns of a pack are kLanes apart, so that single elements
/// are read side by side by neighbouring threads, whatever width and alignment.
template <class T, int kLanes, bool kVector>
struct RowLayout {
  using Element = T;
  using Packed = Pack<T, kPackOf<T>>;
  static constexpr int kPack = kPackOf<T>;
  static constexpr int kStep = kLanes * kPack;

  int lane = 0;   ///< in [0, kLanes)
  int width = 0;  ///< 0: this lane has no columns

  /// The column of entry j of this lane's pack.
  __device__ __forceinline__ int column(int pack, int j) const { return column_of(pack, lane, j); }
  static __device__ __forceinline__ int column_of(int pack, int lane, int j) {
    return pack * kStep + (kVector ? lane * kPack + j : j * kLanes + lane);
  }
  __device__ __forceinline__ bool holds(int pack, int j) const {
    return column(pack, kVector ? 0 : j) < width;
  }
  /// Whether there is anything at all in this lane's pack.
  __device__ __forceinline__ bool holds_any(int pack) const { return holds(pack, 0); }

  /// The pack of a row; columns beyond the width are 0.
  __device__ __forceinline__ Packed read(const T* row, int pack) const {
    Packed packed;
    if (kVector && holds_any(pack)) return load_pack<Packed>(row + column(pack, 0));
#pragma unroll
    for (int j = 0; j < kPack; ++j)
      packed.values[j] = !kVector && holds(pack, j) ? row[column(pack, j)] : from_float<T>(0.0f);
    return packed;
  }
  static __device__ __forceinline__ void to_floats(const Packed& packed, float (&out)[kPack]) {
#pragma unroll
    for (int j = 0; j < kPack; ++j) out[j] = to_float(packed.values[j]);
  }
  __device__ __forceinline__ void read(const T* row, int pack, float (&out)[kPack]) const {
    to_floats(read(row, pack), out);
  }

  /// The same of a vector of parameters; `missing` where it is null or the column beyond the width.
  __device__ __forceinline__ void read_parameters(const float* parameters, int pack, float missing,
                                                  float (&out)[kPack]) const {
    if (kVector && parameters != nullptr && holds_any(pack)) {
#pragma unroll
      for (int quad = 0; quad < kPack; quad += 4)
        copy_quad(load_pack<Pack<float, 4>>(parameters + column(pack, quad)), out + quad);
      return;
    }
#pragma unroll
    for (int j = 0; j < kPack; ++j)
      out[j] = !kVector && parameters != nullptr && holds(pack, j) ? parameters[column(pack, j)] : missing;
  }

  __device__ __forceinline__ void write(T* row, int pack, const float (&values)[kPack]) const {
    if constexpr (kVector) {
      if (holds_any(pack)) store<kPack>(row + column(pack, 0), values);
    } else {
#pragma unroll
      for (int j = 0; j < kPack; ++j)
        if (holds(pack, j)) row[column(pack, j)] = from_float<T>(values[j]);
    }
  }

  /// Where entry j of a lane's pack stands in an array of sums in shared memory of padded() entries: quads of
  /// neighbouring lanes side by side, so that accesses of 16 bytes do not meet in a bank.
  static __device__ __forceinline__ int slot_of(int pack, int lane, int j) {
    return kVector ? pack * kStep + j / 4 * (kLanes * 4) + lane * 4 + j % 4 : column_of(pack, lane, j);
  }
  static __device__ __forceinline__ int slot_of_column(int column) {
    const int within = column % kStep;
    return kVector ? slot_of(column / kStep, within / kPack, within % kPack) : column;
  }
  /// Entries of an array of slots for `width` columns.
  static constexpr int padded(int width) { return (width + kStep - 1) / kStep * kStep; }

  /// sums[slots of this lane's pack] += terms; the lane alone has these slots.
  __device__ __forceinline__ void add(float* sums, int pack, const float (&terms)[kPack]) const {
    if constexpr (kVector) {
#pragma unroll
      for (int quad = 0; quad < kPack; quad += 4) {
        float* const place = sums + slot_of(pack, lane, quad);
        auto total = load_pack<Pack<float, 4>>(place);
#pragma unroll
        for (int j = 0; j < 4; ++j) total.values[j] += terms[quad + j];
        store_pack(place, total);
      }
    } else {
#pragma unroll
      for (int j = 0; j < kPack; ++j) sums[slot_of(pack, lane, j)] += terms[j];
    }
  }

 private:
  static __device__ __forceinline__ void copy_quad(const Pack<float, 4>& quad, float* out) {
#pragma unroll
    for (int j = 0; j < 4; ++j) out[j] = quad.values[j];
  }
};

/// Whether every row of every tensor can be read in 16-byte packs of neighbouring columns, also where it is
/// cut into pieces of `width` columns. Tensors that are not defined do not matter; fp32 ones beside 16-bit
/// ones are parameters, read in quads.
inline bool vector_access(std::int64_t width, std::initializer_list<Tensor> tensors) {
  for (const Tensor& tensor : tensors) {
    if (!tensor.defined()) continue;
    const bool wide = tensor.dtype == DType::Float32;
    const int pack = wide ? 4 : 8;
    if (reinterpret_cast<std::uintptr_t>(tensor.data) % 16 != 0 || width % pack != 0) return false;
    if (tensor.rows() > 1 && tensor.row_stride % pack != 0) return false;
  }
  return true;
}

}  // namespace plumb::cuda
