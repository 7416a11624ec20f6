// A CUDA graph behind Recording.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>

#include "backend/stream.h"

namespace plumb::cuda {

/// Captures what `body` issues to `stream` and to the streams that events join to it.
std::unique_ptr<Recording> record_graph(Stream& stream, const std::function<void()>& body);

}  // namespace plumb::cuda
