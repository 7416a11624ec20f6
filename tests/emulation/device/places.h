// Places in sources, compared and printed.
#pragma once

#include <cstring>
#include <source_location>
#include <string>

namespace plumb::emulation {

bool same_text_of_place(const std::source_location& a, const std::source_location& b);
inline bool same_place(const std::source_location& a, const std::source_location& b) {
  // Mostly the very same constant of the compiler's.
  return std::memcmp(&a, &b, sizeof a) == 0 || same_text_of_place(a, b);
}
/// "__syncthreads (norm.cu:42)"
std::string place(const char* operation, const std::source_location& location);
/// "0x0000ffff"
std::string mask_text(unsigned mask);

}  // namespace plumb::emulation
