#include "comm/mpi_reductions.h"

#include <cmath>
#include <exception>
#include <limits>

#include "comm/mpi_check.h"
#include "core/error.h"

namespace plumb {
namespace {
template <class Scalar, bool kMaximum>
Scalar extremum(Scalar a, Scalar b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<Scalar>::quiet_NaN();
  if (a == b) return std::signbit(a) == kMaximum ? b : a;
  return (a < b) == kMaximum ? b : a;
}

template <class Scalar, bool kMaximum>
void reduce(const void* in, void* in_out, int count) {
  const auto* a = static_cast<const Scalar*>(in);
  auto* b = static_cast<Scalar*>(in_out);
  for (int i = 0; i < count; ++i) b[i] = extremum<Scalar, kMaximum>(a[i], b[i]);
}

template <bool kMaximum>
void reduce_any(void* in, void* in_out, int* count, MPI_Datatype* type) {
  if (*type == MPI_DOUBLE) {
    reduce<double, kMaximum>(in, in_out, *count);
  } else {
    reduce<float, kMaximum>(in, in_out, *count);
  }
}
}  // namespace

MPI_Datatype mpi_type_of(DType dtype) {
  switch (dtype) {
    case DType::Float64:
      return MPI_DOUBLE;
    case DType::Float32:
      return MPI_FLOAT;
    case DType::Int64:
      return MPI_INT64_T;
    case DType::Int32:
      return MPI_INT32_T;
    case DType::BFloat16:
    case DType::Float16:
      break;
  }
  fail("no MPI type for {}", name_of(dtype));
}

MpiReductions::MpiReductions() {
  constexpr int kCommutes = 1;
  PLUMB_MPI(MPI_Op_create(&reduce_any<true>, kCommutes, &maximum_));
  PLUMB_MPI(MPI_Op_create(&reduce_any<false>, kCommutes, &minimum_));
}

MpiReductions::~MpiReductions() {
  if (std::uncaught_exceptions() > 0) return;
  MPI_Op_free(&maximum_);
  MPI_Op_free(&minimum_);
}

MPI_Op MpiReductions::of(ReduceOp op, DType dtype) const {
  if (op == ReduceOp::Sum) return MPI_SUM;
  const bool floating = dtype == DType::Float64 || dtype == DType::Float32;
  if (op == ReduceOp::Max) return floating ? maximum_ : MPI_MAX;
  return floating ? minimum_ : MPI_MIN;
}

}  // namespace plumb
