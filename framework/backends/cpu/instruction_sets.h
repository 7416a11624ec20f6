// The instruction sets that the cpu backend was compiled for, against those of the processor it runs on.
#pragma once

#include <string>
#include <vector>

namespace plumb::cpu {

/// Instruction sets that -march turned on for the sources of the cpu backend, null-terminated: data only, for
/// no code of those sources may run before it is known that the processor has them.
extern const char* const kCompiledInstructionSets[];

/// Those of `wanted` that this processor lacks, or that its system does not enable; a name that is not known
/// is lacking.
std::vector<std::string> missing_instruction_sets(const std::vector<std::string>& wanted);

/// Throws InputError that names what is missing and how to build without it.
void require_instruction_sets(const std::vector<std::string>& wanted);
/// The same for kCompiledInstructionSets.
void require_compiled_instruction_sets();

}  // namespace plumb::cpu
