#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/elements.cuh"
#include "backends/cuda/device/random_site.cuh"
#include "backends/cuda/device/row_layout.cuh"
#include "backends/cuda/random.h"

namespace plumb::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWords = 4;  // of one block of the random stream

/// x, y: (rows, cols). A thread takes the elements that one block of the stream decides: elements whose
/// stream index, first + r * cols + i, divides by 4 to the same quotient. With kWhole they are a pack of one
/// row.
template <class T, bool kWhole>
__global__ void dropout_kernel(RandomSiteView site, float probability, float factor,
                               std::int64_t rows_per_sequence, std::int64_t rows, std::int64_t cols,
                               const T* x, std::int64_t x_stride, T* y, std::int64_t y_stride) {
  const RandomStream stream = site.stream();
  const std::uint64_t first = site.first_sequence() * static_cast<std::uint64_t>(rows_per_sequence * cols);
  const std::uint64_t block = first / kWords + blockIdx.x * std::uint64_t{kThreads} + threadIdx.x;
  const std::uint64_t end = first + static_cast<std::uint64_t>(rows * cols);
  if (block * kWords >= end) return;
  const auto words = stream.block(block);
  const auto dropped_or_scaled = [&](int word, float value) {
    const bool dropped = static_cast<float>(words[word] >> 8) * 0x1p-24f < probability;
    return dropped ? 0.0f : factor * value;
  };
  const auto place = static_cast<std::int64_t>(block * kWords - first);  // negative: before the first element
  if constexpr (kWhole) {
    const std::int64_t row = place / cols, i = place - row * cols;
    float values[kWords];
    load<kWords>(x + row * x_stride + i, values);
#pragma unroll
    for (int word = 0; word < kWords; ++word) values[word] = dropped_or_scaled(word, values[word]);
    store<kWords>(y + row * y_stride + i, values);
  } else {
#pragma unroll
    for (int word = 0; word < kWords; ++word) {
      const std::int64_t element = place + word;
      if (element < 0 || element >= rows * cols) continue;
      const std::int64_t row = element / cols, i = element - row * cols;
      y[row * y_stride + i] = from_float<T>(dropped_or_scaled(word, to_float(x[row * x_stride + i])));
    }
  }
}

/// factor: (sequences).
__global__ void bernoulli_kernel(RandomSiteView site, float keep, std::int64_t sequences, float* factor) {
  const std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x;
  if (i >= sequences) return;
  const float uniform = site.stream().uniform(site.first_sequence() + static_cast<std::uint64_t>(i));
  factor[i] = uniform >= keep ? 0.0f : static_cast<float>(1 / static_cast<double>(keep));
}

}  // namespace

void launch_dropout(cudaStream_t stream, const Dropout& arguments) {
  const Tensor &x = arguments.x, &y = arguments.y;
  // One more than whole blocks of words: the first element may stand in the middle of one.
  const std::int64_t blocks = x.elements() / kWords + 2;
  const auto factor =
      static_cast<float>(1.0 / (1.0 - static_cast<double>(static_cast<float>(arguments.probability))));
  // Sequences then begin at whole blocks, wherever the first one is.
  const bool whole = vector_access(x.cols(), {x, y});
  with_element(x.dtype, [&](auto element) {
    using T = decltype(element);
    with_flag(whole, [&](auto kWhole) {
      launch({"dropout", dim3(static_cast<unsigned>((blocks + kThreads - 1) / kThreads)), dim3(kThreads), 0,
              stream},
             dropout_kernel<T, kWhole()>, RandomSiteView(arguments.site),
             static_cast<float>(arguments.probability), factor, arguments.rows_per_sequence, x.rows(),
             x.cols(), static_cast<const T*>(x.data), x.row_stride, static_cast<T*>(y.data), y.row_stride);
    });
  });
}

void launch_bernoulli_per_sequence(cudaStream_t stream, const BernoulliPerSequence& arguments) {
  const std::int64_t sequences = arguments.factor.elements();
  launch({"bernoulli_per_sequence", dim3(static_cast<unsigned>((sequences + kThreads - 1) / kThreads)),
          dim3(kThreads), 0, stream},
         bernoulli_kernel, RandomSiteView(arguments.site), static_cast<float>(arguments.keep_probability),
         sequences, static_cast<float*>(arguments.factor.data));
}

}  // namespace plumb::cuda
