#include "step_parts.h"

namespace plumb {

void StepParts::run(Part part, Cadence cadence, const std::function<void()>& body) {
  Variant& variant = variants_[static_cast<std::size_t>(kCadences * part + static_cast<int>(cadence))];
  if (!recorded_ || !variant.seen) {
    variant.seen = true;
    body();
    return;
  }
  if (!variant.recording) {
    const PhaseRange range(backend_, "record");
    variant.recording = backend_.record(stream_, body);
  }
  const PhaseRange range(backend_, "replay");
  variant.recording->replay(stream_);
}

}  // namespace plumb
