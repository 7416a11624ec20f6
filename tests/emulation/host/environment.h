// Settings of the emulated GPU, read from environment variables (README.md lists them).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace plumb::emulation {

std::optional<std::string> text_setting(const char* name);
/// A whole number of at least `smallest`; anything else in the variable is an Error that names it.
std::int64_t number_setting(const char* name, std::int64_t otherwise, std::int64_t smallest);

/// As mpirun numbered this process; 0 without mpirun.
int process_rank();

}  // namespace plumb::emulation
