// Shared memory: what is in it, where it lies, and how much there is.
#include <gmock/gmock.h>

#include <cmath>

#include "device_test.h"
#include "kernels/faults.h"
#include "kernels/kernels.h"

namespace plumb::test {
namespace {

using testing::HasSubstr;

class SharedVariables : public InEveryOrder {};
PLUMB_IN_EVERY_ORDER(SharedVariables);

TEST_P(SharedVariables, AreNanUntilWrittenInEveryBlock) {
  std::vector<float> y(2 * 3 * 64, 0);
  run(dim3(3), dim3(64), 64 * sizeof(float), read_unwritten, y.data());
  for (const float one : y) ASSERT_TRUE(std::isnan(one));
}

TEST_P(SharedVariables, Alignment) {
  std::vector<unsigned> remainders(3, 99);
  run(dim3(1), dim3(32), 100, shared_alignments, remainders.data());
  EXPECT_EQ(remainders, std::vector<unsigned>(3, 0));
}

TEST_P(SharedVariables, DynamicUpToTheLimit) {
  for (const int bytes : {4, 4096, 48 * 1024, 48 * 1024 + 4, 227 * 1024}) {
    float sum = 0;
    run(dim3(1), dim3(64), static_cast<std::size_t>(bytes), fill_dynamic, bytes / 4, &sum);
    EXPECT_EQ(sum, static_cast<float>(bytes / 4));
  }
}

TEST(SharedMemory, WritesOutsideOfAVariableAreReported) {
  if (kAddressSanitizer) GTEST_SKIP() << "planted_bugs_test.cpp sees what it says";
  float sum = 0;
  EXPECT_EQ(error_of([&] { run(dim3(1), dim3(64), 64 * sizeof(float), fill_dynamic, 65, &sum); }),
            "test_kernel: block (0,0,0): dynamic shared memory (shared) was written to beyond its end");
  EXPECT_EQ(error_of([&] { run(dim3(2), dim3(64), 0, write_before_the_beginning); }),
            "test_kernel: block (0,0,0): values (shared) was written to before its beginning");
}

TEST(SharedMemory, StaticLimit) {
  float y = 0;
  run(dim3(1), dim3(1), 0, use_static<48 * 1024>, &y);
  EXPECT_EQ(y, 1);
  const std::string report = error_of([&] { run(dim3(1), dim3(1), 0, use_static<48 * 1024 + 1>, &y); });
  EXPECT_THAT(report, HasSubstr("test_kernel: block (0,0,0), thread (0,0,0): values (shared.cu:"));
  EXPECT_THAT(report, HasSubstr("a block needs 49153 bytes of static and 0 of dynamic shared memory; at most "
                                "49152 static and together 49152 are possible without asking for more"));
}

TEST(SharedMemory, StaticAndDynamicTogether) {
  float y = 0;
  run(dim3(1), dim3(1), 179 * 1024, use_static<48 * 1024>, &y);
  EXPECT_THAT(error_of([&] { run(dim3(1), dim3(1), 180 * 1024, use_static<48 * 1024>, &y); }),
              HasSubstr("49152 bytes of static and 184320 of dynamic"));
}

TEST(SharedMemory, WhatAKernelMayHaveOnlyRises) {
  float sum = 0;
  const auto* kernel = reinterpret_cast<const void*>(&fill_dynamic);
  run(dim3(1), dim3(64), 100 * 1024, fill_dynamic, 100 * 1024 / 4, &sum);
  const std::size_t allowed = allowed_shared_bytes(kernel);
  EXPECT_GE(allowed, 100u * 1024);
  run(dim3(1), dim3(64), 4096, fill_dynamic, 1024, &sum);
  EXPECT_EQ(allowed_shared_bytes(kernel), allowed) << "a recorded launch may still need it";
}

TEST(SharedMemory, ALaunchThatDoesNotAskHas48KilobytesOfBoth) {
  const auto report = [](std::size_t dynamic_bytes) {
    return error_of([&] {
      float y = 0;
      emulation::launch_kernel(nullptr, reinterpret_cast<const void*>(&use_static<1024>),
                               {"test_kernel", dim3(1), dim3(1), dynamic_bytes, /*asked_for_shared=*/false},
                               [&y] { use_static<1024>(&y); });
      finish_launch();
    });
  };
  EXPECT_EQ(report(47 * 1024), "");
  EXPECT_THAT(report(47 * 1024 + 1),
              HasSubstr("1024 bytes of static and 48129 of dynamic shared memory; at most "
                        "49152 static and together 49152 are possible without asking"));
}

}  // namespace
}  // namespace plumb::test
