// What the operating system says of the processor.
#pragma once

#include <string>
#include <vector>

namespace plumb::cpu {

struct ProcessorFacts {
  std::string model;               ///< "AMD EPYC"; "unknown processor" where it is not said
  std::vector<std::string> flags;  ///< instruction sets that the processor has and the kernel enables

  bool has(const std::string& flag) const;
};

/// From /proc/cpuinfo, whose flags are the CPUID bits that are also usable under this kernel.
ProcessorFacts read_processor_facts();

}  // namespace plumb::cpu
