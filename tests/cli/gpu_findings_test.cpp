// What `plumb doctor` says of GPUs, on hosts made up here.
#include "gpu_findings.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

namespace plumb {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// A host with two H100s, everything in order.
GpuHost good_host() {
  GpuHost host;
  host.driver = {.devices = 2, .driver_version = 13000, .reason = ""};
  host.architectures = "80;90";
  host.compiled = {.runtime = 13000, .cublaslt = 130100, .cudnn = 91900, .nccl = 22809};
  host.locked_memory_limit = RLIM_INFINITY;
  host.run = [](const std::string& command) -> std::optional<std::string> {
    if (command.find("topo") != std::string::npos) return "        GPU0    GPU1\nGPU0     X      NV18\n";
    return "0, NVIDIA H100 80GB HBM3, 9.0, 81559, 1980, 1980, Enabled\n"
           "1, NVIDIA H100 80GB HBM3, 9.0, 81559, 345, 1980, Enabled\n";
  };
  host.library_version = [](const char*, const char* function) -> std::optional<long> {
    const std::string name = function;
    return name == "cublasLtGetVersion" ? 130100 : name == "cudnnGetVersion" ? 91900 : 22809;
  };
  host.list = [](const std::string&) -> std::vector<std::string> { return {"mlx5_0"}; };
  host.read = [](const std::string&) -> std::string { return "4: ACTIVE"; };
  return host;
}

std::string problems(const GpuHost& host) {
  std::string list;
  for (const Finding& finding : gpu_findings(host)) {
    EXPECT_FALSE(finding.text.empty()) << finding.subject;
    if (finding.verdict == Grade::Good) continue;
    list += finding.subject + ": " + finding.text + " -> " + finding.fix + "\n";
  }
  return list;
}

std::string all(const GpuHost& host) {
  std::string list;
  for (const Finding& finding : gpu_findings(host)) list += finding.subject + ": " + finding.text + "\n";
  return list;
}

TEST(GpuFindings, AGoodHostHasNoProblems) {
  EXPECT_THAT(problems(good_host()), IsEmpty());
  EXPECT_THAT(all(good_host()),
              HasSubstr("GPU 1: NVIDIA H100 80GB HBM3, 81559 MiB, sm_90, 345 of 1980 MHz now"));
  EXPECT_THAT(all(good_host()), HasSubstr("cuDNN: 9.19.0"));
  EXPECT_THAT(all(good_host()), HasSubstr("NCCL: 2.28.9"));
}

TEST(GpuFindings, NoDriverIsANoteWithTheReason) {
  GpuHost host = good_host();
  host.driver = {.devices = 0, .driver_version = 0, .reason = "there is no NVIDIA driver"};
  host.absence = host.driver.reason;
  EXPECT_THAT(problems(host), HasSubstr("GPU: there is no NVIDIA driver"));
}

TEST(GpuFindings, ADriverIsComparedWithTheBuildWhateverLibrariesAreThere) {
  GpuHost host = good_host();
  host.driver.driver_version = 12040;
  host.library_version = [](const char*, const char*) -> std::optional<long> { return std::nullopt; };
  EXPECT_THAT(problems(host), HasSubstr("the driver is for CUDA 12.4"));
  host.compiled = {};  // no plug-in to be too new
  EXPECT_THAT(problems(host), Not(HasSubstr("the driver is for")));
  // Minor versions of one major version go together.
  host = good_host();
  host.compiled.runtime = 13010;
  EXPECT_THAT(problems(host), IsEmpty());
}

TEST(GpuFindings, ACudnnOutsideTheRangeIsNotPlainlyGood) {
  GpuHost host = good_host();
  long version = 0;
  host.library_version = [&](const char*, const char* function) {
    return std::string(function) == "cudnnGetVersion" ? std::optional(version)
                                                      : good_host().library_version("", function);
  };
  for (const long other : {91800L, 92300L, 100000L}) {
    version = other;
    host.compiled.cudnn = other;
    EXPECT_THAT(problems(host), AllOf(HasSubstr("is not among 9.18.1 to 9.22.99"),
                                      HasSubstr("\"auto\" falls back to own kernels")))
        << other;
  }
  for (const long taken : {91801L, 92299L}) {
    version = taken;
    host.compiled.cudnn = taken;
    EXPECT_THAT(problems(host), IsEmpty()) << taken;
  }
}

TEST(GpuFindings, ALibraryOlderThanTheBuildIsNamed) {
  GpuHost host = good_host();
  host.compiled = {.runtime = 13000, .cublaslt = 130101, .cudnn = 92000, .nccl = 22900};
  for (const char* line : {"cuBLASLt: 13.1.0, older than 13.1.1", "cuDNN: 9.19.0, older than 9.20.0",
                           "NCCL: 2.28.9, older than 2.29.0, which this build was compiled with -> update"})
    EXPECT_THAT(problems(host), HasSubstr(line));
}

TEST(GpuFindings, EachFaultComesWithItsFix) {
  GpuHost host = good_host();
  host.architectures = "80";
  EXPECT_THAT(problems(host), HasSubstr("build with -DPLUMB_CUDA_ARCHITECTURES=90"));

  host = good_host();
  host.driver.driver_version = 12040;
  EXPECT_THAT(
      problems(host),
      HasSubstr("CUDA: the driver is for CUDA 12.4, this build was compiled with CUDA 13.0 -> update"));

  host = good_host();
  host.library_version = [](const char* library, const char*) -> std::optional<long> {
    if (std::string(library) == "libnccl.so.2") return std::nullopt;
    return 13000;
  };
  EXPECT_THAT(problems(host), HasSubstr("NCCL: libnccl.so.2 cannot be opened -> install it"));

  host = good_host();
  host.locked_memory_limit = 65536;
  EXPECT_THAT(problems(host), HasSubstr("locked memory: limit 64 KiB"));

  host = good_host();
  host.read = [](const std::string&) -> std::string { return "1: DOWN"; };
  EXPECT_THAT(problems(host), HasSubstr("InfiniBand: mlx5_0 not active"));

  host = good_host();
  host.run = [](const std::string&) -> std::optional<std::string> { return std::nullopt; };
  EXPECT_THAT(problems(host), HasSubstr("nvidia-smi: does not answer"));
  EXPECT_THAT(problems(host), HasSubstr("NVLink: none seen"));
}

}  // namespace
}  // namespace plumb
