#include "host/graphs.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "core/error.h"
#include "host/api_call.h"
#include "host/device_fault.h"
#include "host/errors.h"
#include "host/handles.h"
#include "host/statistics.h"
#include "host/streams.h"

struct CUgraph_st {
  std::shared_ptr<const plumb::emulation::GraphNodes> nodes;
};

namespace plumb::emulation {

/// Launches of one executable graph run one after the other, whatever their streams.
struct LaunchOrder {
  std::uint64_t issued = 0;
  std::uint64_t finished = 0;
  std::deque<cudaStream_t> streams;  ///< of the launches that have not finished
};

}  // namespace plumb::emulation

struct CUgraphExec_st {
  std::shared_ptr<const plumb::emulation::GraphNodes> nodes;
  std::shared_ptr<plumb::emulation::LaunchOrder> order;
};

namespace plumb::emulation {
namespace {

/// One launch of a graph: any order that the dependencies allow, chosen by the schedule.
class GraphRun final : public Operation {
 public:
  GraphRun(std::shared_ptr<const GraphNodes> nodes, std::shared_ptr<LaunchOrder> order, cudaStream_t stream)
      : nodes_(std::move(nodes)), order_(std::move(order)), turn_(order_->issued++) {
    order_->streams.push_back(stream);
    unmet_.resize(nodes_->size());
    followers_.resize(nodes_->size());
    for (std::size_t node = 0; node < nodes_->size(); ++node) {
      operations_.push_back((*nodes_)[node].recipe(stream));
      unmet_[node] = (*nodes_)[node].after.size();
      for (const std::size_t before : (*nodes_)[node].after) followers_[before].push_back(node);
      if (unmet_[node] == 0) ready_.push_back(node);
    }
  }

  const char* name() const override { return "graph launch"; }

  Advance advance() override {
    if (order_->finished != turn_) return Advance::Blocked;
    if (ready_.empty()) return finish();
    const std::size_t first = choose(ready_.size());
    for (std::size_t tried = 0; tried < ready_.size(); ++tried) {
      const std::size_t position = (first + tried) % ready_.size();
      blocked_ = ready_[position];
      set_running_operation(operations_[blocked_]->name());
      const Advance result = operations_[blocked_]->advance();
      if (result == Advance::Progress) return result;
      if (result == Advance::Done) {
        complete(position);
        return ready_.empty() ? finish() : Advance::Progress;
      }
    }
    return Advance::Blocked;
  }

  std::string waits_for() const override {
    if (order_->finished != turn_) return "an earlier launch of the same graph";
    return fmt::format("its node {} '{}', which waits for {}", blocked_, operations_[blocked_]->name(),
                       operations_[blocked_]->waits_for());
  }
  cudaStream_t needs() const override {
    return order_->finished != turn_ ? order_->streams.front() : operations_[blocked_]->needs();
  }
  bool waits_outside() const override {
    return order_->finished == turn_ && !ready_.empty() && operations_[blocked_]->waits_outside();
  }

 private:
  void complete(std::size_t position) {
    const std::size_t node = ready_[position];
    ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(position));
    for (const std::size_t follower : followers_[node]) {
      if (--unmet_[follower] == 0) ready_.push_back(follower);
    }
    ++statistics().operations;
  }

  Advance finish() {
    ++order_->finished;
    order_->streams.pop_front();
    return Advance::Done;
  }

  std::shared_ptr<const GraphNodes> nodes_;
  std::shared_ptr<LaunchOrder> order_;
  std::uint64_t turn_;
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<std::size_t> unmet_;
  std::vector<std::vector<std::size_t>> followers_;
  std::vector<std::size_t> ready_;
  std::size_t blocked_ = 0;
};

cudaError_t no_such(const char* function) {
  return refuse(cudaErrorInvalidValue, fmt::format("{}: no such graph", function));
}

}  // namespace

cudaGraph_t make_graph(GraphNodes nodes) {
  return handles<CUgraph_st>().add({std::make_shared<const GraphNodes>(std::move(nodes))});
}

}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  if (const cudaError_t code = enter("cudaGraphInstantiate", WhileCapturing::Allowed)) return code;
  if (flags != 0) plumb::fail("cudaGraphInstantiate: flags {:#x} are not modelled by the emulation", flags);
  if (executable == nullptr || handles<CUgraph_st>().find(graph) == nullptr)
    return no_such("cudaGraphInstantiate");
  *executable = handles<CUgraphExec_st>().add({graph->nodes, std::make_shared<LaunchOrder>()});
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  constexpr const char* kFunction = "cudaGraphLaunch";
  if (const cudaError_t code = enter(kFunction, WhileCapturing::Allowed)) return code;
  if (handles<CUgraphExec_st>().find(executable) == nullptr) return no_such(kFunction);
  const CUstream_st* found = find_stream(kFunction, stream);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  if (found->capture) plumb::fail("cudaGraphLaunch into a capture is not modelled by the emulation");
  ++statistics().graph_launches;
  return submit(kFunction, stream, [nodes = executable->nodes, order = executable->order](cudaStream_t on) {
    return std::make_unique<GraphRun>(nodes, order, on);
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream) {
  constexpr const char* kFunction = "cudaGraphUpload";
  if (const cudaError_t code = enter(kFunction, WhileCapturing::Forbidden)) return code;
  if (handles<CUgraphExec_st>().find(executable) == nullptr) return no_such(kFunction);
  return submit(kFunction, stream, immediate(kFunction, [] {}));
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (const cudaError_t code = enter("cudaGraphGetNodes", WhileCapturing::Allowed)) return code;
  if (nodes != nullptr) plumb::fail("cudaGraphGetNodes: the emulation only counts nodes");
  if (handles<CUgraph_st>().find(graph) == nullptr || count == nullptr) return no_such("cudaGraphGetNodes");
  *count = graph->nodes->size();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  if (const cudaError_t code = enter("cudaGraphDestroy", WhileCapturing::Allowed)) return code;
  if (handles<CUgraph_st>().find(graph) == nullptr) return no_such("cudaGraphDestroy");
  handles<CUgraph_st>().remove(graph);
  return cudaSuccess;
}

// Launches that have not finished keep what they need.
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  if (const cudaError_t code = enter("cudaGraphExecDestroy", WhileCapturing::Allowed)) return code;
  if (handles<CUgraphExec_st>().find(executable) == nullptr) return no_such("cudaGraphExecDestroy");
  handles<CUgraphExec_st>().remove(executable);
  return cudaSuccess;
}

}  // extern "C"
