// What can go wrong between ranks that train on devices: the skeleton of a training run, in which the
// environment (PLUMB_EMULATION_FAULT) or the word on the command line lets something fail.
// device_scenarios_test.cpp starts this program under mpirun and looks at what comes out; main() is a model
// of the real program's.
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

#include "backend/loader.h"
#include "comm/bootstrap.h"
#include "comm/gradient_reducer.h"
#include "comm/rank_checks.h"
#include "core/error.h"

namespace {
using namespace plumb;

constexpr int kSteps = 3, kBuckets = 4;
constexpr std::int64_t kBucketElements = 64;
constexpr double kDeadline = 2;

GradientLayout layout() {
  std::vector<TensorSpan> tensors;
  for (int b = 0; b < kBuckets; ++b) {
    tensors.push_back({fmt::format("tensor {}", b), b * kBucketElements, kBucketElements});
  }
  return make_buckets(std::move(tensors), kBucketElements * 4, DType::Float32);
}

/// Statistics that cross ranks over the host's communicator.
void exchange_statistics(Communicator& host) {
  double own = 1;
  std::vector<double> all(static_cast<std::size_t>(host.world()));
  host.all_gather("step statistics", Tensor(&own, DType::Float64, {1}),
                  Tensor(all.data(), DType::Float64, {host.world(), 1}));
}

/// y = x W^T, in place of a forward pass.
void multiply(Backend& backend, Stream& stream, const Buffer& activations) {
  constexpr std::int64_t kWidth = 16;
  auto* const x = static_cast<float*>(activations.data());
  LinearForward arguments{.x = Tensor(x, DType::Float32, {kWidth, kWidth}),
                          .weight = Tensor(x + kWidth * kWidth, DType::Float32, {kWidth, kWidth}),
                          .bias = {},
                          .y = Tensor(x + 2 * kWidth * kWidth, DType::Float32, {kWidth, kWidth}),
                          .workspace = {}};
  const Buffer workspace = backend.allocate(backend.linear().linear_forward_workspace(arguments) + 1);
  arguments.workspace = {workspace.data(), workspace.bytes()};
  backend.linear().linear_forward(stream, arguments);
  stream.synchronize();
}

/// Steps as TrainingLoop makes them. `skips`: this rank does not reduce the gradients of the last step.
void train(Communicator& host, Backend& backend, bool skips) {
  const auto stream = backend.create_stream();
  const Buffer activations = backend.allocate(3 * 16 * 16 * sizeof(float));
  const Buffer memory = backend.allocate_for_communication(kBuckets * kBucketElements * 4);
  const auto communicator = backend.make_communicator(host, *stream);
  GradientReducer reducer(*communicator, layout(),
                          Tensor(memory.data(), DType::Float32, {kBuckets * kBucketElements}));
  const std::vector<float> gradients(kBuckets * kBucketElements, 1);
  for (int step = 0; step < kSteps; ++step) {
    multiply(backend, *stream, activations);
    if (!(skips && step + 1 == kSteps)) {
      reducer.begin_step();
      backend.upload(*stream, gradients.data(), memory.data(), memory.bytes());
      for (int b = 0; b < kBuckets; ++b) reducer.mark_ready(b);
      reducer.finish();
    }
    stream->synchronize();
    exchange_statistics(host);
  }
  std::vector<float> sums(gradients.size());
  backend.download(*stream, memory.data(), sums.data(), memory.bytes());
  stream->synchronize();
  for (const float sum : sums)
    PLUMB_CHECK(skips || sum == static_cast<float>(host.world()), "a wrong sum: {}", sum);
}

/// What the real program does before it allocates anything: all ranks meet and leave together.
std::unique_ptr<Backend> make_own_device(Communicator& host) {
  std::unique_ptr<Backend> backend;
  std::string failure;
  try {
    backend =
        make_backend("cuda-emulated", {.local_rank = host.local_rank(), .local_size = host.local_size()});
  } catch (const std::exception& error) {
    failure = error.what();
  }
  const auto failures = agree_on_failure(host, failure);
  if (!failures.empty()) throw InputError(failure_line(failures, host));
  check_devices_differ(host, backend->facts().identity);
  return backend;
}

int run(const std::string& scenario) {
  const auto host = make_communicator(detect_launch(), {.deadline = kDeadline});
  std::unique_ptr<Backend> backend;
  try {
    backend = make_own_device(*host);
  } catch (const InputError& error) {
    // All ranks have met on it. The others wait in MPI_Finalize until this line is out: mpirun ends the job
    // when the first of them leaves.
    if (host->rank() == 0) std::fprintf(stderr, "scenario: %s\n", error.what());
    return 2;
  }
  train(*host, *backend, scenario == "skip" && host->rank() == 1);
  if (host->rank() == 0) std::fprintf(stderr, "scenario went well\n");
  return 0;
}
}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "");
  } catch (const InputError& error) {
    if (process_identity().rank == 0) std::fprintf(stderr, "scenario: %s\n", error.what());
    abort_all_ranks(2);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "scenario: %s\n", error.what());
    abort_all_ranks(1);
    return 1;
  }
}
