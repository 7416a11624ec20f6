#include "sweep/child.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace plumb {
namespace {

constexpr int kWatched[] = {SIGINT, SIGTERM, SIGUSR1, SIGCHLD};
/// What a shell says of a command that it cannot start.
constexpr int kNotStarted = 127;

sigset_t watched_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kWatched) sigaddset(&set, signal);
  return set;
}

/// As the kernel takes it; empty: no change.
std::vector<unsigned long> affinity_mask(const std::vector<int>& processors) {
  if (processors.empty()) return {};
  constexpr int kBits = 8 * sizeof(unsigned long);
  const int most = *std::max_element(processors.begin(), processors.end());
  std::vector<unsigned long> mask(static_cast<std::size_t>(std::max(most, 1023) / kBits + 1), 0);
  for (const int processor : processors)
    mask[static_cast<std::size_t>(processor / kBits)] |= 1UL << processor % kBits;
  return mask;
}

/// After fork: only what is safe there. Does not return.
[[noreturn]] void become(const std::vector<char*>& arguments, int output,
                         const std::vector<unsigned long>& mask, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kNotStarted);  // it was too late for that
  if (!mask.empty())
    sched_setaffinity(0, mask.size() * sizeof(unsigned long),
                      reinterpret_cast<const cpu_set_t*>(mask.data()));
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvp(arguments[0], arguments.data());
  const char* reason = std::strerror(errno);
  for (const char* text : {"cannot start ", static_cast<const char*>(arguments[0]), ": ", reason, "\n"}) {
    if (write(STDERR_FILENO, text, std::strlen(text)) < 0) break;
  }
  _exit(kNotStarted);
}

}  // namespace

pid_t start_child(const ChildOptions& options) {
  const int output = open(options.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (output < 0) fail_input("{}: cannot be written: {}", options.output.string(), std::strerror(errno));
  std::vector<char*> arguments;
  for (const std::string& argument : options.arguments)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const std::vector<unsigned long> mask = affinity_mask(options.processors);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) become(arguments, output, mask, parent);
  const int error = errno;
  close(output);
  if (child < 0) fail("cannot start a process for {}: {}", options.arguments[0], std::strerror(error));
  return child;
}

SignalWatch::SignalWatch() {
  const sigset_t set = watched_signals();
  // A launcher may have left it ignored, and then the system tells nobody how a child ended.
  signal(SIGCHLD, SIG_DFL);
  pthread_sigmask(SIG_BLOCK, &set, &earlier_);
}

SignalWatch::~SignalWatch() { pthread_sigmask(SIG_SETMASK, &earlier_, nullptr); }

int SignalWatch::wait() const {
  const sigset_t set = watched_signals();
  const timespec second{1, 0};
  return std::max(0, sigtimedwait(&set, nullptr, &second));
}

std::vector<ChildEnd> SignalWatch::ended() {
  std::vector<ChildEnd> list;
  int status = 0;
  for (pid_t child = 0; (child = waitpid(-1, &status, WNOHANG)) > 0;) {
    list.push_back({child, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)});
  }
  return list;
}

}  // namespace plumb
