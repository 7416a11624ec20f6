// Runs GoogleTest on every rank: rank 0 reports as usual, the others only their failures, and all return the
// worst result.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

#include "comm/bootstrap.h"
#include "ranks.h"

namespace plumb::test {
namespace {
std::unique_ptr<Communicator> communicator;

class FailuresOnly : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "[rank %d] %s:%d: %s\n", ranks().rank(), result.file_name(), result.line_number(),
                 result.message());
  }
};
}  // namespace

Communicator& ranks() { return *communicator; }
}  // namespace plumb::test

int main(int argc, char** argv) {
  using namespace plumb;
  testing::InitGoogleTest(&argc, argv);
  try {
    test::communicator = make_communicator(detect_launch(), {.deadline = 60, .requests = 4});
    if (test::ranks().rank() > 0) {
      auto& listeners = testing::UnitTest::GetInstance()->listeners();
      delete listeners.Release(listeners.default_result_printer());
      listeners.Append(new test::FailuresOnly);
    }
    std::int32_t result = RUN_ALL_TESTS();
    test::ranks().all_reduce("test result", Tensor(&result, DType::Int32, {1}), ReduceOp::Max);
    test::communicator.reset();
    return result;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    abort_all_ranks(1);
    return 1;
  }
}
