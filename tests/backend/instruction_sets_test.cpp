#include "backends/cpu/instruction_sets.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

#include "core/error.h"

namespace plumb::test {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

/// What the operating system says: another source than the one under test.
bool system_lists(const std::string& flag) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) != 0) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;)
      if (word == flag) return true;
    return false;
  }
  return false;
}

TEST(InstructionSets, AgreeWithTheOperatingSystem) {
  for (const std::string name : {"avx", "avx2", "fma", "bmi2", "avx512f", "avx512bw", "avx512vl"})
    EXPECT_EQ(cpu::missing_instruction_sets({name}).empty(), system_lists(name)) << name;
}

TEST(InstructionSets, WhatIsMissingIsNamedWithTheWayOut) {
  EXPECT_THAT(cpu::missing_instruction_sets({"popcnt", "not-a-set"}), ElementsAre("not-a-set"));
  try {
    cpu::require_instruction_sets({"popcnt", "not-a-set", "nor-this"});
    FAIL() << "nothing was thrown";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("not-a-set, nor-this"));
    EXPECT_THAT(error.what(), HasSubstr("-DPLUMB_CPU_ARCH="));
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("popcnt")));
  }
}

TEST(InstructionSets, ThisBuildRunsHere) {
  EXPECT_NE(cpu::kCompiledInstructionSets[0], nullptr);
  EXPECT_NO_THROW(cpu::require_compiled_instruction_sets());
}

}  // namespace
}  // namespace plumb::test
