#include "backends/cuda/random.h"

#include "backends/cuda/arguments.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::cuda {

void CudaRandom::dropout(Stream& stream, const Dropout& arguments) const {
  const char* op = "dropout";
  PLUMB_CHECK(arguments.probability >= 0 && arguments.probability < 1,
              "{}: the probability is {}, not in [0, 1)", op, arguments.probability);
  const Tensor& x = arguments.x;
  require_compute(op, x.dtype);
  require_rows(op, "x", x, x.dtype, x.rows(), x.cols());
  require_rows(op, "y", arguments.y, x.dtype, x.rows(), x.cols());
  require_vector(op, "counters", arguments.site.counters, DType::Int64, 2);
  if (x.elements() > 0) launch_dropout(handle_of(stream), arguments);
}

void CudaRandom::bernoulli_per_sequence(Stream& stream, const BernoulliPerSequence& arguments) const {
  const char* op = "bernoulli_per_sequence";
  const double keep = arguments.keep_probability;
  PLUMB_CHECK(keep > 0 && keep <= 1, "{}: keep_probability is {}, not in (0, 1]", op, keep);
  require_vector(op, "factor", arguments.factor, DType::Float32, arguments.factor.elements());
  require_vector(op, "counters", arguments.site.counters, DType::Int64, 2);
  if (arguments.factor.elements() > 0) launch_bernoulli_per_sequence(handle_of(stream), arguments);
}

}  // namespace plumb::cuda
