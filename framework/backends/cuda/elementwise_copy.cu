// fill and copy, for every dtype and pair of dtypes.
#include "backends/cuda/device/convert.cuh"
#include "backends/cuda/device/row_packs.cuh"
#include "backends/cuda/elementwise.h"

namespace plumb::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(kRowPackThreads)
    fill_kernel(RowPacks<kPackOf<T>> packs, T value, T* x, std::int64_t stride) {
  constexpr int kPack = kPackOf<T>;
  T values[kPack];
#pragma unroll
  for (int j = 0; j < kPack; ++j) values[j] = value;
  packs.for_each([&](std::int64_t row, std::int64_t column, int count) {
    packs.write(x + row * stride + column, count, values);
  });
}

/// As many elements as 16 bytes hold of the wider type.
template <class From, class To>
inline constexpr int kPairPack = 16 / static_cast<int>(sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To));

/// Equal types are copied bit for bit.
template <class From, class To>
__global__ void __launch_bounds__(kRowPackThreads)
    copy_kernel(RowPacks<kPairPack<From, To>> packs, const From* x, std::int64_t x_stride, To* y,
                std::int64_t y_stride) {
  constexpr int kPack = kPairPack<From, To>;
  packs.for_each([&](std::int64_t row, std::int64_t column, int count) {
    From values[kPack];
    packs.read(x + row * x_stride + column, count, values);
    if constexpr (std::is_same_v<From, To>) {
      packs.write(y + row * y_stride + column, count, values);
    } else {
      To converted[kPack];
#pragma unroll
      for (int j = 0; j < kPack; ++j) converted[j] = narrow<To>(widen(values[j]));
      packs.write(y + row * y_stride + column, count, converted);
    }
  });
}

}  // namespace

void launch_fill(cudaStream_t stream, const Tensor& x, double value) {
  with_any_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    const auto packs = RowPacks<kPackOf<T>>::flat({x});
    launch({"fill", packs.grid(), packs.block(), 0, stream}, fill_kernel<T>, packs, narrow<T>(value),
           static_cast<T*>(x.data), x.row_stride);
  });
}

void launch_copy(cudaStream_t stream, const Tensor& x, const Tensor& y) {
  with_any_element(x.dtype, [&](auto source) {
    with_any_element(y.dtype, [&](auto target) {
      using From = decltype(source);
      using To = decltype(target);
      const auto packs = RowPacks<kPairPack<From, To>>::flat({x, y});
      launch({"copy", packs.grid(), packs.block(), 0, stream}, copy_kernel<From, To>, packs,
             static_cast<const From*>(x.data), x.row_stride, static_cast<To*>(y.data), y.row_stride);
    });
  });
}

}  // namespace plumb::cuda
