// Cores: how many threads a rank should have, from what it and the other ranks of its host may run on.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace plumb {

/// Numbers of the logical processors (hardware threads) in this process's affinity mask, ascending; never
/// empty.
std::vector<int> allowed_processors();

/// The cores that these logical processors belong to, ascending, each once, however many of its hardware
/// threads are listed. A core is named by its first hardware thread, as <system>/cpu<N>/topology/
/// thread_siblings_list has it; a processor of which the kernel says nothing there is a core of its own.
std::vector<int> cores_of(const std::vector<int>& processors,
                          const std::filesystem::path& system = "/sys/devices/system/cpu");

/// Threads for ranks[mine], given the cores of every rank of a host: its cores, each counted as the k-th part
/// that it gets of a core shared by k ranks; rounded down, at least 1.
int fair_threads(const std::vector<std::vector<int>>& ranks, std::size_t mine);

/// fair_threads of this rank among the ranks of its host. A collective.
int fair_threads(Communicator& communicator, const std::vector<int>& cores);

/// Each host once, in the order of its first rank.
std::vector<std::string> distinct_hosts(const std::vector<std::string>& host_of_rank);

}  // namespace plumb
