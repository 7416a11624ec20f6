// Life of emulated NCCL communicators, groups, non-blocking calls, and what goes wrong between ranks.
#include <chrono>
#include <thread>

#include "clique.h"

namespace plumb::emulation {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class NcclCommunicators : public EmulatedRank {
 protected:
  ~NcclCommunicators() override { set_nccl_timeout(60); }

  static ncclResult_t all_reduce(const DeviceArray<float>& data, ncclComm_t communicator, cudaStream_t stream,
                                 std::size_t count = 10) {
    return ncclAllReduce(data.data(), data.data(), count, ncclFloat32, ncclSum, communicator, stream);
  }
  StreamHandle stream_;
  DeviceArray<float> data_{std::vector<float>(10, 1.0F)};
};

TEST_F(NcclCommunicators, KnowsItsRanksAndDevice) {
  const Clique clique;
  int value = -1;
  EXPECT_EQ(ncclCommCount(clique, &value), ncclSuccess);
  EXPECT_EQ(value, world());
  EXPECT_EQ(ncclCommUserRank(clique, &value), ncclSuccess);
  EXPECT_EQ(value, rank());
  EXPECT_EQ(ncclCommCuDevice(clique, &value), ncclSuccess);
  EXPECT_EQ(value, rank());
  EXPECT_EQ(ncclGetVersion(&value), ncclSuccess);
  EXPECT_EQ(value, NCCL_VERSION_CODE);
}

TEST_F(NcclCommunicators, AfterDestroyItIsNoMore) {
  const Clique clique;
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  ASSERT_EQ(ncclCommDestroy(clique), ncclSuccess);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess) << "destroy waits for what was issued";
  EXPECT_EQ(ncclCommDestroy(clique), ncclInvalidArgument);
  EXPECT_EQ(all_reduce(data_, clique, stream_), ncclInvalidArgument);
}

TEST_F(NcclCommunicators, FinalizeFlushes) {
  const Clique clique;
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  ASSERT_EQ(ncclCommFinalize(clique), ncclSuccess);
  EXPECT_EQ(all_reduce(data_, clique, stream_), ncclInvalidArgument);
  EXPECT_EQ(ncclCommDestroy(clique), ncclSuccess);
  EXPECT_EQ(data_.read()[0], static_cast<float>(world()));
}

TEST_F(NcclCommunicators, ArgumentsOfInitAreChecked) {
  ncclComm_t communicator = nullptr;
  ncclUniqueId id{};
  EXPECT_EQ(ncclCommInitRank(&communicator, 1, id, 0), ncclInvalidArgument) << "no id of ncclGetUniqueId";
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  EXPECT_EQ(ncclCommInitRank(&communicator, 1, id, 1), ncclInvalidArgument);
  EXPECT_EQ(ncclCommInitRank(&communicator, world() + 1, id, 0), ncclSystemError);
  EXPECT_THAT(ncclGetLastError(nullptr), HasSubstr("but MPI joins"));
  ncclConfig_t config{};
  EXPECT_EQ(ncclCommInitRankConfig(&communicator, 1, id, 0, &config), ncclInvalidArgument);
}

TEST_F(NcclCommunicators, ACommunicatorOfOneRankNeedsNobody) {
  ncclUniqueId id{};
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  ncclComm_t alone = nullptr;
  ASSERT_EQ(ncclCommInitRank(&alone, 1, id, 0), ncclSuccess);
  ASSERT_EQ(all_reduce(data_, alone, stream_), ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(data_.read()[0], 1.0F);
  EXPECT_EQ(ncclCommDestroy(alone), ncclSuccess);
}

TEST_F(NcclCommunicators, TwoRanksCannotShareADevice) {
  if (world() == 1) GTEST_SKIP() << "needs several ranks";
  const ncclUniqueId id = shared_id();
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  ncclComm_t communicator = nullptr;
  EXPECT_EQ(ncclCommInitRank(&communicator, world(), id, rank()), ncclInvalidUsage);
  EXPECT_THAT(ncclGetLastError(nullptr),
              HasSubstr("Duplicate GPU detected : rank 1 and rank 0 both on CUDA device"));
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
}

TEST_F(NcclCommunicators, ARankThatDoesNotComeIsMissedByInit) {
  if (world() == 1) GTEST_SKIP() << "needs several ranks";
  set_nccl_timeout(0.3);
  const ncclUniqueId id = shared_id();
  if (rank() != 1) {
    ncclComm_t communicator = nullptr;
    EXPECT_EQ(ncclCommInitRank(&communicator, world(), id, rank()), ncclSystemError);
    EXPECT_THAT(ncclGetLastError(nullptr), HasSubstr("has waited"));
  }
}

TEST_F(NcclCommunicators, GroupsAreIssuedAtTheirEndOrNotAtAll) {
  const Clique clique;
  ASSERT_EQ(ncclGroupStart(), ncclSuccess);
  ASSERT_EQ(ncclGroupStart(), ncclSuccess);
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  ASSERT_EQ(ncclGroupEnd(), ncclSuccess);
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess) << "nothing is on the stream yet";
  ASSERT_EQ(ncclGroupEnd(), ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(data_.read()[0], static_cast<float>(world() * world()));

  ASSERT_EQ(ncclGroupStart(), ncclSuccess);
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  EXPECT_EQ(all_reduce(data_, clique, stream_, 11), ncclInvalidArgument);
  EXPECT_EQ(ncclGroupEnd(), ncclInvalidArgument);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess) << "a group with a refused call issues nothing";
  EXPECT_EQ(ncclGroupEnd(), ncclInvalidUsage);
  EXPECT_EQ(ncclCommDestroy(clique), ncclSuccess);
}

TEST_F(NcclCommunicators, NonBlockingCallsAreInProgressUntilAsked) {
  const Clique clique(false);
  EXPECT_EQ(all_reduce(data_, clique, stream_), ncclInProgress);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess) << "it is not on the stream before the state is success";
  EXPECT_EQ(all_reduce(data_, clique, stream_), ncclInvalidArgument) << "the call before is in progress";
  EXPECT_EQ(clique.error(), ncclInProgress);
  EXPECT_EQ(clique.settle(), ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(data_.read()[0], static_cast<float>(world()));
  EXPECT_EQ(ncclCommFinalize(clique), ncclInProgress);
  EXPECT_EQ(clique.settle(), ncclSuccess);
  EXPECT_EQ(ncclCommDestroy(clique), ncclSuccess);
}

TEST_F(NcclCommunicators, BlockingAndNonBlockingDoNotShareAGroup) {
  const Clique blocking, other(false);
  ASSERT_EQ(ncclGroupStart(), ncclSuccess);
  ASSERT_EQ(all_reduce(data_, blocking, stream_), ncclSuccess);
  EXPECT_EQ(all_reduce(data_, other, stream_), ncclInvalidArgument);
  EXPECT_EQ(ncclGroupEnd(), ncclInvalidArgument);
}

TEST_F(NcclCommunicators, RegisteredMemoryCannotBeFreed) {
  const Clique clique;
  void *memory = nullptr, *handle = nullptr;
  ASSERT_EQ(ncclMemAlloc(&memory, 10000), ncclSuccess);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % NCCL_WIN_REQUIRED_ALIGNMENT, 0U);
  EXPECT_EQ(ncclCommRegister(clique, memory, 10001, &handle), ncclInvalidArgument);
  ASSERT_EQ(ncclCommRegister(clique, memory, 10000, &handle), ncclSuccess);
  EXPECT_EQ(ncclMemFree(memory), ncclUnhandledCudaError);
  EXPECT_EQ(ncclCommDeregister(clique, handle), ncclSuccess);
  EXPECT_EQ(ncclCommDeregister(clique, handle), ncclInvalidArgument);
  EXPECT_EQ(ncclMemFree(memory), ncclSuccess);
}

TEST_F(NcclCommunicators, CollectivesThatDifferAreReportedWithWhoIssuedWhat) {
  if (world() == 1) GTEST_SKIP() << "needs several ranks";
  const Clique clique;
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  ASSERT_EQ(all_reduce(data_, clique, stream_, rank() == 1 ? 9 : 10), ncclSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchFailure);
  const std::string text = cudaGetErrorString(cudaErrorLaunchFailure);
  EXPECT_THAT(text, AllOf(HasSubstr("rank 0 issued #1 AllReduce of 10 f32, sum"),
                          HasSubstr("rank 1 issued #1 AllReduce of 9 f32, sum")));
  EXPECT_EQ(clique.error(), ncclInvalidUsage);
  largest(0);  // no rank leaves before all have compared
}

TEST_F(NcclCommunicators, AMissingRankIsNamedAfterTheTimeout) {
  if (world() == 1) GTEST_SKIP() << "needs several ranks";
  const Clique clique;
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  largest(0);
  set_nccl_timeout(0.3);
  set_faults("rank=1:nccl-skip@1");
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  if (rank() == 1) {
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess) << "it has issued nothing";
  } else {
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaErrorLaunchFailure);
    EXPECT_THAT(cudaGetErrorString(cudaErrorLaunchFailure),
                AllOf(HasSubstr("#1 AllReduce of 10 f32, sum"), HasSubstr("for rank(s) 1")));
  }
}

TEST_F(NcclCommunicators, AbortEndsWhatCannotFinish) {
  if (world() == 1) GTEST_SKIP() << "needs several ranks";
  const Clique clique;
  set_faults("rank=1:nccl-skip@1");
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  if (rank() != 1) {
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  ASSERT_EQ(ncclCommAbort(clique), ncclSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(ncclCommAbort(clique), ncclInvalidArgument);
  // A new communicator works on the same devices.
  const Clique second;
  ASSERT_EQ(all_reduce(data_, second, stream_), ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(data_.read()[0], static_cast<float>(world()));
}

TEST_F(NcclCommunicators, AnInjectedAsyncErrorShowsAndNeverCompletes) {
  const Clique clique;
  set_faults("nccl-async@2");
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(clique.error(), ncclSuccess);
  ASSERT_EQ(all_reduce(data_, clique, stream_), ncclSuccess);
  EXPECT_EQ(clique.error(), ncclRemoteError);
  EXPECT_THAT(ncclGetLastError(clique), HasSubstr("injected"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
  EXPECT_EQ(all_reduce(data_, clique, stream_), ncclRemoteError);
  ASSERT_EQ(ncclCommAbort(clique), ncclSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
}

}  // namespace
}  // namespace plumb::emulation
