// Counts what the calling thread takes from operator new (all forms but the aligned ones, which nothing here
// uses).
#pragma once

#include <cstdint>

namespace plumb::test {

std::int64_t allocations_of_this_thread();

}  // namespace plumb::test
