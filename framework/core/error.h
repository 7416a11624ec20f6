// The one error path of Plumb: everything that fails throws Error; only main() turns it into an exit code.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace plumb {

/// Something failed. what() is one line (plus an optional hint line) fit to be shown to the user as it is.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The user's input is wrong (configuration, file, command line). what() names the place, the fault and what
/// would be right; the program exits with status 2.
class InputError : public Error {
 public:
  using Error::Error;
};

/// Where this process runs; part of every failed check's message. Set once at start.
struct ProcessIdentity {
  std::string host;
  int rank = 0;
  int world = 1;
};
void set_process_identity(ProcessIdentity identity);
const ProcessIdentity& process_identity();

/// Throws Error: "<file>:<line>: <message> (check '<expression>', host, rank)".
[[noreturn]] void fail_check(const char* expression, const char* file, int line, const std::string& message);

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
[[noreturn]] void fail_input(fmt::format_string<Args...> format, Args&&... args) {
  throw InputError(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace plumb

/// Checks an internal contract: PLUMB_CHECK(a == b, "widths differ: {} and {}", a, b).
#define PLUMB_CHECK(condition, ...)                                                                  \
  do {                                                                                               \
    if (!(condition)) ::plumb::fail_check(#condition, __FILE__, __LINE__, fmt::format(__VA_ARGS__)); \
  } while (false)
