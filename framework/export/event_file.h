// EventFile: scalars in the format that TensorBoard reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/error.h"

namespace plumb {

/// Whether this build can write events; InputError that says what to install where it cannot.
void require_tensorboard();

struct EventScalar {
  std::string tag;
  double value = 0;         ///< written as float32
  std::string description;  ///< Markdown; shown at the plot
};

class EventFile {
 public:
  /// Starts a new file, events.out.tfevents.<seconds since 1970>.<host>.<process>, in `folder`, which is
  /// created. Its name sorts after those that are there. With `first_step`, what earlier files say of that
  /// step and of later ones is void (TensorBoard's purge step).
  EventFile(const std::filesystem::path& folder, std::optional<std::int64_t> first_step);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  const std::filesystem::path& path() const;
  /// One event, written whole by one system call, so that a kill leaves at most a torn last record, which
  /// readers pass over. Throws Error naming the file.
  void add(std::int64_t step, std::span<const EventScalar> scalars);
  /// What was added so far of `first_step` and of later ones is void.
  void restart(std::int64_t first_step);
  /// Returns when all is on the disk.
  void sync();

 private:
  class Writer;
  std::unique_ptr<Writer> writer_;
};

}  // namespace plumb
