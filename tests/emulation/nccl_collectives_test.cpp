// Results of the emulated NCCL collectives, on one rank and on several.
#include <cmath>
#include <functional>

#include "clique.h"
#include "core/dtype.h"

namespace plumb::emulation {
namespace {

/// What rank r holds at position i, small enough for every type.
template <class T>
T value_of(int r, std::size_t i) {
  return T(static_cast<float>((i * 7 + static_cast<std::size_t>(r) * 5) % 11 + 1));
}

template <class T>
std::vector<T> values_of(int r, std::size_t count) {
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = value_of<T>(r, i);
  return values;
}

template <class T>
double number(T value) {
  if constexpr (std::is_class_v<T>)
    return static_cast<float>(value);
  else
    return static_cast<double>(value);
}

/// In float64 over all ranks; the values are such that sums are exact in every type for a few ranks.
template <class T>
double reduced(ncclRedOp_t operation, std::size_t i) {
  double result = number(value_of<T>(0, i));
  for (int r = 1; r < world(); ++r) {
    const double value = number(value_of<T>(r, i));
    result = operation == ncclMax   ? std::max(result, value)
             : operation == ncclMin ? std::min(result, value)
                                    : result + value;
  }
  if (operation == ncclAvg) result /= world();
  return std::is_integral_v<T> ? std::floor(result) : result;
}

class NcclCollectives : public EmulatedRank {
 protected:
  template <class T>
  void check_all_reduce(ncclDataType_t type, double tolerance) {
    for (const std::size_t count : {1U, 7U, 1000U}) {
      for (const ncclRedOp_t operation : {ncclSum, ncclAvg, ncclMax, ncclMin}) {
        const DeviceArray<T> send(values_of<T>(rank(), count)), receive(count);
        ASSERT_EQ(ncclAllReduce(send.data(), receive.data(), count, type, operation, clique_, stream_),
                  ncclSuccess);
        ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
        const std::vector<T> found = receive.read();
        for (std::size_t i = 0; i < count; ++i) {
          const double expected = reduced<T>(operation, i);
          ASSERT_NEAR(number(found[i]), expected, operation == ncclAvg ? tolerance * expected : 0) << i;
        }
      }
    }
  }

  Clique clique_;
  StreamHandle stream_;
};

TEST_F(NcclCollectives, AllReduceOfEveryType) {
  check_all_reduce<float>(ncclFloat32, 1e-6);
  check_all_reduce<double>(ncclFloat64, 1e-15);
  check_all_reduce<bfloat16>(ncclBfloat16, 1.0 / 64);
  check_all_reduce<float16>(ncclFloat16, 1.0 / 512);
  check_all_reduce<std::int32_t>(ncclInt32, 0);
  check_all_reduce<std::int64_t>(ncclInt64, 0);
  check_all_reduce<std::uint8_t>(ncclUint8, 0);
}

TEST_F(NcclCollectives, AllReduceInPlace) {
  const DeviceArray<float> data(values_of<float>(rank(), 100));
  ASSERT_EQ(ncclAllReduce(data.data(), data.data(), 100, ncclFloat32, ncclSum, clique_, stream_),
            ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(data.read()[42], reduced<float>(ncclSum, 42));
}

TEST_F(NcclCollectives, SumsOfNarrowTypesAreRoundedAtEveryRank) {
  // 256 + 1 is 256 in bfloat16; a sum in fp32 would give 258 from three ranks.
  const DeviceArray<bfloat16> data(std::vector<bfloat16>{bfloat16(rank() == 0 ? 256.0F : 1.0F)});
  ASSERT_EQ(ncclAllReduce(data.data(), data.data(), 1, ncclBfloat16, ncclSum, clique_, stream_), ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(static_cast<float>(data.read()[0]), 256.0F);
}

TEST_F(NcclCollectives, MaximaLoseANaNAsInNccl) {
  if (world() == 1) GTEST_SKIP() << "needs several ranks";
  const DeviceArray<float> data(std::vector<float>{rank() == 0 ? std::nanf("") : 3.0F, 1.0F});
  ASSERT_EQ(ncclAllReduce(data.data(), data.data(), 2, ncclFloat32, ncclMax, clique_, stream_), ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(data.read()[0], 3.0F);
}

TEST_F(NcclCollectives, ReduceScatterGivesEachRankItsPart) {
  const std::size_t count = 33, all = count * static_cast<std::size_t>(world());
  for (const bool in_place : {false, true}) {
    const DeviceArray<float> send(values_of<float>(rank(), all)), separate(count);
    const std::size_t begin = count * static_cast<std::size_t>(rank());
    float* receive = in_place ? send.data() + begin : separate.data();
    ASSERT_EQ(ncclReduceScatter(send.data(), receive, count, ncclFloat32, ncclSum, clique_, stream_),
              ncclSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    const std::vector<float> found = in_place ? send.read() : separate.read();
    for (std::size_t i = 0; i < count; ++i)
      ASSERT_EQ(found[in_place ? begin + i : i], reduced<float>(ncclSum, begin + i));
  }
}

TEST_F(NcclCollectives, AllGatherPutsRanksInOrder) {
  const std::size_t count = 21;
  for (const bool in_place : {false, true}) {
    const DeviceArray<std::int64_t> all(count * static_cast<std::size_t>(world()));
    const DeviceArray<std::int64_t> own(values_of<std::int64_t>(rank(), count));
    std::int64_t* slot = all.data() + count * static_cast<std::size_t>(rank());
    if (in_place) {
      ASSERT_EQ(cudaMemcpyAsync(slot, own.data(), own.bytes(), cudaMemcpyDeviceToDevice, stream_),
                cudaSuccess);
    }
    ASSERT_EQ(ncclAllGather(in_place ? slot : own.data(), all.data(), count, ncclInt64, clique_, stream_),
              ncclSuccess);
    ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    const std::vector<std::int64_t> found = all.read();
    for (int r = 0; r < world(); ++r) {
      for (std::size_t i = 0; i < count; ++i)
        ASSERT_EQ(found[static_cast<std::size_t>(r) * count + i], value_of<std::int64_t>(r, i));
    }
  }
}

TEST_F(NcclCollectives, BroadcastGivesAllRanksTheRootsValues) {
  const int root = world() - 1;
  const DeviceArray<std::uint8_t> send(values_of<std::uint8_t>(rank(), 50)), receive(50);
  ASSERT_EQ(ncclBroadcast(rank() == root ? send.data() : nullptr, receive.data(), 50, ncclUint8, root,
                          clique_, stream_),
            ncclSuccess);
  ASSERT_EQ(ncclBroadcast(send.data(), send.data(), 50, ncclUint8, root, clique_, stream_), ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(receive.read(), values_of<std::uint8_t>(root, 50));
  EXPECT_EQ(send.read(), values_of<std::uint8_t>(root, 50));
}

TEST_F(NcclCollectives, NothingIsSentForACountOfZero) {
  EXPECT_EQ(ncclAllReduce(nullptr, nullptr, 0, ncclFloat32, ncclSum, clique_, stream_), ncclSuccess);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
}

TEST_F(NcclCollectives, BuffersMustBeDeviceMemoryAndApart) {
  const DeviceArray<float> data(10);
  std::vector<float> host(10);
  const auto all_reduce = [&](const void* send, void* receive, std::size_t count) {
    return ncclAllReduce(send, receive, count, ncclFloat32, ncclSum, clique_, stream_);
  };
  EXPECT_EQ(all_reduce(host.data(), data.data(), 10), ncclInvalidArgument);
  EXPECT_THAT(ncclGetLastError(clique_), testing::HasSubstr("which is host memory"));
  EXPECT_EQ(all_reduce(data.data(), data.data(), 11), ncclInvalidArgument);
  EXPECT_EQ(all_reduce(data.data(), data.data() + 1, 9), ncclInvalidArgument) << "overlap";
  EXPECT_EQ(all_reduce(reinterpret_cast<char*>(data.data()) + 2, data.data(), 1), ncclInvalidArgument)
      << "misaligned";
  EXPECT_EQ(ncclBroadcast(data.data(), data.data(), 1, ncclFloat32, world(), clique_, stream_),
            ncclInvalidArgument);
  EXPECT_ANY_THROW(
      static_cast<void>(ncclAllReduce(data.data(), data.data(), 1, ncclFloat32, ncclProd, clique_, stream_)));
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess) << "nothing was put on the stream";
}

TEST_F(NcclCollectives, TwoCommunicatorsInDifferentOrdersDoNotBlockEachOther) {
  for (const char* schedule : {"eager", "lazy", "random:1", "random:2"}) {
    set_schedule(schedule);
    const Clique other;
    const StreamHandle second;
    const DeviceArray<float> a(std::vector<float>(10, 1.0F)), b(std::vector<float>(10, 2.0F));
    const auto on_first = [&] {
      ASSERT_EQ(ncclAllReduce(a.data(), a.data(), 10, ncclFloat32, ncclSum, clique_, stream_), ncclSuccess);
    };
    const auto on_second = [&] {
      ASSERT_EQ(ncclAllReduce(b.data(), b.data(), 10, ncclFloat32, ncclSum, other, second), ncclSuccess);
    };
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    if (rank() % 2 == 0) {
      on_first();
      on_second();
    } else {
      on_second();
      on_first();
    }
    ASSERT_EQ(cudaStreamSynchronize(rank() % 2 == 0 ? stream_ : second), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(a.read()[9], static_cast<float>(world()));
    EXPECT_EQ(b.read()[9], 2.0F * static_cast<float>(world()));
    ASSERT_EQ(ncclCommDestroy(other), ncclSuccess);
  }
}

TEST_F(NcclCollectives, ACapturedCollectiveRunsAtEveryReplay) {
  const DeviceArray<float> data(std::vector<float>(10, 1.0F));
  const StreamHandle other;
  const EventHandle forked, joined;
  ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(forked, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(other, forked, 0), cudaSuccess);
  for (int i = 0; i < 2; ++i)
    ASSERT_EQ(ncclAllReduce(data.data(), data.data(), 10, ncclFloat32, ncclSum, clique_, other), ncclSuccess);
  ASSERT_EQ(cudaEventRecord(joined, other), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(stream_, joined, 0), cudaSuccess);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(cudaGraphLaunch(executable, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(data.read()[0], std::pow(static_cast<float>(world()), 6.0F));
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
}

}  // namespace
}  // namespace plumb::emulation
