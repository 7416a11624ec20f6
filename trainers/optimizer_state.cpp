#include "optimizer_state.h"

#include <algorithm>
#include <map>

#include "core/error.h"

namespace plumb {
namespace {

/// The flat buffer of which every rank has its shard, on rank 0's host; nothing on the others. A collective.
std::vector<char> gather_shard(const OptimizerStateShard& shard, const Shards& shards,
                               std::int64_t flat_elements, Backend& backend, Stream& stream,
                               Session& session) {
  Communicator& communicator = session.communicator();
  const DType dtype = shard.elements.dtype;
  std::int64_t largest = 0;
  for (std::size_t b = 0; b < shards.buckets(); ++b) largest = std::max(largest, shards.bucket_elements(b));
  std::vector<char> whole(static_cast<std::size_t>(session.is_first() ? flat_elements : largest) *
                          size_of(dtype));
  for (std::size_t b = 0; b < shards.buckets(); ++b) {
    const Tensor bucket =
        session.is_first()
            ? shards.bucket_of(Tensor(whole.data(), dtype, {flat_elements}), b)
            : Tensor(whole.data(), dtype, {shards.world(), shards.bucket_elements(b) / shards.world()});
    const Tensor own = shards.own_part_of(shard.elements, b);
    backend.download(stream, own.data, bucket.row_range(shards.rank(), 1).data, own.bytes());
    stream.synchronize();
    Communicator::Request request = communicator.start_all_gather("optimiser state", bucket);
    communicator.wait(request);
  }
  if (!session.is_first()) whole.clear();
  return whole;
}

}  // namespace

WholeOptimizerState::WholeOptimizerState(const Optimizer& optimizer, const ParameterStore& parameters,
                                         Backend& backend, Stream& stream, Session& session) {
  std::map<std::string, Tensor> parts;  // of the lists below, under their names
  for (const OptimizerStateShard& shard : optimizer.state_shards()) {
    shards_.push_back(gather_shard(shard, *optimizer.shards(), parameters.padded_trainable_elements(),
                                   backend, stream, session));
    for (const Parameter* parameter : parameters.trainable()) {
      char* place =
          shards_.back().data() + static_cast<std::size_t>(parameter->offset) * size_of(shard.elements.dtype);
      if (session.is_first())
        parts[shard.prefix + parameter->name] = Tensor(place, shard.elements.dtype, parameter->shape);
    }
  }
  if (!session.is_first()) return;
  replicated_ = std::make_unique<HostTensors>(backend, stream, replicated_state(optimizer));
  for (const NamedTensor& named : replicated_->list()) parts[named.name] = named.tensor;
  for (const OptimizerStateTensor& state : optimizer.state_tensors())
    list_.push_back({state.name, parts.at(state.name)});
}

std::vector<NamedTensor> replicated_state(const Optimizer& optimizer) {
  std::vector<NamedTensor> list;
  for (const OptimizerStateTensor& state : optimizer.state_tensors()) {
    if (!state.sharded) list.push_back({state.name, state.tensor});
  }
  return list;
}

void upload_optimizer_state(Backend& backend, Stream& stream, const SafetensorsFile& file,
                            const Optimizer& optimizer) {
  for (const OptimizerStateTensor& state : optimizer.state_tensors()) {
    if (!state.required && !file.contains(state.name)) continue;
    upload_part(backend, stream, file, {state.name, state.tensor}, state.whole, state.begin);
  }
}

}  // namespace plumb
