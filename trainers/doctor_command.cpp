// plumb doctor: what this machine and this launch offer, what is missing, how to get it.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "backend/loader.h"
#include "backends/cuda_probe.h"
#include "commands.h"
#include "core/error.h"
#include "cores.h"
#include "finding.h"
#include "gpu_findings.h"
#include "session.h"
#include "version.h"

namespace plumb {
namespace {

void report(Grade verdict, const std::string& subject, const std::string& finding,
            const std::string& fix = "") {
  const char* mark = verdict == Grade::Good ? "ok  " : verdict == Grade::Note ? "note" : "FIX ";
  fmt::print("{}  {:<17} {}\n", mark, subject, finding);
  if (!fix.empty()) fmt::print("      {:<17} -> {}\n", "", fix);
}

/// "MemAvailable:" and the like from /proc/meminfo, in GiB; 0 when unknown.
double memory_gib(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  std::string word;
  while (file >> word) {
    double value = 0;
    if (word == key + ":" && file >> value) return value / (1024 * 1024);
  }
  return 0;
}

bool on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const std::size_t end = rest.find(':');
    if (access((rest.substr(0, end) + "/" + program).c_str(), X_OK) == 0) return true;
    rest = end == std::string::npos ? "" : rest.substr(end + 1);
  }
  return false;
}

void report_backend(const std::string& name) {
  const auto backend = make_backend(name);
  const DeviceFacts facts = backend->facts();
  std::string dtypes;
  for (DType dtype : backend->compute_dtypes())
    dtypes += std::string(dtypes.empty() ? "" : ", ") + std::string(name_of(dtype));
  report(Grade::Good, "backend " + name, fmt::format("{}; compute.dtype {}", facts.name, dtypes));
  if (!facts.features.empty()) fmt::print("      {:<17} {}\n", "", fmt::join(facts.features, ", "));
}

void report_backends() {
  // A backend that does not start here is a finding, not the end of the report.
  for (const std::string& name : backend_names()) {
    if (name == "cuda-emulated") continue;  // a test tool, not something to train on
    try {
      report_backend(name);
    } catch (const std::exception& error) {
      report(Grade::Problem, "backend " + name, error.what());
    }
  }
  for (const Finding& finding : gpu_findings(this_gpu_host()))
    report(finding.verdict, finding.subject, finding.text, finding.fix);
}

void report_machine(const Session& session) {
  const std::vector<int> processors = allowed_processors();
  report(Grade::Good, "cores",
         fmt::format(
             "{} usable by this rank ({} of the machine's {} hardware threads); {} thread(s) per rank by "
             "default",
             cores_of(processors).size(), processors.size(), sysconf(_SC_NPROCESSORS_ONLN),
             session.default_thread_count()));
  report(memory_gib("MemAvailable") < 2 ? Grade::Problem : Grade::Good, "memory",
         fmt::format("{:.1f} of {:.1f} GiB available", memory_gib("MemAvailable"), memory_gib("MemTotal")),
         memory_gib("MemAvailable") < 2 ? "end other programs, or train a smaller model" : "");
  struct statvfs shared_memory = {};
  if (statvfs("/dev/shm", &shared_memory) == 0) {
    const double gib =
        static_cast<double>(shared_memory.f_bavail) * static_cast<double>(shared_memory.f_frsize) / (1 << 30);
    report(gib < 0.25 ? Grade::Problem : Grade::Good, "/dev/shm", fmt::format("{:.2f} GiB free", gib),
           gib < 0.25 ? "ranks of one host talk through it: start the container with --shm-size=1g" : "");
  } else {
    report(Grade::Problem, "/dev/shm", "is not there", "mount a tmpfs: ranks of one host talk through it");
  }
  struct rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  report(files.rlim_cur < 1024 ? Grade::Problem : Grade::Good, "open files",
         fmt::format("limit {}", files.rlim_cur), files.rlim_cur < 1024 ? "ulimit -n 4096" : "");
}

/// Open MPI wants both variables.
bool root_may_run_mpirun() {
  return std::getenv("OMPI_ALLOW_RUN_AS_ROOT") != nullptr &&
         std::getenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM") != nullptr;
}

void report_launch(Session& session) {
  const Launch& launch = session.launch();
  const std::vector<std::string> hosts = distinct_hosts(session.communicator().hosts());
  report(Grade::Good, "launch",
         fmt::format("{} rank(s) by {}{}{}", session.world(), launch.launcher_name(),
                     hosts.empty() ? "" : ", hosts ", fmt::join(hosts, ", ")));
  if (!on_path("mpirun")) {
    report(Grade::Problem, "mpirun", "not on PATH", "apt install openmpi-bin (launch/setup.sh does)");
  } else if (geteuid() == 0 && !root_may_run_mpirun()) {
    report(Grade::Note, "mpirun", "refuses to run as root",
           "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 (our scripts do), or use "
           "another user");
  } else {
    report(Grade::Good, "mpirun", "found");
  }
  report(
      Grade::Note, "stopping",
      "mpirun passes SIGTERM on after odls_base_sigkill_timeout seconds and kills as long again after that",
      "mpirun --mca odls_base_sigkill_timeout 10 (our scripts do), or send SIGUSR1, which it passes on at "
      "once");
}

void report_data() {
  const bool text = std::filesystem::exists("data/king-james.txt");
  report(text ? Grade::Good : Grade::Note, "sample text", text ? "data/king-james.txt" : "not here",
         text ? "" : "launch/setup.sh fetches it; the quick start goes on without");
}

}  // namespace

int run_doctor() {
  Session session;
  if (session.is_first()) {
    fmt::print("{}\n", version_text());
    report_machine(session);
    report_backends();
    report_launch(session);
    report_data();
  }
  session.communicator().barrier("doctor");
  return 0;
}

int run_gpu_count() {
  fmt::print("{}\n", probe_cuda().devices);
  return 0;
}

}  // namespace plumb
