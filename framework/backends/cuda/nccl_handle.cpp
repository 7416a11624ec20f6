#include "backends/cuda/nccl_handle.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "backends/cuda/library_check.h"
#include "backends/cuda/nccl_check.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Rank 0's identifier; its failure is a failure of all, so that none waits for the others.
ncclUniqueId shared_identifier(Communicator& host) {
  static_assert(sizeof(ncclUniqueId) % sizeof(std::int32_t) == 0);
  std::array<std::int32_t, 1 + sizeof(ncclUniqueId) / sizeof(std::int32_t)> words{};
  ncclUniqueId identifier{};
  ncclResult_t code = ncclSuccess;
  if (host.rank() == 0) {
    code = ncclGetUniqueId(&identifier);
    words[0] = code == ncclSuccess ? 1 : 0;
    std::memcpy(&words[1], &identifier, sizeof identifier);
  }
  host.broadcast("NCCL identifier", Tensor(words.data(), DType::Int32, {std::ssize(words)}), 0);
  check_nccl(code, "ncclGetUniqueId(&identifier)", __FILE__, __LINE__);
  PLUMB_CHECK(words[0] == 1, "rank 0 could not start NCCL; see its message");
  std::memcpy(&identifier, &words[1], sizeof identifier);
  return identifier;
}

}  // namespace

NcclHandle::NcclHandle(Communicator& host) {
  // Sums in the switches (NVLink SHARP) may differ between two calls with the same operands, as NCCL's
  // authors say (github.com/NVIDIA/nccl/issues/1497); a run has the same bits every time. Who wants them for
  // speed sets the variable.
  static_cast<void>(setenv("NCCL_NVLS_ENABLE", "0", /*overwrite=*/0));
  const ncclUniqueId identifier = shared_identifier(host);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  try {
    PLUMB_NCCL(ncclCommInitRankConfig(&communicator_, host.world(), identifier, host.rank(), &config));
    wait_until_ready("ncclCommInitRankConfig(...)", host.deadline());
  } catch (...) {
    abort();
    throw;
  }
}

NcclHandle::~NcclHandle() { static_cast<void>(abort()); }

ncclResult_t NcclHandle::state() const {
  ncclResult_t state = ncclSuccess;
  PLUMB_NCCL(ncclCommGetAsyncError(communicator_, &state));
  return state;
}

void NcclHandle::wait_until_ready(const char* what, double deadline) {
  const auto start = Clock::now();
  for (;;) {
    const ncclResult_t now = state();
    if (now == ncclSuccess) return;
    check_nccl(now, what, __FILE__, __LINE__);
    if (seconds_since(start) > deadline) {
      fail_library(
          "NCCL",
          fmt::format("not through after {} s; do all ranks see each other's network? (NCCL_SOCKET_IFNAME, "
                      "docs/cluster.md)",
                      deadline),
          "; NCCL_DEBUG=INFO says more", what, __FILE__, __LINE__);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
}

void NcclHandle::finish(double deadline) {
  PLUMB_NCCL(ncclCommFinalize(communicator_));
  wait_until_ready("ncclCommFinalize(communicator_)", deadline);
  PLUMB_NCCL(ncclCommDestroy(std::exchange(communicator_, nullptr)));
}

bool NcclHandle::abort() {
  constexpr double kPatience = 10;
  if (communicator_ == nullptr) return true;
  // ncclCommAbort can itself hang (github.com/NVIDIA/nccl/issues/1013), and then nobody would read why the
  // run has ended: it gets a thread of its own.
  auto done = std::make_shared<std::atomic<bool>>(false);
  std::thread([communicator = std::exchange(communicator_, nullptr), done] {
    static_cast<void>(ncclCommAbort(communicator));
    done->store(true);
  }).detach();
  const auto start = Clock::now();
  while (!done->load() && seconds_since(start) < kPatience) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return done->load();
}

}  // namespace plumb::cuda
