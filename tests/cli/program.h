// Runs of the `plumb` program as a user starts it: alone or under mpirun, with what it printed and how it
// ended.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace plumb::test {

/// A folder for one test under the system's temporary folder; it goes away with the object.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  /// The text with every '@' replaced by the folder's path.
  std::string fill(std::string text) const;

 private:
  std::filesystem::path path_;
};

struct Outcome {
  int status = -1;  ///< exit status; 128 + signal when a signal ended it
  bool timed_out = false;
  double seconds = 0;
  std::string out, error;

  /// Both outputs and the status, for messages of failed tests.
  std::string text() const;
  /// The lines of standard error that are plumb's ("plumb: ..." or "plumb[rank 1]: ..."): mpirun adds others.
  std::vector<std::string> plumb_lines() const;
};

/// A started program whose outputs go to files in `folder`.
class Running {
 public:
  /// arguments[0] is the program. `environment`: "NAME=value" added to this process's, "NAME" removed from
  /// it.
  Running(const Folder& folder, std::vector<std::string> arguments,
          const std::vector<std::string>& environment = {});
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  pid_t id() const { return id_; }
  /// Waits for the end; after `limit` seconds the program and its children are killed.
  Outcome wait(double limit = kLimit);

  static constexpr double kLimit = 60;

 private:
  std::string out_, error_;
  pid_t id_ = -1;
};

/// `plumb <arguments>`, with ranks > 1 under mpirun.
std::vector<std::string> plumb_line(int ranks, const std::vector<std::string>& arguments);
Outcome run_plumb(const Folder& folder, int ranks, const std::vector<std::string>& arguments,
                  const std::vector<std::string>& environment = {});

/// Processes other than this one whose command line holds `text`.
std::vector<pid_t> processes_with(const std::string& text);
/// A variable of another process's environment; empty when it is not there.
std::string variable_of(pid_t process, const std::string& name);
/// Waits until none is left that has `text` in its command line; returns how many are.
std::size_t left_after(const std::string& text, double seconds);

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, const std::string& text);
std::vector<std::string> lines_of(const std::string& text);
/// Tokens as the raw layout has them.
std::string raw_tokens(const std::vector<int>& tokens);

}  // namespace plumb::test
