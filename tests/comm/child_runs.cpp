#include "child_runs.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "launcher_crash.h"

namespace plumb::test {

Outcome shell(const std::string& command) {
  const auto begin = std::chrono::steady_clock::now();
  Outcome outcome;
  FILE* pipe = popen(("{ " + command + "\n} 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> part{};
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), pipe))
    outcome.output.append(part.data(), got);
  const int status = pclose(pipe);
  outcome.status =
      status_of_ranks(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), outcome.output);
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return outcome;
}

std::string mpirun(int ranks, const std::string& program, const std::string& options) {
  return std::string(PLUMB_MPIEXEC) + " -np " + std::to_string(ranks) + " --oversubscribe --bind-to none " +
         options + " " + program;
}

std::string this_host() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

int count(const std::string& text, const std::string& what) {
  int found = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

int processes_naming(const std::string& word) {
  int found = 0;
  std::error_code vanished;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", vanished)) {
    std::ifstream stream(entry.path() / "cmdline");
    const std::string words{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    found += words.find(word) != std::string::npos ? 1 : 0;
  }
  return found;
}

}  // namespace plumb::test
