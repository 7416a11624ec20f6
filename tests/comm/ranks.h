// The communicator of a test program that runs under mpirun; made once by ranks_main.cpp.
#pragma once

#include "comm/communicator.h"

namespace plumb::test {

Communicator& ranks();

}  // namespace plumb::test
