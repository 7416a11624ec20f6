// The part of `plumb doctor` about GPUs and what connects them. It looks at files and asks programs and
// libraries through GpuHost, so that it can be tested without any of them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backends/cuda_probe.h"
#include "cuda_versions.h"
#include "finding.h"

namespace plumb {

/// How the host is looked at.
struct GpuHost {
  CudaProbe driver;
  std::string absence;  ///< why device = "cuda" cannot be had (cuda_absence())
  bool emulation = false;
  std::string architectures;  ///< that the plug-in is built for, "80;90"; empty = no plug-in
  CudaVersions compiled;      ///< that the plug-in was compiled with
  /// Standard output of a command; nothing when it is not there or fails.
  std::function<std::optional<std::string>(const std::string& command)> run;
  /// Version number that a library's own function reports; nothing when it cannot be opened.
  std::function<std::optional<long>(const char* library, const char* function)> library_version;
  std::function<std::vector<std::string>(const std::string& folder)> list;
  std::function<std::string(const std::string& file)> read;
  unsigned long locked_memory_limit = 0;  ///< bytes; RLIM_INFINITY = none
};
/// The host of this process.
GpuHost this_gpu_host();

std::vector<Finding> gpu_findings(const GpuHost& host);

}  // namespace plumb
