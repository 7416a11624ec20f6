#include "host/capture.h"

#include <fmt/format.h>

#include <algorithm>

#include "host/api_call.h"
#include "host/errors.h"
#include "host/graphs.h"

namespace plumb::emulation {
namespace {

std::vector<std::shared_ptr<Capture>>& captures() {
  static std::vector<std::shared_ptr<Capture>>& going_on =
      *std::make_unique<std::vector<std::shared_ptr<Capture>>>().release();
  return going_on;
}

void unite(std::vector<std::size_t>& nodes, const std::vector<std::size_t>& more) {
  nodes.insert(nodes.end(), more.begin(), more.end());
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
}

}  // namespace

void Capture::add(CUstream_st& stream, const Recipe& recipe) {
  nodes_.push_back({recipe, stream.frontier});
  stream.frontier = {nodes_.size() - 1};
}

void Capture::join(const std::shared_ptr<Capture>& self, CUstream_st& stream,
                   const std::vector<std::size_t>& nodes) {
  if (!stream.capture) {
    stream.capture = self;
    if (&stream != origin_) members_.push_back(&stream);
  }
  unite(stream.frontier, nodes);
}

bool Capture::finish() {
  std::vector<bool> joined(nodes_.size(), false);
  for (const std::size_t node : origin_->frontier) joined[node] = true;
  for (std::size_t node = nodes_.size(); node-- > 0;) {
    if (!joined[node]) continue;
    for (const std::size_t before : nodes_[node].after) joined[before] = true;
  }
  members_.push_back(origin_);
  for (CUstream_st* stream : members_) {
    stream->capture.reset();
    stream->frontier.clear();
  }
  active_ = false;
  return std::all_of(joined.begin(), joined.end(), [](bool node) { return node; });
}

cudaError_t record(const char* function, CUstream_st& stream, const Recipe& recipe) {
  if (stream.capture->invalidated())
    return refuse(cudaErrorStreamCaptureInvalidated, fmt::format("{} on stream {}", function, stream.number));
  stream.capture->add(stream, recipe);
  return cudaSuccess;
}

bool capturing() { return !captures().empty(); }

bool invalidate_captures(const char*) {
  bool any = false;
  for (const auto& capture : captures()) {
    if (capture->relaxed()) continue;
    capture->invalidate();
    any = true;
  }
  return any;
}

}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  constexpr const char* kFunction = "cudaStreamBeginCapture";
  if (const cudaError_t code = enter(kFunction, WhileCapturing::Allowed)) return code;
  CUstream_st* found = find_stream(kFunction, stream);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream == nullptr)
    return refuse(cudaErrorStreamCaptureUnsupported, "cudaStreamBeginCapture: the default stream");
  if (found->capture)
    return refuse(cudaErrorInvalidValue, "cudaStreamBeginCapture: the stream captures already");
  auto capture = std::make_shared<Capture>(*found, mode == cudaStreamCaptureModeRelaxed);
  capture->join(capture, *found, {});
  captures().push_back(std::move(capture));
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  constexpr const char* kFunction = "cudaStreamEndCapture";
  if (graph != nullptr) *graph = nullptr;
  if (const cudaError_t code = enter(kFunction, WhileCapturing::Allowed)) return code;
  CUstream_st* found = find_stream(kFunction, stream);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  const std::shared_ptr<Capture> capture = found->capture;
  if (!capture || graph == nullptr)
    return refuse(cudaErrorInvalidValue, "cudaStreamEndCapture: the stream does not capture");
  if (capture->origin() != found) {
    capture->invalidate();
    return refuse(cudaErrorStreamCaptureUnmatched,
                  fmt::format("it began on stream {}, not {}", capture->origin()->number, found->number));
  }
  const bool joined = capture->finish();
  std::erase(captures(), capture);
  if (capture->invalidated()) return refuse(cudaErrorStreamCaptureInvalidated, kFunction);
  if (!joined) return refuse(cudaErrorStreamCaptureUnjoined, kFunction);
  *graph = make_graph(capture->take_nodes());
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  constexpr const char* kFunction = "cudaStreamIsCapturing";
  if (const cudaError_t code = enter(kFunction, WhileCapturing::Allowed)) return code;
  const CUstream_st* found = find_stream(kFunction, stream);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  if (status == nullptr) return refuse(cudaErrorInvalidValue, kFunction);
  if (stream == nullptr && capturing()) return refuse(cudaErrorStreamCaptureImplicit, kFunction);
  *status = !found->capture                 ? cudaStreamCaptureStatusNone
            : found->capture->invalidated() ? cudaStreamCaptureStatusInvalidated
                                            : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

}  // extern "C"
