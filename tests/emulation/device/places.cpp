#include "places.h"

#include <cstdio>
#include <string_view>

namespace plumb::emulation {

bool same_text_of_place(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

std::string place(const char* operation, const std::source_location& location) {
  std::string_view file = location.file_name();
  file.remove_prefix(file.find_last_of('/') + 1);
  return std::string(operation) + " (" + std::string(file) + ":" + std::to_string(location.line()) + ")";
}

std::string mask_text(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

}  // namespace plumb::emulation
