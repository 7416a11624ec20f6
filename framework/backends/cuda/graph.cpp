#include "backends/cuda/graph.h"

#include "backends/cuda/check.h"
#include "backends/cuda/stream.h"

namespace plumb::cuda {
namespace {

class CudaGraph final : public Recording {
 public:
  explicit CudaGraph(cudaGraph_t graph) {
    const cudaError_t code = cudaGraphInstantiate(&executable_, graph, 0);
    static_cast<void>(cudaGraphDestroy(graph));
    PLUMB_CUDA(code);
  }
  ~CudaGraph() override { static_cast<void>(cudaGraphExecDestroy(executable_)); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  void replay(Stream& stream) override { PLUMB_CUDA(cudaGraphLaunch(executable_, handle_of(stream))); }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace

std::unique_ptr<Recording> record_graph(Stream& stream, const std::function<void()>& body) {
  const cudaStream_t handle = handle_of(stream);
  // Other threads of the process (MPI's, NCCL's) may go on calling CUDA.
  PLUMB_CUDA(cudaStreamBeginCapture(handle, cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    body();
  } catch (...) {
    if (cudaStreamEndCapture(handle, &graph) == cudaSuccess) static_cast<void>(cudaGraphDestroy(graph));
    throw;
  }
  PLUMB_CUDA(cudaStreamEndCapture(handle, &graph));
  return std::make_unique<CudaGraph>(graph);
}

}  // namespace plumb::cuda
