#include "cores.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <fstream>

namespace plumb {
namespace {

constexpr int kWordBits = 64;

/// The first number of the list file; the processor itself where there is none.
int first_sibling(int processor, const std::filesystem::path& system) {
  std::ifstream file(system / ("cpu" + std::to_string(processor)) / "topology" / "thread_siblings_list");
  int first = processor;
  if (!(file >> first) || first < 0) return processor;
  return first;
}

std::vector<std::int64_t> bits_of(const std::vector<int>& cores, std::int64_t words) {
  std::vector<std::int64_t> bits(static_cast<std::size_t>(words), 0);
  for (const int core : cores) {
    bits[static_cast<std::size_t>(core / kWordBits)] |=
        static_cast<std::int64_t>(std::uint64_t{1} << (core % kWordBits));
  }
  return bits;
}

std::vector<int> cores_in(const std::int64_t* bits, std::int64_t words) {
  std::vector<int> cores;
  for (int core = 0; core < words * kWordBits; ++core) {
    const auto word = static_cast<std::uint64_t>(bits[core / kWordBits]);
    if ((word >> (core % kWordBits) & 1) != 0) cores.push_back(core);
  }
  return cores;
}

}  // namespace

std::vector<int> allowed_processors() {
  // The kernel refuses a mask that is shorter than its own, whose length it does not tell.
  for (int bits = 1024; bits <= 1 << 20; bits *= 2) {
    std::vector<std::uint64_t> mask(static_cast<std::size_t>(bits / kWordBits), 0);
    const std::size_t bytes = mask.size() * sizeof(std::uint64_t);
    auto* set = reinterpret_cast<cpu_set_t*>(mask.data());
    if (sched_getaffinity(0, bytes, set) != 0) {
      if (errno == EINVAL) continue;
      break;
    }
    std::vector<int> processors;
    for (int n = 0; n < bits; ++n) {
      if (CPU_ISSET_S(static_cast<std::size_t>(n), bytes, set)) processors.push_back(n);
    }
    if (!processors.empty()) return processors;
    break;
  }
  return {0};
}

std::vector<int> cores_of(const std::vector<int>& processors, const std::filesystem::path& system) {
  std::vector<int> cores;
  for (const int processor : processors) cores.push_back(first_sibling(processor, system));
  std::sort(cores.begin(), cores.end());
  cores.erase(std::unique(cores.begin(), cores.end()), cores.end());
  return cores;
}

int fair_threads(const std::vector<std::vector<int>>& ranks, std::size_t mine) {
  double share = 0;
  for (const int core : ranks[mine]) {
    const auto users = std::count_if(ranks.begin(), ranks.end(), [&](const std::vector<int>& cores) {
      return std::find(cores.begin(), cores.end(), core) != cores.end();
    });
    share += 1.0 / static_cast<double>(users);
  }
  // Three thirds must make one.
  return std::max(1, static_cast<int>(share + 1e-6));
}

int fair_threads(Communicator& communicator, const std::vector<int>& cores) {
  std::int64_t words = *std::max_element(cores.begin(), cores.end()) / kWordBits + 1;
  communicator.all_reduce("number of cores", Tensor(&words, DType::Int64, {1}), ReduceOp::Max);
  std::vector<std::int64_t> own = bits_of(cores, words);
  std::vector<std::int64_t> all(own.size() * static_cast<std::size_t>(communicator.world()));
  communicator.all_gather("cores", Tensor(own.data(), DType::Int64, {words}),
                          Tensor(all.data(), DType::Int64, {communicator.world(), words}));
  const auto& hosts = communicator.hosts();
  const auto me = static_cast<std::size_t>(communicator.rank());
  std::vector<std::vector<int>> ranks;
  std::size_t mine = 0;
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
    if (hosts[rank] != hosts[me]) continue;
    if (rank == me) mine = ranks.size();
    ranks.push_back(cores_in(all.data() + rank * own.size(), words));
  }
  return fair_threads(ranks, mine);
}

std::vector<std::string> distinct_hosts(const std::vector<std::string>& host_of_rank) {
  std::vector<std::string> distinct;
  for (const std::string& host : host_of_rank) {
    if (!host.empty() && std::find(distinct.begin(), distinct.end(), host) == distinct.end())
      distinct.push_back(host);
  }
  return distinct;
}

}  // namespace plumb
