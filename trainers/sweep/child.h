// Child processes of a sweep, and the signals that its parent waits for.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/error.h"

namespace plumb {

struct ChildOptions {
  std::vector<std::string> arguments;  ///< the first one is the program, looked up in PATH
  std::filesystem::path output;        ///< both outputs are appended to it
  std::vector<int> processors;         ///< that it may run on; empty: those of this process
};

/// Starts the program in a process group of its own, so that Ctrl-C at the terminal reaches the parent alone,
/// which then asks its children to save and end. It gets SIGTERM when the thread that started it ends. Throws
/// Error.
pid_t start_child(const ChildOptions& options);

struct ChildEnd {
  pid_t child = -1;
  int status = 0;  ///< exit status; 128 + signal when a signal ended it
};

/// While it lives, SIGINT, SIGTERM, SIGUSR1 and the end of a child are waited for in the place of their usual
/// effect.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  /// Waits for the next one, at most a second, and returns it: SIGCHLD, one that asks to stop, or 0.
  int wait() const;
  /// Children that have ended since the last call.
  static std::vector<ChildEnd> ended();

 private:
  sigset_t earlier_;
};

}  // namespace plumb
