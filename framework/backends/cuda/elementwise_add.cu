// add, for every pair of dtypes.
#include "backends/cuda/device/convert.cuh"
#include "backends/cuda/device/row_packs.cuh"
#include "backends/cuda/elementwise.h"

namespace plumb::cuda {
namespace {

/// As many elements as 16 bytes hold of the wider type.
template <class From, class To>
inline constexpr int kPairPack = 16 / static_cast<int>(sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To));

/// The sum is taken in the wider of the two types and rounded once.
template <class From, class To>
__global__ void __launch_bounds__(kRowPackThreads)
    add_kernel(RowPacks<kPairPack<From, To>> packs, const From* x, std::int64_t x_stride, To* y,
               std::int64_t y_stride) {
  using Wide = std::common_type_t<Arithmetic<From>, Arithmetic<To>>;
  constexpr int kPack = kPairPack<From, To>;
  packs.for_each([&](std::int64_t row, std::int64_t column, int count) {
    From added[kPack];
    To sum[kPack];
    packs.read(x + row * x_stride + column, count, added);
    packs.read(y + row * y_stride + column, count, sum);
#pragma unroll
    for (int j = 0; j < kPack; ++j)
      sum[j] = narrow<To>(static_cast<Wide>(widen(sum[j])) + static_cast<Wide>(widen(added[j])));
    packs.write(y + row * y_stride + column, count, sum);
  });
}

}  // namespace

void launch_add(cudaStream_t stream, const Tensor& x, const Tensor& y) {
  with_any_element(x.dtype, [&](auto source) {
    with_any_element(y.dtype, [&](auto target) {
      using From = decltype(source);
      using To = decltype(target);
      const auto packs = RowPacks<kPairPack<From, To>>::flat({x, y});
      launch({"add", packs.grid(), packs.block(), 0, stream}, add_kernel<From, To>, packs,
             static_cast<const From*>(x.data), x.row_stride, static_cast<To*>(y.data), y.row_stride);
    });
  });
}

}  // namespace plumb::cuda
