#include "settings.h"

#include <cstdlib>
#include <stdexcept>

namespace plumb::emulation {
namespace {

std::uint32_t parse_number(const std::string& text, const std::string& message) {
  const bool digits = !text.empty() && text.size() <= 9;
  if (!digits || text.find_first_not_of("0123456789") != std::string::npos)
    throw std::invalid_argument(message);
  return static_cast<std::uint32_t>(std::stoul(text));
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Settings parse_settings(const std::string& threads, const std::string& workers) {
  Settings parsed;
  const std::string random = "random:";
  if (threads.rfind(random, 0) == 0) {
    parsed.order = Order::Random;
    parsed.seed = parse_number(threads.substr(random.size()),
                               "PLUMB_EMULATION_THREADS: the seed in '" + threads + "' is no number");
  } else if (threads == "reverse") {
    parsed.order = Order::Reverse;
  } else if (!threads.empty() && threads != "forward") {
    throw std::invalid_argument("PLUMB_EMULATION_THREADS is '" + threads +
                                "'; known are forward, reverse and random:SEED");
  }
  if (!workers.empty()) {
    const std::string message = "PLUMB_EMULATION_WORKERS is '" + workers + "', not a number from 1 to 256";
    const std::uint32_t count = parse_number(workers, message);
    if (count < 1 || count > 256) throw std::invalid_argument(message);
    parsed.workers = static_cast<int>(count);
  }
  return parsed;
}

Settings& settings() {
  static Settings current =
      parse_settings(variable("PLUMB_EMULATION_THREADS"), variable("PLUMB_EMULATION_WORKERS"));
  return current;
}

}  // namespace plumb::emulation
