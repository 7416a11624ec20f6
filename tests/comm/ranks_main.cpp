// Runs GoogleTest on every rank: rank 0 reports as usual, the others only their failures, and all return the
// worst result.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "comm/bootstrap.h"
#include "core/error.h"
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

Path path() {
  const char* text = std::getenv("PLUMB_TEST_SUM_PATH");
  if (text == nullptr) return Path::Unchosen;
  return std::string(text) == "shared" ? Path::Shared : Path::Alone;
}

int pretended_hosts() {
  const char* text = std::getenv("PLUMB_TEST_HOSTS");
  return text == nullptr ? 0 : std::atoi(text);
}
}  // namespace plumb::test

int main(int argc, char** argv) {
  using namespace plumb;
  testing::InitGoogleTest(&argc, argv);
  try {
    const Launch launch = detect_launch();
    const int hosts = test::pretended_hosts();
    const std::string host = hosts > 0 ? "host " + std::to_string(launch.rank % hosts) : "";
    test::communicator = make_communicator(launch, {.deadline = 60, .requests = 4, .host = host});
    if (test::path() != test::Path::Unchosen) {
      const std::string absence = test::ranks().choose_sum_path(
          {.shared_memory = test::path() == test::Path::Shared, .rounding = true});
      if (!absence.empty()) fail("no shared memory: {}", absence);
    }
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
