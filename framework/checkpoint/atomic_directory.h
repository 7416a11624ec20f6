// A folder that appears whole or not at all: filled under another name, flushed, then renamed. A crash at any
// moment leaves every older folder as it was and at most hidden leftovers, which clean_atomic_leftovers
// removes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace plumb {

/// Step s of a "step_%08d" folder.
struct StepDirectory {
  std::int64_t step = 0;
  std::filesystem::path path;
};

/// "step_00001000"; more than eight digits where they are needed.
std::string step_directory_name(std::int64_t step);
/// The step, or nothing for any other name.
std::optional<std::int64_t> step_of_directory_name(const std::string& name);
/// The step folders in `folder` in ascending order of steps; empty when there is no such folder. Hidden
/// leftovers are not among them.
std::vector<StepDirectory> list_step_directories(const std::filesystem::path& folder);

/// One writer per target at a time. Errors of the system are Errors that name the path (core/file.h).
class AtomicDirectory {
 public:
  /// Creates the parents of `target` (durably) and beside it the empty folder ".<name>.partial".
  explicit AtomicDirectory(std::filesystem::path target);
  /// Removes the partial folder when commit() was not reached.
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;

  /// Where to write the files.
  const std::filesystem::path& working_path() const { return working_; }
  /// Flushes the folders, then renames to the target; the files are to be on the disk by then
  /// (FileWriter::finish). A target that exists already is replaced: it is kept as ".<name>.replaced" until
  /// the new one is in place, and is put back when the system refuses that.
  void commit();

 private:
  std::filesystem::path target_, working_;
  bool committed_ = false;
};

/// Removes a folder so that an interruption leaves a hidden leftover, never a folder with half its files.
void remove_atomically(const std::filesystem::path& target);

/// To be called by the one process that writes to `folder`, before it starts: puts ".<name>.replaced" back
/// where a crash took place between the two renames of commit(), and removes the other leftovers. Returns one
/// line per action, for the log. No such folder: nothing happens.
std::vector<std::string> clean_atomic_leftovers(const std::filesystem::path& folder);

}  // namespace plumb
