// NCCL communicators for tests that run on any number of ranks, each with a device of its own.
#pragma once

#include <nccl.h>

#include <algorithm>
#include <cstring>

#include "comm/ranks.h"
#include "host/nccl_communicator.h"
#include "host_fixture.h"

namespace plumb::emulation {

inline int rank() { return test::ranks().rank(); }
inline int world() { return test::ranks().world(); }

/// The same id on every rank.
inline ncclUniqueId shared_id() {
  ncclUniqueId id{};
  if (rank() == 0) {
    EXPECT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  }
  static_assert(sizeof id % 4 == 0);
  test::ranks().broadcast("NCCL id", Tensor(&id, DType::Int32, {sizeof id / 4}), 0);
  return id;
}

/// The largest of all ranks' values.
inline std::int32_t largest(std::int32_t value) {
  test::ranks().all_reduce("largest", Tensor(&value, DType::Int32, {1}), ReduceOp::Max);
  return value;
}

/// Streams and memory of a test belong to the rank's own device.
class EmulatedRank : public EmulatedHost {
 protected:
  EmulatedRank() { EXPECT_EQ(cudaSetDevice(rank()), cudaSuccess); }
};

/// Owns a communicator of all ranks. One that is not destroyed by the test is aborted.
class Clique {
 public:
  explicit Clique(bool blocking = true) {
    const ncclUniqueId id = shared_id();
    EXPECT_EQ(cudaSetDevice(rank()), cudaSuccess);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = blocking ? 1 : 0;
    const ncclResult_t result = ncclCommInitRankConfig(&communicator_, world(), id, rank(), &config);
    EXPECT_EQ(result, blocking ? ncclSuccess : ncclInProgress);
    if (!blocking) {
      EXPECT_EQ(settle(), ncclSuccess);
    }
  }
  ~Clique() { static_cast<void>(ncclCommAbort(communicator_)); }
  Clique(const Clique&) = delete;
  Clique& operator=(const Clique&) = delete;
  operator ncclComm_t() const { return communicator_; }

  /// Asks until nothing is in progress.
  ncclResult_t settle() const {
    ncclResult_t state = ncclInProgress;
    while (state == ncclInProgress) {
      EXPECT_EQ(ncclCommGetAsyncError(communicator_, &state), ncclSuccess);
    }
    return state;
  }
  ncclResult_t error() const {
    ncclResult_t state = ncclInternalError;
    EXPECT_EQ(ncclCommGetAsyncError(communicator_, &state), ncclSuccess);
    return state;
  }

 private:
  ncclComm_t communicator_ = nullptr;
};

}  // namespace plumb::emulation
