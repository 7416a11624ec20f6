#include <array>

#include "backends/cpu/arguments.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/vector_math.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

constexpr std::int64_t kBlocks = 64;  // blocks of the generator that are drawn at a time
constexpr std::int64_t kWords = 4 * kBlocks;
using Words = std::array<std::uint32_t, kWords>;

/// words[4 j + k] = word 4 (first_block + j) + k of the stream, for all j < blocks: Philox4x32-10 as in
/// core/rng.h, side by side for a vector of blocks.
void draw(const RandomStream& stream, std::uint64_t first_block, std::int64_t blocks, Words& words) {
  std::uint32_t* out = words.data();
  const auto key0 = static_cast<std::uint32_t>(stream.seed),
             key1 = static_cast<std::uint32_t>(stream.seed >> 32);
  const std::uint32_t step = stream.step, site = stream.site;
#pragma omp simd
  for (std::int64_t j = 0; j < blocks; ++j) {
    const std::uint64_t block = first_block + static_cast<std::uint64_t>(j);
    auto c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
    std::uint32_t c2 = step, c3 = site, k0 = key0, k1 = key1;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53U} * c0, p1 = std::uint64_t{0xCD9E8D57U} * c2;
      c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      c1 = static_cast<std::uint32_t>(p1);
      c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c3 = static_cast<std::uint32_t>(p0);
      k0 += 0x9E3779B9U;
      k1 += 0xBB67AE85U;
    }
    out[4 * j] = c0;
    out[4 * j + 1] = c1;
    out[4 * j + 2] = c2;
    out[4 * j + 3] = c3;
  }
}

/// What a site draws from now.
struct Draw {
  RandomStream stream;
  std::uint64_t first_sequence;
  Draw(const char* op, const RandomSite& site) {
    const auto* counters = vector_of<std::int64_t>(op, "site.counters", site.counters, 2);
    stream = {site.seed, static_cast<std::uint32_t>(counters[0]), site.site};
    first_sequence = static_cast<std::uint64_t>(counters[1]);
  }
};

/// Drops elements of x whose stream index starts at `index`.
template <class T>
void drop_row(const RandomStream& stream, std::uint64_t index, float probability, const T* x, std::int64_t n,
              T* y) {
  const float factor = static_cast<float>(1.0 / (1.0 - static_cast<double>(probability)));
  Words words;
  for (std::int64_t done = 0; done < n;) {
    const auto skipped = static_cast<std::int64_t>(index % 4);
    const std::int64_t count = std::min(kWords - skipped, n - done);
    draw(stream, index / 4, (skipped + count + 3) / 4, words);
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
