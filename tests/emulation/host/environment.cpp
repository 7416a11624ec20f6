#include "host/environment.h"

#include <charconv>
#include <cstdlib>

#include "core/error.h"

namespace plumb::emulation {

std::optional<std::string> text_setting(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

std::int64_t number_setting(const char* name, std::int64_t otherwise, std::int64_t smallest) {
  const std::optional<std::string> text = text_setting(name);
  if (!text) return otherwise;
  std::int64_t value = 0;
  const char* end = text->data() + text->size();
  const auto [stopped, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || stopped != end || value < smallest)
    fail_input("{}={}: a whole number of at least {} is needed", name, *text, smallest);
  return value;
}

int process_rank() {
  static const int rank = static_cast<int>(number_setting("OMPI_COMM_WORLD_RANK", 0, 0));
  return rank;
}

}  // namespace plumb::emulation
