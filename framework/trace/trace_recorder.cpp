#include "trace/trace_recorder.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"

namespace plumb {

TraceRecorder::TraceRecorder(Backend& backend, std::size_t capacity)
    : backend_(backend), capacity_(capacity) {
  events_.resize(capacity);  // touched here, so that no step meets a page for the first time
  events_.clear();
}

std::int64_t TraceRecorder::now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void TraceRecorder::start() {
  PLUMB_CHECK(depth_ == 0, "a trace that starts within a span");
  recording_ = true;
}

void TraceRecorder::stop() {
  PLUMB_CHECK(depth_ == 0, "a trace that stops within a span");
  recording_ = false;
  // What is not through by now ends here.
  finished_before(~std::uint64_t{0});
}

TraceEvent* TraceRecorder::add(TraceKind kind, std::string_view name) {
  if (events_.size() == capacity_) {
    ++left_out_;
    return nullptr;
  }
  TraceEvent& event = events_.emplace_back();
  std::copy_n(name.begin(), std::min(name.size(), TraceEvent::kNameCharacters), event.name.begin());
  event.kind = kind;
  event.step = step_;
  event.begin = event.end = now();
  return &event;
}

TraceEvent* TraceRecorder::open(TraceKind kind, std::string_view name) {
  PLUMB_CHECK(depth_ < kDeepest, "more than {} spans within each other", kDeepest);
  TraceEvent* event = add(kind, name);
  open_[static_cast<std::size_t>(depth_++)] = event != nullptr ? static_cast<int>(events_.size()) - 1 : kNone;
  return event;
}

void TraceRecorder::close() {
  if (!recording_) return;
  PLUMB_CHECK(depth_ > 0, "a span ends that did not begin");
  const int index = open_[static_cast<std::size_t>(--depth_)];
  if (index == kNone) return;
  TraceEvent& event = events_[static_cast<std::size_t>(index)];
  event.end = now();
  if (&event == call_) call_ = nullptr;
}

void TraceRecorder::entered(const char* range) {
  if (recording_) open(TraceKind::Phase, range);
}

void TraceRecorder::began(const char* op, std::span<const Tensor* const> work) {
  if (!recording_) return;
  backend_.push_range(op);
  TraceEvent* event = open(TraceKind::Op, op);
  if (event == nullptr) return;
  for (const Tensor* tensor : work) {
    if (event->tensors == TraceEvent::kTensors || !tensor->defined()) continue;
    event->arguments[static_cast<std::size_t>(event->tensors++)] = {tensor->shape, tensor->dtype};
  }
}

void TraceRecorder::ended() {
  if (!recording_) return;
  close();
  backend_.pop_range();
}

void TraceRecorder::call_began(const char* collective, std::string_view name, std::size_t bytes) {
  if (!recording_) return;
  TraceEvent* event = open(TraceKind::Call, name);
  if (event == nullptr) return;
  event->collective = collective;
  event->bytes = static_cast<std::int64_t>(bytes);
  call_ = event;
}

void TraceRecorder::wait_began(std::string_view name) {
  if (recording_) open(TraceKind::Wait, name);
}

void TraceRecorder::started(std::uint64_t ticket) {
  if (!recording_) return;
  if (next_in_flight_ - oldest_in_flight_ == kInFlight) {
    ++left_out_;
    return;
  }
  TraceEvent* event = add(TraceKind::Collective, call_ != nullptr ? call_->name.data() : "barrier");
  if (event == nullptr) return;
  event->collective = call_ != nullptr ? call_->collective : "barrier";
  event->bytes = call_ != nullptr ? call_->bytes : 0;
  in_flight_[next_in_flight_++ % kInFlight] = {ticket, static_cast<int>(events_.size()) - 1};
}

void TraceRecorder::finished_before(std::uint64_t ticket) {
  while (oldest_in_flight_ < next_in_flight_) {
    const InFlight& oldest = in_flight_[oldest_in_flight_ % kInFlight];
    if (oldest.ticket >= ticket) return;
    events_[static_cast<std::size_t>(oldest.event)].end = now();
    ++oldest_in_flight_;
  }
}

}  // namespace plumb
