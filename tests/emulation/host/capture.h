// Recording of stream operations into a graph: cudaStreamBeginCapture, cudaStreamEndCapture.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "host/operation.h"
#include "host/streams.h"

namespace plumb::emulation {

struct GraphNode {
  Recipe recipe;
  std::vector<std::size_t> after;  ///< indices of earlier nodes
};
using GraphNodes = std::vector<GraphNode>;

class Capture {
 public:
  Capture(CUstream_st& origin, bool relaxed) : origin_(&origin), relaxed_(relaxed) {}

  /// A new node behind the stream's frontier, which it becomes.
  void add(CUstream_st& stream, const Recipe& recipe);
  /// Makes `stream` part of the capture, and what comes next on it wait for `nodes`.
  void join(const std::shared_ptr<Capture>& self, CUstream_st& stream, const std::vector<std::size_t>& nodes);
  /// Releases all streams. Whether everything recorded is joined to the origin's last nodes.
  bool finish();

  const CUstream_st* origin() const { return origin_; }
  bool relaxed() const { return relaxed_; }
  bool active() const { return active_; }
  bool invalidated() const { return invalidated_; }
  void invalidate() { invalidated_ = true; }
  GraphNodes take_nodes() { return std::move(nodes_); }

 private:
  CUstream_st* origin_;
  bool relaxed_;
  bool active_ = true;
  bool invalidated_ = false;
  GraphNodes nodes_;
  std::vector<CUstream_st*> members_;  ///< without the origin
};

/// Adds a node to the stream's capture; cudaErrorStreamCaptureInvalidated when that is broken.
cudaError_t record(const char* function, CUstream_st& stream, const Recipe& recipe);

/// Whether any capture goes on.
bool capturing();
/// Invalidates all captures that forbid unsafe calls (mode Global or ThreadLocal); whether there was one.
bool invalidate_captures(const char* function);

}  // namespace plumb::emulation
