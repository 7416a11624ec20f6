// In the place of event_file.cpp where Protocol Buffers were not found.
#include "export/event_file.h"

namespace plumb {

class EventFile::Writer {};

void require_tensorboard() {
  fail_input(
      "log.tensorboard = true, but this build cannot write TensorBoard events: install protobuf-compiler and "
      "libprotobuf-dev (launch/setup.sh does), configure and build again");
}

EventFile::EventFile(const std::filesystem::path&, std::optional<std::int64_t>) { require_tensorboard(); }
EventFile::~EventFile() = default;
const std::filesystem::path& EventFile::path() const { fail("no event file"); }
void EventFile::add(std::int64_t, std::span<const EventScalar>) {}
void EventFile::restart(std::int64_t) {}
void EventFile::sync() {}

}  // namespace plumb
