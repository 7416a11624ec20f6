#include "checkpoint/atomic_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/error.h"
#include "core/file.h"

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

void sync_folders(const fs::path& folder) {
  for (const fs::path& entry : list_folder(folder)) {
    if (is_folder(entry)) sync_folders(entry);
  }
  sync_folder(folder);
}

/// Whether the name is taken, by whatever it is.
bool name_is_taken(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(path, error);
  if (status.type() == fs::file_type::none) fail_input("cannot read {}: {}", path.string(), error.message());
  return status.type() != fs::file_type::not_found;
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
  for (const fs::path& entry : list_folder(folder)) {
    const auto step = step_of_directory_name(entry.filename().string());
    if (step && is_folder(entry)) found.push_back({*step, entry});
  }
  std::sort(found.begin(), found.end(),
            [](const StepDirectory& left, const StepDirectory& right) { return left.step < right.step; });
  return found;
}

AtomicDirectory::AtomicDirectory(fs::path target)
    : target_(std::move(target)), working_(beside(target_, kPartial)) {
  remove_tree(working_);
  create_folders(working_);
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;  // a leftover is harmless, and a destructor has nobody to tell
  if (!committed_) fs::remove_all(working_, ignored);
}

void AtomicDirectory::commit() {
  PLUMB_CHECK(!committed_, "{} was committed already", target_.string());
  sync_folders(working_);
  const fs::path replaced = beside(target_, kReplaced);
  const bool replaces = name_is_taken(target_);
  if (replaces) {
    remove_tree(replaced);
    rename_path(target_, replaced);
  }
  try {
    rename_path(working_, target_);
  } catch (const Error&) {
    // Should this fail as well, clean_atomic_leftovers does it; the first fault is the one to tell.
    std::error_code ignored;
    if (replaces) fs::rename(replaced, target_, ignored);
    throw;
  }
  committed_ = true;
  sync_folder(parent_folder(target_));
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
  for (const fs::path& entry : list_folder(folder)) {
    const std::string name = entry.filename().string();
    const auto replaced = name_of_leftover(name, kReplaced);
    if (replaced && !name_is_taken(folder / *replaced)) {
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
