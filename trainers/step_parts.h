// The parts of a step that are the same in every step: recorded once and replayed where the configuration
// asks for it.
#pragma once

#include <array>
#include <functional>
#include <memory>

#include "backend/backend.h"
#include "stability/statistics_layout.h"

namespace plumb {

/// A part issues the same ops to the same memory in every step; what differs it reads from the device.
class StepParts {
 public:
  enum Part { kAccumulate, kReduceAndUpdate, kReduce, kUpdate, kParts };

  StepParts(Backend& backend, Stream& stream, bool recorded)
      : backend_(backend), stream_(stream), recorded_(recorded) {}

  /// Issues the body. Recorded: the first time as it is, because libraries choose and allocate then; the
  /// second time it is recorded; from then on replayed without a call of `body`. Steps of another cadence are
  /// another variant.
  void run(Part part, Cadence cadence, const std::function<void()>& body);

 private:
  struct Variant {
    bool seen = false;
    std::unique_ptr<Recording> recording;
  };

  Backend& backend_;
  Stream& stream_;
  bool recorded_;
  std::array<Variant, kCadences * kParts> variants_;
};

}  // namespace plumb
