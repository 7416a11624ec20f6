// The world of several ranks. A build without MPI has another source file for it (no_mpi_world.cpp), which
// refuses.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "comm/bootstrap.h"

namespace plumb {

/// For a launch of more than one rank; see make_communicator. `world_variable`: where the launcher says how
/// many ranks there are.
std::unique_ptr<Communicator> make_mpi_communicator(const Launch& launch, const std::string& host,
                                                    std::string_view world_variable,
                                                    const CommunicatorOptions& options);

}  // namespace plumb
