#include "program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include "comm/launcher_crash.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::atomic<int> folders{0}, runs{0};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void pause_briefly() { std::this_thread::sleep_for(std::chrono::milliseconds(5)); }

void redirect(const std::string& path, int flags, int descriptor) {
  const int file = open(path.c_str(), flags, 0600);
  if (file < 0 || dup2(file, descriptor) < 0) _exit(127);
}

/// In the child: never returns.
[[noreturn]] void become(std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                         const std::string& out, const std::string& error) {
  setpgid(0, 0);
  // mpirun refuses root without these two.
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  for (const std::string& entry : environment) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos) {
      unsetenv(entry.c_str());
    } else {
      setenv(entry.substr(0, equals).c_str(), entry.substr(equals + 1).c_str(), 1);
    }
  }
  redirect("/dev/null", O_RDONLY, STDIN_FILENO);
  redirect(out, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
  redirect(error, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  execvp(pointers[0], pointers.data());
  _exit(127);
}

}  // namespace

Folder::Folder() {
  path_ = fs::temp_directory_path() /
          ("plumb_cli_" + std::to_string(getpid()) + "_" + std::to_string(folders.fetch_add(1)));
  fs::remove_all(path_);
  fs::create_directories(path_);
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string Folder::fill(std::string text) const {
  for (std::size_t at = text.find('@'); at != std::string::npos; at = text.find('@', at)) {
    text.replace(at, 1, path_.string());
    at += path_.string().size();
  }
  return text;
}

std::string Outcome::text() const {
  return "status " + std::to_string(status) + (timed_out ? " (timed out)" : "") + "\n--- stdout\n" + out +
         "--- stderr\n" + error;
}

std::vector<std::string> Outcome::plumb_lines() const {
  std::vector<std::string> found;
  for (const std::string& line : lines_of(error)) {
    if (line.rfind("plumb: ", 0) == 0 || line.rfind("plumb[", 0) == 0) found.push_back(line);
  }
  return found;
}

Running::Running(const Folder& folder, std::vector<std::string> arguments,
                 const std::vector<std::string>& environment) {
  const std::string name = std::to_string(runs.fetch_add(1));
  out_ = folder / ("stdout_" + name);
  error_ = folder / ("stderr_" + name);
  id_ = fork();
  if (id_ == 0) become(arguments, environment, out_, error_);
}

Running::~Running() {
  if (id_ > 0) wait(0);
}

Outcome Running::wait(double limit) {
  Outcome outcome;
  const Clock::time_point start = Clock::now();
  int status = 0;
  for (bool ended = id_ <= 0; !ended;) {
    ended = waitpid(id_, &status, WNOHANG) != 0;
    if (!ended && seconds_since(start) > limit) {
      outcome.timed_out = true;
      kill(-id_, SIGKILL);
      waitpid(id_, &status, 0);
      ended = true;
    }
    if (!ended) pause_briefly();
  }
  id_ = -1;
  outcome.seconds = seconds_since(start);
  outcome.out = read_file(out_);
  outcome.error = read_file(error_);
  outcome.status =
      status_of_ranks(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), outcome.error);
  return outcome;
}

std::vector<std::string> plumb_line(int ranks, const std::vector<std::string>& arguments) {
  std::vector<std::string> line;
  if (ranks > 1) line = {PLUMB_MPIEXEC, "-np", std::to_string(ranks), "--oversubscribe", "--bind-to", "none"};
  line.emplace_back(PLUMB_PROGRAM);
  line.insert(line.end(), arguments.begin(), arguments.end());
  return line;
}

Outcome run_plumb(const Folder& folder, int ranks, const std::vector<std::string>& arguments,
                  const std::vector<std::string>& environment) {
  return Running(folder, plumb_line(ranks, arguments), environment).wait();
}

std::vector<pid_t> processes_with(const std::string& text) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto id = static_cast<pid_t>(std::stol(name));
    if (id != getpid() && read_file(entry.path() / "cmdline").find(text) != std::string::npos)
      found.push_back(id);
  }
  return found;
}

std::string variable_of(pid_t process, const std::string& name) {
  const std::string environment = '\0' + read_file("/proc/" + std::to_string(process) + "/environ");
  const std::string wanted = '\0' + name + "=";
  const std::size_t at = environment.find(wanted);
  return at == std::string::npos ? "" : environment.c_str() + at + wanted.size();
}

std::size_t left_after(const std::string& text, double seconds) {
  const Clock::time_point start = Clock::now();
  std::size_t left = processes_with(text).size();
  while (left > 0 && seconds_since(start) < seconds) {
    pause_briefly();
    left = processes_with(text).size();
  }
  return left;
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  ASSERT_TRUE(file.flush()) << path;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

std::string raw_tokens(const std::vector<int>& tokens) {
  std::string bytes;
  for (const int token : tokens) {
    bytes += static_cast<char>(token & 0xff);
    bytes += static_cast<char>(token >> 8);
  }
  return bytes;
}

}  // namespace plumb::test
