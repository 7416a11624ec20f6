#include "comm/mpi_world.h"

#include <array>
#include <cstdio>

#include "comm/mpi_check.h"
#include "comm/mpi_communicator.h"
#include "core/error.h"

namespace plumb {
namespace {

std::string library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING + 1> text{};
  int length = 0;
  PLUMB_MPI(MPI_Get_library_version(text.data(), &length));
  const std::string_view whole = text.data();
  return std::string(whole.substr(0, whole.find_first_of(",\n")));
}

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(const Launch& launch, const std::string& host,
                                                    std::string_view world_variable,
                                                    const CommunicatorOptions& options) {
  auto session = std::make_unique<MpiSession>();
  int world = 0;
  PLUMB_MPI(MPI_Comm_size(MPI_COMM_WORLD, &world));
  if (world != launch.world) {
    const std::string library = library_version();
    session.reset();  // before the exception: these jobs have nobody to wait for
    fail_input(
        "{0} announces {1} ranks ({2}={1}), but this process sees an MPI world of {3}{4}; this program is "
        "built "
        "with {5}: start it with that library's own mpirun, under Slurm with `srun --mpi=pmix`, or unset "
        "{2} to run a single process",
        launch.launcher_name(), launch.world, world_variable, world,
        world == 1 ? fmt::format(": {} one-rank jobs, each of which would train alone", launch.world) : "",
        library);
  }
  return std::make_unique<MpiCommunicator>(std::move(session), host, options.deadline, options.requests);
}

void abort_all_ranks(int exit_code) {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (!initialized || finalized) return;
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, exit_code);
}

}  // namespace plumb
