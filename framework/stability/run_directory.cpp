#include "stability/run_directory.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/error.h"
#include "core/file.h"
#include "core/log.h"

namespace plumb {
namespace {

constexpr const char* kLogs[] = {"metrics.jsonl", "stability.jsonl", "ranks.jsonl", "events.jsonl"};
constexpr const char* kOtherEntries[] = {"manifest.json", "checkpoints", "tensorboard",      "report.html",
                                         "export",        "nan",         "rolled_back.jsonl"};

void create_folder(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (!error && !std::filesystem::is_directory(directory))
    error = std::make_error_code(std::errc::not_a_directory);
  if (error) {
    fail_input("run.dir = \"{}\" cannot be created: {}; choose a folder that can be written to",
               directory.string(), error.message());
  }
}

bool holds_a_run(const std::filesystem::path& directory) {
  for (const char* name : kLogs) {
    if (std::filesystem::exists(directory / name)) return true;
  }
  return std::filesystem::exists(directory / "manifest.json") ||
         std::filesystem::exists(directory / "checkpoints");
}

/// A run is there, but it has neither a step in its log nor a checkpoint, whole or damaged.
bool holds_no_step(const std::filesystem::path& directory) {
  std::error_code error;
  const bool logged = std::filesystem::exists(directory / "metrics.jsonl", error) &&
                      std::filesystem::file_size(directory / "metrics.jsonl", error) > 0;
  const bool saved = std::filesystem::exists(directory / "checkpoints", error) &&
                     !std::filesystem::is_empty(directory / "checkpoints", error);
  return !error && !logged && !saved;
}

[[noreturn]] void refuse_earlier_run(const std::filesystem::path& directory,
                                     const RunDirectoryOptions& options) {
  if (options.restart_empty) {
    fail_input(
        "run.dir = \"{}\" holds an earlier run but no checkpoint of it that can be resumed; replace the run "
        "with run.overwrite = true, or choose another run.dir",
        directory.string());
  }
  fail_input(
      "run.dir = \"{}\" holds an earlier run; continue it with --resume auto, replace it with "
      "run.overwrite = true, or choose another run.dir",
      directory.string());
}

void remove_run(const std::filesystem::path& directory) {
  std::error_code error;
  const auto remove = [&](const char* name) {
    std::filesystem::remove_all(directory / name, error);
    if (error) {
      fail_input("run.dir = \"{}\": the earlier run's {} cannot be removed: {}; choose another run.dir",
                 directory.string(), name, error.message());
    }
  };
  for (const char* name : kLogs) remove(name);
  for (const char* name : kOtherEntries) remove(name);
}

/// Whole or absent: written aside and renamed.
void write_text(const std::filesystem::path& file, std::string_view text) {
  std::filesystem::path aside = file;
  aside += ".partial";
  {
    std::ofstream out(aside, std::ios::binary | std::ios::trunc);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    out.flush();
    if (!out) {
      fail_input("run.dir = \"{}\": {} cannot be written: {}; choose a folder that can be written to",
                 file.parent_path().string(), file.filename().string(), std::strerror(errno));
    }
  }
  std::filesystem::rename(aside, file);
}

void cut_file(const std::filesystem::path& file, std::uintmax_t bytes, std::int64_t step) {
  std::error_code error;
  std::filesystem::resize_file(file, bytes, error);
  if (error) fail_input("'{}' cannot be cut at step {}: {}", file.string(), step, error.message());
}

/// Bytes up to the last line that is not beyond `step`. From the end, because little of a long log lies
/// there.
std::size_t bytes_up_to(std::int64_t step, std::string_view log, const std::filesystem::path& file) {
  std::size_t end = log.size();
  while (end > 0) {
    const std::size_t feed = end < 2 ? std::string_view::npos : log.rfind('\n', end - 2);
    const std::size_t begin = feed == std::string_view::npos ? 0 : feed + 1;
    const auto record = nlohmann::json::parse(log.substr(begin, end - begin), nullptr, /*exceptions=*/false);
    if (!record.is_object()) fail_input("'{}' has a line that is not a JSON record", file.string());
    const auto found = record.find("step");
    if (found == record.end() || found->get<std::int64_t>() <= step) break;
    end = begin;
  }
  return end;
}

}  // namespace

void roll_logs_back(const std::filesystem::path& directory, std::int64_t step) {
  for (const std::string name : kLogs) {
    const std::filesystem::path file = directory / name;
    if (!std::filesystem::exists(file)) continue;
    const MappedFile log(file);
    const std::size_t kept = bytes_up_to(step, log.text(), file);
    if (name == "metrics.jsonl" || name == "events.jsonl") {
      FileWriter aside(directory / "rolled_back.jsonl", WriteMode::Append);
      aside.write(log.text().substr(kept));
      aside.finish();
    }
    cut_file(file, kept, step);
  }
}

std::optional<std::int64_t> truncate_log(const std::filesystem::path& file, std::int64_t step) {
  std::optional<std::int64_t> last_step;
  std::ifstream in(file, std::ios::binary);
  if (!in) return last_step;
  std::uintmax_t keep = 0;
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    const bool complete = !in.eof();  // getline stopped at a line feed
    const bool last = in.peek() == std::ifstream::traits_type::eof();
    const auto record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!complete) break;
    if (!record.is_object()) {
      if (last) break;
      fail_input(
          "{}:{}: not a JSON record, so the log cannot be continued; remove the line, or use another run.dir",
          file.string(), number);
    }
    const auto found = record.find("step");
    if (found != record.end() && found->is_number_integer()) {
      if (found->get<std::int64_t>() > step) break;
      last_step = found->get<std::int64_t>();
    }
    keep += line.size() + 1;
  }
  in.close();
  cut_file(file, keep, step);
  return last_step;
}

void open_run_directory(const std::filesystem::path& directory, const RunDirectoryOptions& options,
                        std::string_view config_toml, std::string_view manifest_json) {
  create_folder(directory);
  if (options.resume_step) {
    const std::int64_t step = *options.resume_step;
    for (const char* name : kLogs) {
      const std::optional<std::int64_t> last = truncate_log(directory / name, step);
      if (std::string_view(name) == "metrics.jsonl" && last.value_or(0) < step) {
        log_warning("{} has no steps {} to {}, which the checkpoint holds", (directory / name).string(),
                    last.value_or(0) + 1, step);
      }
    }
  } else if (holds_a_run(directory)) {
    const bool nothing_lost = options.restart_empty && holds_no_step(directory);
    if (!options.overwrite && !nothing_lost) refuse_earlier_run(directory, options);
    remove_run(directory);
  }
  write_text(directory / "config.toml", config_toml);
  write_text(directory / "manifest.json", manifest_json);
}

}  // namespace plumb
