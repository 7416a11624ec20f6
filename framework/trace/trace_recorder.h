// TraceRecorder: what this rank does and when, in memory that is taken once: spans of phases, ops,
// collectives and waits.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "backend/observed_backend.h"
#include "comm/collective_observer.h"

namespace plumb {

enum class TraceKind : std::uint8_t {
  Phase,       ///< Backend::push_range to pop_range
  Op,          ///< a call of a backend's op
  Call,        ///< a call of a communicator
  Wait,        ///< the host waits for a collective
  Collective,  ///< a collective from its start to where this rank knows that it is through; these overlap
};

/// One span. Times in nanoseconds of this host's steady clock.
struct TraceEvent {
  static constexpr std::size_t kNameCharacters = 47;
  static constexpr int kTensors = 2;
  struct Argument {
    Shape shape;
    DType dtype = DType::Float32;
  };

  std::array<char, kNameCharacters + 1> name{};
  TraceKind kind = TraceKind::Phase;
  std::int64_t begin = 0, end = 0;
  std::int64_t step = 0;             ///< optimiser step, counted from 1
  std::int64_t bytes = 0;            ///< of a call or a collective
  const char* collective = nullptr;  ///< of these two: "all_reduce"
  int tensors = 0;                   ///< of an op: what says how much work it is
  std::array<Argument, kTensors> arguments{};
};

/// Records between start() and stop(), up to a number of spans; later ones are counted and left out. Nothing
/// is allocated after construction. One thread uses it. Spans other than collectives nest.
class TraceRecorder final : public OpObserver, public CollectiveObserver {
 public:
  static constexpr std::size_t kCapacity = std::size_t{1} << 18;

  /// Ops that it sees are also ranges of that backend (NVTX), which must outlive it.
  explicit TraceRecorder(Backend& backend, std::size_t capacity = kCapacity);

  /// Not within a span.
  void start();
  void stop();
  bool is_recording() const { return recording_; }
  void set_step(std::int64_t step) { step_ = step; }

  /// In the order in which they began.
  const std::vector<TraceEvent>& events() const { return events_; }
  std::int64_t left_out() const { return left_out_; }
  static std::int64_t now();

  void began(const char* op, std::span<const Tensor* const> work) override;
  void ended() override;
  void wrote(Stream&, const char*, const char*, const Tensor&) override {}
  void entered(const char* range) override;
  void left() override { close(); }

  void call_began(const char* collective, std::string_view name, std::size_t bytes) override;
  void call_ended() override { close(); }
  void started(std::uint64_t ticket) override;
  void finished_before(std::uint64_t ticket) override;
  void wait_began(std::string_view name) override;
  void wait_ended() override { close(); }

 private:
  static constexpr int kNone = -1;        ///< no event: there was no room, or it is not recorded
  static constexpr int kDeepest = 64;     ///< spans open at a time
  static constexpr int kInFlight = 1024;  ///< collectives open at a time

  struct InFlight {
    std::uint64_t ticket = 0;
    int event = kNone;
  };

  /// A new event that begins now; null where there is no room.
  TraceEvent* add(TraceKind kind, std::string_view name);
  /// Opens a span; its event, null where there is none.
  TraceEvent* open(TraceKind kind, std::string_view name);
  void close();

  Backend& backend_;
  std::size_t capacity_;
  std::vector<TraceEvent> events_;
  std::array<int, kDeepest> open_{};
  int depth_ = 0;
  std::array<InFlight, kInFlight> in_flight_{};
  std::uint64_t oldest_in_flight_ = 0, next_in_flight_ = 0;
  const TraceEvent* call_ = nullptr;  ///< the communicator's call that is open
  bool recording_ = false;
  std::int64_t step_ = 0, left_out_ = 0;
};

}  // namespace plumb
