#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "core/error.h"

namespace plumb {
namespace {
spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::Debug:
      return spdlog::level::debug;
    case LogLevel::Info:
      return spdlog::level::info;
    case LogLevel::Warning:
      return spdlog::level::warn;
    case LogLevel::Error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

spdlog::logger& logger() {
  static auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("plumb", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("plumb: %v");
    return made;
  }();
  return *instance;
}
}  // namespace

void configure_logging(LogLevel level, int rank, int world) {
  logger().set_level(to_spdlog(rank == 0 ? level : LogLevel::Warning));
  logger().set_pattern(world > 1 && rank != 0 ? fmt::format("plumb[rank {}]: %v", rank) : "plumb: %v");
  logger().flush_on(spdlog::level::info);
}

void log_line(LogLevel level, std::string_view text) { logger().log(to_spdlog(level), text); }

}  // namespace plumb
