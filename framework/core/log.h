// Logging for people: spdlog behind a few functions, so that headers stay light. Rank 0 speaks on the
// console; the other ranks only warn.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace plumb {

enum class LogLevel { Debug, Info, Warning, Error };

/// Rank 0 prints from `level` upwards, the others from Warning upwards with their rank in front.
void configure_logging(LogLevel level, int rank, int world);
void log_line(LogLevel level, std::string_view text);

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::Info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::Warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::Error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace plumb
