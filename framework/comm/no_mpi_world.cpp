// A build with PLUMB_WITH_MPI=OFF: one rank only.
#include "comm/mpi_world.h"
#include "core/error.h"

namespace plumb {

std::unique_ptr<Communicator> make_mpi_communicator(const Launch& launch, const std::string&,
                                                    std::string_view world_variable,
                                                    const CommunicatorOptions&) {
  fail_input(
      "{} announces {} ranks ({}={}), but this program was built without MPI (PLUMB_WITH_MPI=OFF): build it "
      "with "
      "MPI, or unset {} to run a single process",
      launch.launcher_name(), launch.world, world_variable, launch.world, world_variable);
}

void abort_all_ranks(int) {}

}  // namespace plumb
