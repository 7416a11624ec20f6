// One rank of a training run whose inner numbers the tests want: joins the launch as `plumb train` does,
// trains, and rank 0 writes a safetensors file with
//   gradient/<name>   reduced gradient of the first step
//   later/<name>      reduced gradient of step kLaterStep, in runs that are so long
//   parameter/<name>  after the last step
//   bucket/<name>     (1) int64, the gradient bucket that the tensor is reduced in
//   hashes            (world) int64, of every rank's parameters after the last step
// and the run's logs beside it in run.dir.
//
//   probe CONFIG OUTPUT [--drop-bucket N] [key=value ...]
//
// --drop-bucket plays the fault that the comparison of gradients must notice: bucket N is never reduced.
#include <mpi.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "core/error.h"
#include "core/hash.h"
#include "distributed/training_run.h"

namespace {

/// Which of the all-reduces of fp32 gradients never happens; the statistics cross ranks in fp64.
struct DroppedReduction {
  int bucket = -1;
  int buckets = 0;  ///< of a step
  int seen = 0;
};
DroppedReduction dropped;

}  // namespace

/// MPI's profiling interface: this definition takes the place of the library's, which stays as
/// PMPI_Iallreduce.
extern "C" int MPI_Iallreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op op,
                              MPI_Comm communicator, MPI_Request* request) {
  if (dropped.bucket >= 0 && type == MPI_FLOAT && dropped.seen++ % dropped.buckets == dropped.bucket) {
    *request = MPI_REQUEST_NULL;
    return MPI_SUCCESS;
  }
  return PMPI_Iallreduce(send, receive, count, type, op, communicator, request);
}

namespace plumb {
namespace {

struct Arguments {
  std::string config, output;
  int dropped_bucket = -1;
  std::vector<std::string> overrides;
};

Arguments parse(int count, char** values) {
  Arguments arguments;
  if (count < 3) fail_input("usage: probe CONFIG OUTPUT [--drop-bucket N] [key=value ...]");
  arguments.config = values[1];
  arguments.output = values[2];
  for (int i = 3; i < count; ++i) {
    const std::string value = values[i];
    if (value == "--drop-bucket" && i + 1 < count) {
      arguments.dropped_bucket = std::atoi(values[++i]);
    } else {
      arguments.overrides.push_back(value);
    }
  }
  return arguments;
}

/// The gradients are those of a later step, when the optimiser has moved every parameter.
constexpr std::int64_t kLaterStep = 5;

std::vector<NamedTensor> gradients(const Engine& engine, const std::string& prefix) {
  std::vector<NamedTensor> list;
  for (const Parameter* parameter : engine.parameters().trainable()) {
    list.push_back({prefix + parameter->name, parameter->gradient});
  }
  return list;
}

std::vector<std::int64_t> buckets_of_tensors(const GradientLayout& layout) {
  std::vector<std::int64_t> list(layout.tensors.size());
  for (std::size_t b = 0; b < layout.buckets.size(); ++b) {
    std::fill_n(list.begin() + layout.buckets[b].first_tensor, layout.buckets[b].tensors,
                static_cast<std::int64_t>(b));
  }
  return list;
}

/// (world) one hash per rank. A collective.
std::vector<std::int64_t> hashes_of_ranks(const HostTensors& parameters, Communicator& communicator) {
  std::string bytes;
  for (const NamedTensor& parameter : parameters.list()) {
    bytes.append(static_cast<const char*>(parameter.tensor.data), parameter.tensor.bytes());
  }
  auto own = std::bit_cast<std::int64_t>(hash_text(bytes));
  std::vector<std::int64_t> all(static_cast<std::size_t>(communicator.world()));
  communicator.all_gather("parameter hashes", Tensor(&own, DType::Int64, {1}),
                          Tensor(all.data(), DType::Int64, {communicator.world()}));
  return all;
}

void run(const Arguments& arguments) {
  Session session;
  TrainingRun run(session, arguments.config, arguments.overrides);
  const GradientLayout& layout = run.loop().reducer().layout();
  dropped = {arguments.dropped_bucket, static_cast<int>(layout.buckets.size()), 0};
  run.train_to(1);
  const HostTensors first_gradients = run.download(gradients(run.loop().engine(), "gradient/"));
  std::optional<HostTensors> later_gradients;
  if (run.steps() >= kLaterStep) {
    run.train_to(kLaterStep);
    later_gradients.emplace(run.download(gradients(run.loop().engine(), "later/")));
  }
  run.train_to(run.steps());
  const HostTensors parameters = run.download(parameter_tensors(run.loop().engine().parameters()));
  std::vector<std::int64_t> hashes = hashes_of_ranks(parameters, session.communicator());
  if (!session.is_first()) return;

  std::vector<NamedTensor> file = first_gradients.list();
  if (later_gradients) {
    const std::vector<NamedTensor> later = later_gradients->list();
    file.insert(file.end(), later.begin(), later.end());
  }
  for (const NamedTensor& parameter : parameters.list()) {
    file.push_back({"parameter/" + parameter.name, parameter.tensor});
  }
  std::vector<std::int64_t> buckets = buckets_of_tensors(layout);
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    file.push_back({"bucket/" + layout.tensors[i].name, Tensor(&buckets[i], DType::Int64, {1})});
  }
  file.push_back({"hashes", Tensor(hashes.data(), DType::Int64, {session.world()})});
  write_safetensors(arguments.output, file);
}

}  // namespace
}  // namespace plumb

int main(int argc, char** argv) {
  try {
    plumb::run(plumb::parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "probe: %s\n", error.what());
    return plumb::leave_after_error(1);
  }
}
