// The MPI reduction that belongs to a ReduceOp and a dtype. Only sources of this folder include it.
#pragma once

#include <mpi.h>

#include "comm/communicator.h"

namespace plumb {

MPI_Datatype mpi_type_of(DType dtype);

/// MPI's own MPI_MAX and MPI_MIN compare with `<`: whether a NaN survives then depends on the order of the
/// operands, which differs between ranks. For fp64 and fp32 this class brings maximum and minimum that are
/// symmetric: NaN wins over everything, and +0 is greater than -0.
class MpiReductions {
 public:
  MpiReductions();
  /// Frees the operations, unless an exception is in flight.
  ~MpiReductions();
  MpiReductions(const MpiReductions&) = delete;
  MpiReductions& operator=(const MpiReductions&) = delete;

  MPI_Op of(ReduceOp op, DType dtype) const;

 private:
  MPI_Op maximum_ = MPI_OP_NULL, minimum_ = MPI_OP_NULL;
};

}  // namespace plumb
