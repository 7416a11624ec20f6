// The planning backend: another backend's contracts with memory that is only counted, so that a run can be
// built as training builds it, whatever its size, to see what it takes.
#pragma once

#include <memory>

#include "backend/loader.h"

namespace plumb {

/// Allocations are address space that nobody touches; memory_use() counts them as the inner backend would.
/// Workspaces are those that the inner backend asks for. The ops that constructors issue (fills, copies) and
/// uploads do nothing; no other op may be issued. A device's communicator is a PlannedCommunicator with the
/// ranks of the host's.
std::unique_ptr<PlannedMemory> make_planning_backend(std::unique_ptr<Backend> inner);

}  // namespace plumb
