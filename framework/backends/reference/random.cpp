#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "core/error.h"

namespace plumb::reference {
namespace {

template <class T>
void drop(const Dropout& arguments) {
  const char* op = "dropout";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols), y(op, "y", arguments.y, rows, cols);
  const Draw draw = draw_of(op, arguments.site);
  const std::uint64_t first =
      draw.first_sequence * static_cast<std::uint64_t>(arguments.rows_per_sequence * cols);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < cols; ++i) {
      const float uniform = draw.stream.uniform(first + static_cast<std::uint64_t>(r * cols + i));
      const bool dropped = uniform < static_cast<float>(arguments.probability);
      y[r][i] = dropped ? T{0} : static_cast<T>(x[r][i] / (1 - arguments.probability));
    }
  }
}

}  // namespace

Draw draw_of(const char* op, const RandomSite& site) {
  const Vector<std::int64_t> counters(op, "site.counters", site.counters, 2);
  return {RandomStream{site.seed, static_cast<std::uint32_t>(counters[0]), site.site},
          static_cast<std::uint64_t>(counters[1])};
}

void ReferenceRandom::dropout(Stream&, const Dropout& arguments) const {
  PLUMB_CHECK(arguments.probability >= 0 && arguments.probability < 1,
              "dropout: the probability is {}, not in [0, 1)", arguments.probability);
  with_scalar("dropout", arguments.x.dtype, [&](auto scalar) { drop<decltype(scalar)>(arguments); });
}

void ReferenceRandom::bernoulli_per_sequence(Stream&, const BernoulliPerSequence& arguments) const {
  const char* op = "bernoulli_per_sequence";
  const double keep = arguments.keep_probability;
  PLUMB_CHECK(keep > 0 && keep <= 1, "{}: keep_probability is {}, not in (0, 1]", op, keep);
  const Draw draw = draw_of(op, arguments.site);
  with_scalar(op, arguments.factor.dtype, [&](auto scalar) {
    using T = decltype(scalar);
    const std::int64_t sequences = arguments.factor.elements();
    const Vector<T> factor(op, "factor", arguments.factor, sequences);
    for (std::int64_t i = 0; i < sequences; ++i) {
      const float uniform = draw.stream.uniform(draw.first_sequence + static_cast<std::uint64_t>(i));
      factor[i] = uniform >= static_cast<float>(keep) ? T{0} : static_cast<T>(1 / keep);
    }
  });
}

}  // namespace plumb::reference
