#include "gpu_findings.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "backends/cuda/cudnn_versions.h"

namespace plumb {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) {
    const std::size_t first = part.find_first_not_of(" \t"), last = part.find_last_not_of(" \t\r");
    parts.push_back(first == std::string::npos ? "" : part.substr(first, last - first + 1));
  }
  return parts;
}

/// "13.0" of 13000, as CUDA counts.
std::string cuda_version(long number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

void add_driver(const GpuHost& host, std::vector<Finding>& findings) {
  if (host.driver.driver_version == 0) {
    findings.push_back({Grade::Note, "GPU", host.absence, "training runs on the CPU until then"});
    return;
  }
  findings.push_back(
      {Grade::Good, "NVIDIA driver", "for CUDA " + cuda_version(host.driver.driver_version), ""});
  if (host.driver.driver_version / 1000 < host.compiled.runtime / 1000) {
    findings.push_back(
        {Grade::Problem, "CUDA",
         fmt::format("the driver is for CUDA {}, this build was compiled with CUDA {}",
                     cuda_version(host.driver.driver_version), cuda_version(host.compiled.runtime)),
         "update the driver, or build with the toolkit of its version"});
  }
  if (!host.absence.empty()) findings.push_back({Grade::Problem, "GPU", host.absence, ""});
}

/// One line per GPU from nvidia-smi; what is asked for is in this order.
constexpr const char* kQuery =
    "nvidia-smi --query-gpu=index,name,compute_cap,memory.total,clocks.sm,clocks.max.sm,persistence_mode "
    "--format=csv,noheader,nounits";
enum Column { kIndex, kName, kCapability, kMemory, kClock, kHighestClock, kPersistence, kColumns };

void add_device(const GpuHost& host, const std::vector<std::string>& row, std::vector<Finding>& findings) {
  const std::string subject = "GPU " + row[kIndex];
  std::string architecture = row[kCapability];
  std::erase(architecture, '.');
  const std::vector<std::string> built = split(host.architectures, ';');
  const bool runs = std::find(built.begin(), built.end(), architecture) != built.end();
  findings.push_back(
      {runs ? Grade::Good : Grade::Problem, subject,
       fmt::format("{}, {} MiB, sm_{}, {} of {} MHz now", row[kName], row[kMemory], architecture, row[kClock],
                   row[kHighestClock]),
       runs ? ""
            : fmt::format("this build is for sm {}: build with -DPLUMB_CUDA_ARCHITECTURES={}",
                          host.architectures.empty() ? "(none)" : host.architectures, architecture)});
  if (row[kPersistence] == "Disabled") {
    findings.push_back({Grade::Note, subject, "persistence mode is off: the first CUDA call takes seconds",
                        "nvidia-smi -pm 1"});
  }
}

void add_devices(const GpuHost& host, std::vector<Finding>& findings) {
  if (host.driver.devices == 0) return;
  const auto table = host.run(kQuery);
  if (!table) {
    findings.push_back({Grade::Note, "nvidia-smi", "does not answer: clocks and memory are not known",
                        "install the driver's tools (Debian: nvidia-smi)"});
    return;
  }
  for (const std::string& line : split(*table, '\n')) {
    const std::vector<std::string> row = split(line, ',');
    if (row.size() == kColumns) add_device(host, row, findings);
  }
}

struct Library {
  const char* subject;
  const char* file;
  const char* function;
  long CudaVersions::*compiled;
};

const Library kLibraries[] = {
    {"cuBLASLt", "libcublasLt.so.13", "cublasLtGetVersion", &CudaVersions::cublaslt},
    {"cuDNN", "libcudnn.so.9", "cudnnGetVersion", &CudaVersions::cudnn},
    {"NCCL", "libnccl.so.2", "ncclGetVersion", &CudaVersions::nccl},
};

/// "13.1.0" of 130100: all three count alike.
std::string library_version(long number) {
  return fmt::format("{}.{}.{}", number / 10000, number % 10000 / 100, number % 100);
}

Finding finding_of(const Library& library, long version, long compiled) {
  Finding finding{Grade::Good, library.subject, library_version(version), ""};
  if (version < compiled) {
    finding.verdict = Grade::Note;
    finding.text +=
        fmt::format(", older than {}, which this build was compiled with", library_version(compiled));
    finding.fix = "update it, or take the older copy out of LD_LIBRARY_PATH";
  }
  return finding;
}

/// What compute.attention makes of a cuDNN that is not among those whose attention was tried.
void add_cudnn_range(long version, std::vector<Finding>& findings) {
  if (cuda::takes_cudnn(version)) return;
  findings.push_back(
      {Grade::Note, "cuDNN",
       fmt::format(
           "{} is not among {} to {}, whose attention is used: compute.attention = \"auto\" falls back to "
           "own kernels, \"library\" is an error",
           library_version(version), library_version(cuda::kOldestCudnn),
           library_version(cuda::kFirstUnknownCudnn - 1)),
       "install a version among them"});
}

void add_libraries(const GpuHost& host, std::vector<Finding>& findings) {
  const bool needed = host.driver.devices > 0 || !host.architectures.empty();
  for (const Library& library : kLibraries) {
    const auto version = host.library_version(library.file, library.function);
    if (version) {
      findings.push_back(finding_of(library, *version, host.compiled.*library.compiled));
      if (library.compiled == &CudaVersions::cudnn) add_cudnn_range(*version, findings);
    } else if (needed) {
      findings.push_back({Grade::Problem, library.subject, fmt::format("{} cannot be opened", library.file),
                          "install it with the CUDA toolkit, or add its folder to LD_LIBRARY_PATH"});
    }
  }
}

void add_interconnect(const GpuHost& host, std::vector<Finding>& findings) {
  if (host.driver.devices > 1) {
    const auto topology = host.run("nvidia-smi topo -m");
    const bool nvlink =
        topology && topology->find("NV") != std::string::npos &&
        topology->find_first_of("0123456789", topology->find("NV")) == topology->find("NV") + 2;
    findings.push_back(
        {nvlink ? Grade::Good : Grade::Note, "NVLink",
         nvlink ? "the GPUs of this host are connected by it" : "none seen: GPUs talk over PCIe",
         nvlink ? "" : "look at `nvidia-smi topo -m` and `nvidia-smi nvlink -s`"});
  }
  std::string active, down;
  for (const std::string& adapter : host.list("/sys/class/infiniband")) {
    const std::string state = host.read("/sys/class/infiniband/" + adapter + "/ports/1/state");
    std::string& list = state.find("ACTIVE") != std::string::npos ? active : down;
    list += (list.empty() ? "" : ", ") + adapter;
  }
  if (!active.empty()) findings.push_back({Grade::Good, "InfiniBand", active, ""});
  if (!down.empty())
    findings.push_back(
        {Grade::Problem, "InfiniBand", down + " not active", "look at `ibstat`; NCCL falls back to TCP"});
  if (!active.empty() && host.locked_memory_limit != RLIM_INFINITY) {
    findings.push_back(
        {Grade::Problem, "locked memory",
         fmt::format("limit {} KiB: InfiniBand cannot register buffers", host.locked_memory_limit / 1024),
         "ulimit -l unlimited (Slurm: PropagateResourceLimitsExcept=MEMLOCK)"});
  }
}

}  // namespace

std::vector<Finding> gpu_findings(const GpuHost& host) {
  std::vector<Finding> findings;
  add_driver(host, findings);
  add_devices(host, findings);
  add_libraries(host, findings);
  add_interconnect(host, findings);
  if (host.emulation) {
    findings.push_back({Grade::Good, "emulated GPU",
                        "device = \"cuda-emulated\" runs the CUDA backend's code on the CPU, for tests", ""});
  }
  return findings;
}

}  // namespace plumb
