// The communicator of a test program that runs under mpirun; made once by ranks_main.cpp.
#pragma once

#include "comm/communicator.h"

namespace plumb::test {

Communicator& ranks();

/// What PLUMB_TEST_SUM_PATH says: nothing chosen; memory that the ranks of a host share; ranks that share
/// none.
enum class Path { Unchosen, Shared, Alone };
Path path();
/// PLUMB_TEST_HOSTS: rank r says that it is on "host r % so many"; 0 where it says the truth.
int pretended_hosts();

}  // namespace plumb::test
