// From a process to a communicator: what started this process, how many of us there are, and how all of us
// leave together.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "core/error.h"

namespace plumb {

enum class Launcher { None, OpenMpi, ProcessManagementInterface, Slurm };

/// What the environment says. Without a launcher: one rank.
struct Launch {
  Launcher launcher = Launcher::None;
  int rank = 0, world = 1;
  int local_rank = 0, local_size = 1;  ///< among the ranks of this host; for a thread count that fits

  /// "mpirun (Open MPI)", "PMI", "Slurm", "none".
  std::string_view launcher_name() const;
};

/// Reads OMPI_COMM_WORLD_* (Open MPI's mpirun), PMI_* with MPI_LOCAL* (MPICH and its kin), SLURM_* of a job
/// step (srun; not those of a batch script, which every program in it sees). InputError when a number does
/// not parse or a rank is not in its world.
Launch detect_launch();
/// The same with another source of variables, which returns null for what is not set.
Launch detect_launch(const std::function<const char*(const char* name)>& variable);

struct CommunicatorOptions {
  double deadline = Communicator::kDefaultDeadline;  ///< seconds
  int requests = 64;                                 ///< asynchronous operations at a time
  std::string host{};                                ///< name of this host; empty: what the system says
};

/// Sets core's process identity. A launch of one rank gives a LocalCommunicator and never starts MPI; any
/// other starts MPI, which runs until the communicator is destroyed (see MpiSession for failures). InputError
/// when MPI's world is not the launcher's: N jobs of one rank, which would each train alone. Once per
/// process.
std::unique_ptr<Communicator> make_communicator(const Launch& launch,
                                                const CommunicatorOptions& options = {});

/// Ends every rank of the job with this exit code, at once; returns when MPI is not running in this process.
/// For main(), after an error that the other ranks do not know of.
void abort_all_ranks(int exit_code);

/// A failed rank and what it had to say.
struct RankFailure {
  int rank = 0;
  std::string text;
};

/// All ranks meet here (a collective). Each passes the text of its own failure, or an empty one; all get the
/// failures of all ranks in rank order, empty when there is none. For start-up, where bad input on any
/// rank must make all of them leave together: when the list is not empty rank 0 prints failure_line(), and
/// every rank returns status 2 by the normal way.
std::vector<RankFailure> agree_on_failure(Communicator& communicator, std::string_view own_failure);

/// One line for the user: the failures' common text, or the first one with its rank and host and the number
/// of further ones. Precondition: there is a failure.
std::string failure_line(const std::vector<RankFailure>& failures, const Communicator& communicator);

}  // namespace plumb
