// A CUDA graph behind Recording.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>

#include "backend/stream.h"

namespace plumb::cuda {

/// Called by the host before a capture and around every replay, so that a communicator can watch over the
/// collectives in it.
struct ReplayHooks {
  std::function<void()> before_capture, before, after;
};

/// Captures what `body` issues to `stream` and to the streams that events join to it. `hooks` must outlive
/// it.
std::unique_ptr<Recording> record_graph(Stream& stream, const std::function<void()>& body,
                                        const ReplayHooks& hooks);

/// Whether what is issued to the stream is being captured at the moment.
bool is_capturing(Stream& stream);

}  // namespace plumb::cuda
