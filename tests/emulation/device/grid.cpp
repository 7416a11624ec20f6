#include "grid.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "block_engine.h"
#include "shared_limit.h"

namespace plumb::emulation {
namespace {

/// Everything that outlives a launch. Engines keep their stacks: mapping them anew costs more than most
/// launches of the tests.
struct Device {
  std::mutex in_use;
  std::vector<std::unique_ptr<BlockEngine>> engines;
};
Device& device() {
  static Device one;
  return one;
}

/// Of two numbers of blocks.
__extension__ using Product = unsigned __int128;

thread_local std::string error_of_last_launch;

/// The order of blocks: forward, reverse, or with a random stride that meets every block once.
class BlockOrder {
 public:
  BlockOrder(const dim3& grid, const Settings& settings)
      : grid_(grid), blocks_(std::uint64_t{grid.x} * grid.y * grid.z) {
    if (settings.order == Order::Reverse) {
      start_ = blocks_ - 1;
      stride_ = blocks_ - 1;  // one back
    } else if (settings.order == Order::Random) {
      start_ = settings.seed * 0x9E3779B97F4A7C15U % blocks_;
      stride_ = start_ + 1;
      while (std::gcd(stride_, blocks_) != 1) ++stride_;
    }
  }
  std::uint64_t blocks() const { return blocks_; }
  uint3 operator()(std::uint64_t turn) const {
    const auto product = static_cast<Product>(stride_) * turn;
    const auto block = static_cast<std::uint64_t>((product + start_) % blocks_);
    return {static_cast<unsigned>(block % grid_.x), static_cast<unsigned>(block / grid_.x % grid_.y),
            static_cast<unsigned>(block / grid_.x / grid_.y)};
  }

 private:
  dim3 grid_;
  std::uint64_t blocks_, start_ = 0, stride_ = 1;
};

struct Run {
  const GridLaunch& launch;
  const std::function<void()>& thread_body;
  Settings how;
  BlockOrder order;
  std::atomic<std::uint64_t> turn{0};
  std::atomic<bool> failed{false};
};

void run_blocks(Run& run, BlockEngine& engine, unsigned worker) {
  engine.begin_launch(run.launch, run.thread_body, run.how, worker);
  for (;;) {
    const std::uint64_t turn = run.turn.fetch_add(1, std::memory_order_relaxed);
    if (turn >= run.order.blocks() || run.failed) break;
    if (!engine.run_block(run.order(turn))) run.failed = true;
  }
  engine.end_launch();
}

}  // namespace

std::string refusal(const GridLaunch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  const auto triple = [](const dim3& size) {
    return "(" + std::to_string(size.x) + "," + std::to_string(size.y) + "," + std::to_string(size.z) + ")";
  };
  const std::string name = std::string(launch.name) + ": ";
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || block.x > 1024 || block.y > 1024 || block.z > 64 || threads > kMaximumThreads)
    return name + "a block of " + triple(block) + " threads; at most (1024,1024,64) and 1024 in all";
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
    return name + "a grid of " + triple(grid) + " blocks; from (1,1,1) to (2147483647,65535,65535)";
  if (launch.shared_bytes > shared_bytes_limit()) {
    return name + std::to_string(launch.shared_bytes) + " bytes of dynamic shared memory; at most " +
           std::to_string(shared_bytes_limit());
  }
  return "";
}

bool run_grid(const GridLaunch& launch, const std::function<void()>& thread_body) {
  error_of_last_launch = refusal(launch);
  if (!error_of_last_launch.empty()) return false;
  const std::lock_guard lock(device().in_use);
  Run run{launch, thread_body, settings(), BlockOrder(launch.grid, settings())};
  const auto wanted = static_cast<std::uint64_t>(sanitizer::kSeveralWorkers ? run.how.workers : 1);
  const auto workers = static_cast<unsigned>(std::min(wanted, run.order.blocks()));
  auto& engines = device().engines;
  while (engines.size() < workers) engines.push_back(std::make_unique<BlockEngine>());
  std::vector<std::thread> others;
  for (unsigned worker = 1; worker < workers; ++worker)
    others.emplace_back([&run, &engines, worker] { run_blocks(run, *engines[worker], worker); });
  run_blocks(run, *engines[0], 0);
  for (std::thread& other : others) other.join();
  for (unsigned worker = 0; worker < workers && error_of_last_launch.empty(); ++worker)
    error_of_last_launch = engines[worker]->error();
  return error_of_last_launch.empty();
}

const std::string& last_error() { return error_of_last_launch; }

}  // namespace plumb::emulation
