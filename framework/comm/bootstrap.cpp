#include "comm/bootstrap.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "comm/gather_texts.h"
#include "comm/local_communicator.h"
#include "comm/mpi_world.h"
#include "core/error.h"

namespace plumb {
namespace {
using Variables = std::function<const char*(const char* name)>;

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

int number(const Variables& variable, const char* name, int missing) {
  const char* text = variable(name);
  if (text == nullptr) return missing;
  const char* end = text + std::strlen(text);
  int value = 0;
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || stop != end || value < 0) {
    fail_input(
        "environment variable {}='{}' is not a number; it is the launcher's to set: start a new shell, or "
        "unset it to run a single process",
        name, text);
  }
  return value;
}

/// The tasks on node `node` of a list such as "2(x3),1": three nodes with 2 tasks, then one with 1. 1 when
/// the list does not tell.
int tasks_on_node(std::string_view list, int node) {
  while (!list.empty()) {
    const std::string_view entry = list.substr(0, list.find(','));
    list.remove_prefix(std::min(entry.size() + 1, list.size()));
    int tasks = 0, nodes = 1;
    const auto [stop, error] = std::from_chars(entry.data(), entry.data() + entry.size(), tasks);
    if (error != std::errc{}) return 1;
    const std::string_view rest = entry.substr(static_cast<std::size_t>(stop - entry.data()));
    if (rest.starts_with("(x")) std::from_chars(rest.data() + 2, rest.data() + rest.size(), nodes);
    if (node < nodes) return tasks;
    node -= nodes;
  }
  return 1;
}

std::string_view world_variable(Launcher launcher) {
  switch (launcher) {
    case Launcher::OpenMpi:
      return "OMPI_COMM_WORLD_SIZE";
    case Launcher::ProcessManagementInterface:
      return "PMI_SIZE";
    case Launcher::Slurm:
      return "SLURM_STEP_NUM_TASKS";
    case Launcher::None:
      break;
  }
  return "none";
}

}  // namespace

std::string_view Launch::launcher_name() const {
  switch (launcher) {
    case Launcher::OpenMpi:
      return "mpirun (Open MPI)";
    case Launcher::ProcessManagementInterface:
      return "PMI";
    case Launcher::Slurm:
      return "Slurm";
    case Launcher::None:
      break;
  }
  return "none";
}

Launch detect_launch() {
  return detect_launch([](const char* name) -> const char* { return std::getenv(name); });
}

Launch detect_launch(const Variables& variable) {
  Launch launch;
  // Slurm comes last: inside an allocation mpirun starts its daemons as a job step, and ranks inherit that
  // step's variables.
  if (variable("OMPI_COMM_WORLD_SIZE") != nullptr) {
    launch = {Launcher::OpenMpi, number(variable, "OMPI_COMM_WORLD_RANK", 0),
              number(variable, "OMPI_COMM_WORLD_SIZE", 1), number(variable, "OMPI_COMM_WORLD_LOCAL_RANK", 0),
              number(variable, "OMPI_COMM_WORLD_LOCAL_SIZE", 1)};
  } else if (variable("PMI_SIZE") != nullptr && variable("PMI_RANK") != nullptr) {
    launch = {Launcher::ProcessManagementInterface, number(variable, "PMI_RANK", 0),
              number(variable, "PMI_SIZE", 1), number(variable, "MPI_LOCALRANKID", 0),
              number(variable, "MPI_LOCALNRANKS", 1)};
  } else if (variable("SLURM_STEP_NUM_TASKS") != nullptr && variable("SLURM_PROCID") != nullptr) {
    const char* tasks = variable("SLURM_STEP_TASKS_PER_NODE");
    launch = {Launcher::Slurm, number(variable, "SLURM_PROCID", 0),
              number(variable, "SLURM_STEP_NUM_TASKS", 1), number(variable, "SLURM_LOCALID", 0),
              tasks == nullptr ? 1 : tasks_on_node(tasks, number(variable, "SLURM_NODEID", 0))};
  }
  launch.local_size = std::max(launch.local_size, 1);
  if (launch.rank >= launch.world) {
    fail_input(
        "the environment names rank {} in a world of {} ({}={}): it is the launcher's to set: start a new "
        "shell, or unset it to run a single process",
        launch.rank, launch.world, world_variable(launch.launcher), launch.world);
  }
  return launch;
}

std::unique_ptr<Communicator> make_communicator(const Launch& launch, const CommunicatorOptions& options) {
  const std::string host = options.host.empty() ? host_name() : options.host;
  set_process_identity({host, launch.rank, launch.world});
  if (launch.world == 1) {
    auto local = std::make_unique<LocalCommunicator>(host);
    local->set_deadline(options.deadline);
    return local;
  }
  return make_mpi_communicator(launch, host, world_variable(launch.launcher), options);
}

std::vector<RankFailure> agree_on_failure(Communicator& communicator, std::string_view own_failure) {
  const std::vector<std::string> texts = gather_texts(communicator, "failures", own_failure);
  std::vector<RankFailure> failures;
  for (std::size_t rank = 0; rank < texts.size(); ++rank)
    if (!texts[rank].empty()) failures.push_back({static_cast<int>(rank), texts[rank]});
  return failures;
}

std::string failure_line(const std::vector<RankFailure>& failures, const Communicator& communicator) {
  PLUMB_CHECK(!failures.empty(), "there is no failure to describe");
  const RankFailure& first = failures.front();
  const bool alike = std::all_of(failures.begin(), failures.end(),
                                 [&](const RankFailure& failure) { return failure.text == first.text; });
  if (alike && static_cast<int>(failures.size()) == communicator.world()) return first.text;
  std::string line = fmt::format("{} (rank {} of {}, host {}", first.text, first.rank, communicator.world(),
                                 communicator.hosts()[static_cast<std::size_t>(first.rank)]);
  if (failures.size() > 1) {
    line += fmt::format("; {} more rank{} failed {}", failures.size() - 1, failures.size() == 2 ? "" : "s",
                        alike ? "alike" : "too");
  }
  return line + ")";
}

}  // namespace plumb
