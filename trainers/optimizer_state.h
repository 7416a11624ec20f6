// The optimiser's state between device memory and files, whole or sharded over ranks: files hold it whole.
#pragma once

#include <memory>
#include <vector>

#include "checkpoint/safetensors.h"
#include "model_state.h"
#include "optim/optimizer.h"
#include "session.h"

namespace plumb {

/// Host copies of all of it on rank 0, in the order and under the names of state_tensors().
class WholeOptimizerState {
 public:
  /// A collective where the state is sharded; bucket by bucket, so that the other ranks need no more memory
  /// than one.
  WholeOptimizerState(const Optimizer& optimizer, const ParameterStore& parameters, Backend& backend,
                      Stream& stream, Session& session);
  /// Empty on other ranks than the first.
  const std::vector<NamedTensor>& list() const { return list_; }

 private:
  std::vector<std::vector<char>> shards_;  ///< whole, of each kind; laid out as the flat buffers are
  std::unique_ptr<HostTensors> replicated_;
  std::vector<NamedTensor> list_;
};

/// Device views of what every rank holds of the state alike.
std::vector<NamedTensor> replicated_state(const Optimizer& optimizer);

/// Fills the optimiser's state, of a sharded one what this rank owns, from a file of a whole one. Errors as
/// of upload_tensors.
void upload_optimizer_state(Backend& backend, Stream& stream, const SafetensorsFile& file,
                            const Optimizer& optimizer);

}  // namespace plumb
