// A small data-parallel step on two streams, with faults that can be switched on: what the emulation must
// find.
#pragma once

#include <string>

namespace plumb::emulation {

enum class Bug {
  None,
  ReduceBeforeProduct,  ///< the all-reduce does not wait for the matrix product
  ReadBeforeReduce,     ///< the read-back does not wait for the all-reduce
  NoSynchronize,        ///< the host reads the result without waiting for the stream
  SourceOverwritten,    ///< a pinned source is overwritten while its copy is queued
  HostDereference,      ///< the host reads device memory; kills the process
  BadLeadingDimension,  ///< smaller than the rows of a column-major matrix
  ResultOutOfBounds,    ///< the product would write behind its buffer
  CountDiffers,         ///< one rank reduces one element less
  CollectiveSkipped,    ///< one rank does not issue the all-reduce
  KernelOutOfBounds,    ///< a kernel writes one row too many
};

/// Runs one step on all ranks. What was found wrong on this rank: a refused call, a lost device, a wrong
/// result; empty when nothing. All ranks return.
std::string run_training_step(Bug bug);

}  // namespace plumb::emulation
