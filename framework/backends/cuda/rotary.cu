#include <cmath>

#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/row_packs.cuh"
#include "backends/cuda/rotary.h"

namespace plumb::cuda {
namespace {

constexpr int kPack = 4;
constexpr int kHeads = 4;  // that a thread turns by the same angles

struct RotaryShape {
  std::uint32_t tokens;
  int heads, width;
  double exponent;  ///< log2(base) / (width / 2)
  double direction;
};

/// Cosine and sine of t base^(-i/half). Whole turns are taken off in float64, where an angle of a million
/// positions still has ten digits behind the point; what is left of the turn is then small enough for fp32.
__device__ __forceinline__ void angle_of(const RotaryShape& shape, std::uint32_t t, std::int64_t i,
                                         float* cosine, float* sine) {
  constexpr double kTurnsOfRadian = 0.15915494309189535;
  const double frequency = exp2(-static_cast<double>(i) * shape.exponent) * kTurnsOfRadian;
  const double turns = static_cast<double>(t) * frequency;
  const auto rest = static_cast<float>(shape.direction * (turns - rint(turns)));
  sincospif(2 * rest, sine, cosine);
}

/// A thread turns a pack of pairs of some heads of a row; the packs are those of the first halves.
template <class T>
__global__ void __launch_bounds__(kRowPackThreads)
    rotary_kernel(RowPacks<kPack> packs, RotaryShape shape, T* x, std::int64_t stride) {
  const int first = static_cast<int>(blockIdx.z) * kHeads, half = shape.width / 2;
  const int last = first + kHeads < shape.heads ? first + kHeads : shape.heads;
  packs.for_each([&](std::int64_t row, std::int64_t pair, int count) {
    const std::uint32_t t = static_cast<std::uint32_t>(row) % shape.tokens;
    float cosine[kPack], sine[kPack];
#pragma unroll
    for (int j = 0; j < kPack; ++j) angle_of(shape, t, pair + j, &cosine[j], &sine[j]);
    for (int head = first; head < last; ++head) {
      T* place = x + row * stride + head * shape.width + pair;
      float u[kPack], w[kPack];
      packs.read_floats(place, count, u);
      packs.read_floats(place + half, count, w);
#pragma unroll
      for (int j = 0; j < kPack; ++j) {
        const float turned = u[j] * cosine[j] - w[j] * sine[j];
        w[j] = u[j] * sine[j] + w[j] * cosine[j];
        u[j] = turned;
      }
      packs.write_floats(place, count, u);
      packs.write_floats(place + half, count, w);
    }
  });
}

}  // namespace

void launch_rotary(cudaStream_t stream, const Rotary& arguments) {
  const Tensor& x = arguments.x;
  const std::int64_t half = arguments.width / 2;
  const RotaryShape shape{static_cast<std::uint32_t>(arguments.tokens), static_cast<int>(arguments.heads),
                          static_cast<int>(arguments.width),
                          std::log2(arguments.base) / static_cast<double>(half),
                          arguments.inverse ? -1.0 : 1.0};
  // Both halves of every head are accessed: as views, so that their places are looked at too.
  const RowPacks<kPack> packs(x.rows(), half, {x.columns(0, half), x.columns(half, half)});
  dim3 grid = packs.grid();
  grid.z = static_cast<unsigned>((arguments.heads + kHeads - 1) / kHeads);
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    launch({"rotary", grid, packs.block(), 0, stream}, rotary_kernel<T>, packs, shape,
           static_cast<T*>(x.data), x.row_stride);
  });
}

}  // namespace plumb::cuda
