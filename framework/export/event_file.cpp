#include "export/event_file.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "core/file.h"
#include "export/record_frame.h"
#include "export/tensorboard_event.pb.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;

constexpr const char* kPrefix = "events.out.tfevents.";

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// TensorBoard reads the files of a folder in the order of their names and never goes back to an earlier one,
/// so that a second file of the same second, or one written after the clock was set back, must still sort
/// last.
fs::path new_path(const fs::path& folder) {
  auto time = static_cast<std::int64_t>(seconds_since_1970());
  const std::string prefix = kPrefix;
  for (const fs::path& file : list_folder(folder)) {
    const std::string name = file.filename().string();
    if (!name.starts_with(prefix)) continue;
    const std::string digits = name.substr(prefix.size(), name.find('.', prefix.size()) - prefix.size());
    if (digits.size() == 10 &&
        std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
      time = std::max<std::int64_t>(time, std::stoll(digits) + 1);
  }
  return folder / fmt::format("{}{:010d}.{}.{}", prefix, time, process_identity().host, ::getpid());
}

fs::path created(const fs::path& folder) {
  create_folders(folder);
  return folder;
}

}  // namespace

class EventFile::Writer {
 public:
  Writer(const fs::path& folder, std::optional<std::int64_t> first_step) : file_(new_path(created(folder))) {
    tensorboard::Event version;
    version.set_file_version("brain.Event:2");
    write(version);
    if (first_step) restart(*first_step);
  }

  void restart(std::int64_t first_step) {
    tensorboard::Event event;
    event.set_step(first_step);
    event.mutable_session_log()->set_status(tensorboard::SessionLog::START);
    write(event);
  }

  void add(std::int64_t step, std::span<const EventScalar> scalars) {
    tensorboard::Event event;
    event.set_step(step);
    for (const EventScalar& scalar : scalars) {
      auto* value = event.mutable_summary()->add_value();
      value->set_tag(scalar.tag);
      value->set_simple_value(static_cast<float>(scalar.value));
      if (!described_.insert(scalar.tag).second) continue;
      value->mutable_metadata()->set_summary_description(scalar.description);
      value->mutable_metadata()->mutable_plugin_data()->set_plugin_name("scalars");
    }
    write(event);
  }

  FileWriter& file() { return file_; }

 private:
  void write(tensorboard::Event& event) {
    event.set_wall_time(seconds_since_1970());
    file_.write(framed_record(event.SerializeAsString()));
  }

  FileWriter file_;
  std::set<std::string> described_;
};

void require_tensorboard() {}

EventFile::EventFile(const fs::path& folder, std::optional<std::int64_t> first_step)
    : writer_(std::make_unique<Writer>(folder, first_step)) {}
EventFile::~EventFile() = default;
const fs::path& EventFile::path() const { return writer_->file().path(); }
void EventFile::add(std::int64_t step, std::span<const EventScalar> scalars) { writer_->add(step, scalars); }
void EventFile::restart(std::int64_t first_step) { writer_->restart(first_step); }
void EventFile::sync() { writer_->file().sync(); }

}  // namespace plumb
