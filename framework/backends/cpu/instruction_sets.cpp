// Compiled without -march: this runs before anything that needs it.
#include "backends/cpu/instruction_sets.h"

#include "core/error.h"

namespace plumb::cpu {
namespace {

bool supports(const std::string& name) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
// The builtin takes literals only.
#define PLUMB_SUPPORTS(set) \
  if (name == set) return __builtin_cpu_supports(set) != 0;
  PLUMB_SUPPORTS("sse3")
  PLUMB_SUPPORTS("ssse3")
  PLUMB_SUPPORTS("sse4.1")
  PLUMB_SUPPORTS("sse4.2")
  PLUMB_SUPPORTS("popcnt")
  PLUMB_SUPPORTS("avx")
  PLUMB_SUPPORTS("avx2")
  PLUMB_SUPPORTS("fma")
  PLUMB_SUPPORTS("bmi")
  PLUMB_SUPPORTS("bmi2")
  PLUMB_SUPPORTS("avx512f")
  PLUMB_SUPPORTS("avx512bw")
  PLUMB_SUPPORTS("avx512cd")
  PLUMB_SUPPORTS("avx512dq")
  PLUMB_SUPPORTS("avx512vl")
  PLUMB_SUPPORTS("avx512ifma")
  PLUMB_SUPPORTS("avx512vbmi")
  PLUMB_SUPPORTS("avx512vbmi2")
  PLUMB_SUPPORTS("avx512bitalg")
  PLUMB_SUPPORTS("avx512vnni")
  PLUMB_SUPPORTS("avx512vpopcntdq")
  PLUMB_SUPPORTS("avx512bf16")
#undef PLUMB_SUPPORTS
#endif
  static_cast<void>(name);
  return false;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::vector<std::string> missing_instruction_sets(const std::vector<std::string>& wanted) {
  std::vector<std::string> missing;
  for (const std::string& name : wanted) {
    if (!supports(name)) missing.push_back(name);
  }
  return missing;
}

void require_instruction_sets(const std::vector<std::string>& wanted) {
  const std::vector<std::string> missing = missing_instruction_sets(wanted);
  if (missing.empty()) return;
  fail_input(
      "this program was built for a processor with {}, which this one lacks; build it on this machine, or "
      "with "
      "-DPLUMB_CPU_ARCH=x86-64-v2, -v3 or whatever all your machines have",
      joined(missing));
}

void require_compiled_instruction_sets() {
  std::vector<std::string> wanted;
  for (const char* const* name = kCompiledInstructionSets; *name != nullptr; ++name)
    wanted.emplace_back(*name);
  require_instruction_sets(wanted);
}

}  // namespace plumb::cpu
