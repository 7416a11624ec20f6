// Programs under a mpirun of their own: what they print and how they end.
#pragma once

#include <string>

namespace plumb::test {

struct Outcome {
  int status = -1;
  double seconds = 0;
  std::string output;  ///< stdout and stderr
};

/// Runs a command line of the shell and waits for it.
Outcome shell(const std::string& command);

/// The command line that runs a program on so many ranks.
std::string mpirun(int ranks, const std::string& program, const std::string& options = "");

std::string this_host();

/// How often `what` is in `text`.
int count(const std::string& text, const std::string& what);

/// Processes that have this word in their command line.
int processes_naming(const std::string& word);

}  // namespace plumb::test
