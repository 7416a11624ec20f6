#include <array>

#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/random_words.h"
#include "backends/cpu/vector_math.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

/// Drops elements of x whose stream index starts at `index`.
template <class T>
void drop_row(const RandomStream& stream, std::uint64_t index, float probability, const T* x, std::int64_t n,
              T* y) {
  const float factor = static_cast<float>(1.0 / (1.0 - static_cast<double>(probability)));
  std::array<std::uint32_t, kRandomWords> words;
  for (std::int64_t done = 0; done < n;) {
    const auto skipped = static_cast<std::int64_t>(index % 4);
    const std::int64_t count = std::min(kRandomWords - skipped, n - done);
    random_words(stream, index / 4, (skipped + count + 3) / 4, words);
    const std::uint32_t* drawn = words.data() + skipped;
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
      const float uniform = static_cast<float>(static_cast<std::int32_t>(drawn[i] >> 8)) * 0x1p-24F;
      const float value = factor * static_cast<float>(x[done + i]);
      store(uniform < probability ? 0.0F : value, &y[done + i]);
    }
    done += count;
    index += static_cast<std::uint64_t>(count);
  }
}

template <class T>
void drop(const Dropout& arguments) {
  const char* op = "dropout";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols), y(op, "y", arguments.y, rows, cols);
  const Draw site(op, arguments.site);
  const auto probability = static_cast<float>(arguments.probability);
  const std::uint64_t first =
      site.first_sequence * static_cast<std::uint64_t>(arguments.rows_per_sequence * cols);
  if (arguments.x.contiguous() && arguments.y.contiguous()) {
    parallel_chunks(rows * cols, kExpensiveElements, [&](int, std::int64_t begin, std::int64_t end) {
      drop_row(site.stream, first + static_cast<std::uint64_t>(begin), probability, x[0] + begin, end - begin,
               y[0] + begin);
    });
    return;
  }
  parallel_for(rows, row_grain(cols, kExpensiveElements), [&](std::int64_t r) {
    drop_row(site.stream, first + static_cast<std::uint64_t>(r * cols), probability, x[r], cols, y[r]);
  });
}

}  // namespace

void CpuRandom::dropout(Stream&, const Dropout& arguments) const {
  PLUMB_CHECK(arguments.probability >= 0 && arguments.probability < 1,
              "dropout: the probability is {}, not in [0, 1)", arguments.probability);
  with_compute("dropout", arguments.x.dtype, [&](auto element) { drop<decltype(element)>(arguments); });
}

void CpuRandom::bernoulli_per_sequence(Stream&, const BernoulliPerSequence& arguments) const {
  const char* op = "bernoulli_per_sequence";
  const double keep = arguments.keep_probability;
  PLUMB_CHECK(keep > 0 && keep <= 1, "{}: keep_probability is {}, not in (0, 1]", op, keep);
  const Draw site(op, arguments.site);
  const std::int64_t sequences = arguments.factor.elements();
  float* factor = vector_of<float>(op, "factor", arguments.factor, sequences);
  for (std::int64_t i = 0; i < sequences; ++i) {
    const float uniform = site.stream.uniform(site.first_sequence + static_cast<std::uint64_t>(i));
    factor[i] = uniform >= static_cast<float>(keep) ? 0.0F : static_cast<float>(1 / keep);
  }
}

}  // namespace plumb::cpu
