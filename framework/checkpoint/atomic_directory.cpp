#include "checkpoint/atomic_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "checkpoint/file_io.h"
#include "core/error.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;

constexpr const char* kPartial = ".partial";
constexpr const char* kReplaced = ".replaced";
constexpr std::string_view kStepPrefix = "step_";
constexpr std::size_t kStepDigits = 8;

fs::path beside(const fs::path& target, const char* suffix) {
  return target.parent_path() / ("." + target.filename().string() + suffix);
}

void rename_path(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error) fail("cannot rename {} to {}: {}", from.string(), to.string(), error.message());
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) fail("cannot remove {}: {}", path.string(), error.message());
}

void create_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail("cannot create folder {}: {}", path.string(), error.message());
}

void sync_file(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool flushed = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!flushed) fail("cannot flush {}: {}", path.string(), std::strerror(reason));
}

/// Files before the folders that name them.
void sync_tree(const fs::path& folder) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) {
      sync_tree(entry.path());
    } else {
      sync_file(entry.path());
    }
  }
  sync_folder(folder);
}

/// The target's name of ".<name><suffix>", or nothing.
std::optional<std::string> name_of_leftover(const std::string& name, std::string_view suffix) {
  if (name.size() <= suffix.size() + 1 || name.front() != '.' || !name.ends_with(suffix)) return std::nullopt;
  return name.substr(1, name.size() - suffix.size() - 1);
}
}  // namespace

std::string step_directory_name(std::int64_t step) {
  PLUMB_CHECK(step >= 0, "a checkpoint of step {}", step);
  return fmt::format("{}{:0{}}", kStepPrefix, step, kStepDigits);
}

std::optional<std::int64_t> step_of_directory_name(const std::string& name) {
  if (!name.starts_with(kStepPrefix) || name.size() < kStepPrefix.size() + kStepDigits) return std::nullopt;
  std::int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto [parsed, error] = std::from_chars(name.data() + kStepPrefix.size(), end, step);
  if (error != std::errc() || parsed != end || step < 0) return std::nullopt;
  // One step, one name: no second spelling with more zeros.
  if (step_directory_name(step) != name) return std::nullopt;
  return step;
}

std::vector<StepDirectory> list_step_directories(const fs::path& folder) {
  std::vector<StepDirectory> found;
  if (!fs::is_directory(folder)) return found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const auto step = step_of_directory_name(entry.path().filename().string());
    if (step && entry.is_directory()) found.push_back({*step, entry.path()});
  }
  std::sort(found.begin(), found.end(),
            [](const StepDirectory& left, const StepDirectory& right) { return left.step < right.step; });
  return found;
}

AtomicDirectory::AtomicDirectory(fs::path target)
    : target_(std::move(target)), working_(beside(target_, kPartial)) {
  remove_tree(working_);
  create_folder(working_);
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;  // a leftover is harmless, and a destructor has nobody to tell
  if (!committed_) fs::remove_all(working_, ignored);
}

void AtomicDirectory::commit() {
  PLUMB_CHECK(!committed_, "{} was committed already", target_.string());
  sync_tree(working_);
  const fs::path parent = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  const fs::path replaced = beside(target_, kReplaced);
  const bool replaces = fs::exists(target_);
  if (replaces) {
    remove_tree(replaced);
    rename_path(target_, replaced);
  }
  rename_path(working_, target_);
  committed_ = true;
  sync_folder(parent);
  if (replaces) remove_tree(replaced);
}

void remove_atomically(const fs::path& target) {
  const fs::path partial = beside(target, kPartial);
  remove_tree(partial);
  rename_path(target, partial);
  remove_tree(partial);
}

std::vector<std::string> clean_atomic_leftovers(const fs::path& folder) {
  std::vector<std::string> actions;
  if (!fs::is_directory(folder)) return actions;
  std::vector<fs::path> entries;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  for (const fs::path& entry : entries) {
    const std::string name = entry.filename().string();
    const auto replaced = name_of_leftover(name, kReplaced);
    if (replaced && !fs::exists(folder / *replaced)) {
      rename_path(entry, folder / *replaced);
      actions.push_back(
          fmt::format("restored {}: its replacement was interrupted", (folder / *replaced).string()));
    } else if (replaced || name_of_leftover(name, kPartial)) {
      remove_tree(entry);
      actions.push_back(fmt::format("removed {}: left by an interrupted save", entry.string()));
    }
  }
  return actions;
}

}  // namespace plumb
