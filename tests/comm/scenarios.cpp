// What can go wrong between ranks, one scenario per word on the command line. scenarios_test.cpp starts this
// program under mpirun and looks at what comes out; main() is a model of the real program's.
#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "comm/bootstrap.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/rng.h"

namespace {
using namespace plumb;

volatile std::sig_atomic_t told_to_stop = 0;
void on_signal(int) { told_to_stop = 1; }

void say(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
  std::fflush(stderr);
}

std::int32_t sum_of_ones(Communicator& comm, const char* name, std::int32_t own = 1) {
  comm.all_reduce(name, Tensor(&own, DType::Int32, {1}), ReduceOp::Sum);
  return own;
}

double sum_of_real_ones(Communicator& comm, const char* name) {
  double own = 1;
  comm.all_reduce(name, Tensor(&own, DType::Float64, {1}), ReduceOp::Sum);
  return own;
}

/// Every rank but number 1 waits for it in vain.
void skip_a_collective(Communicator& comm) {
  comm.set_deadline(2);
  if (comm.rank() == 1) std::this_thread::sleep_for(std::chrono::seconds(60));
  sum_of_real_ones(comm, "gradient bucket 3");
}

/// Ranks disagree on what comes next, in a way that leaves each of them waiting.
void lose_the_order(Communicator& comm) {
  comm.set_deadline(2);
  std::int32_t value = 0;
  comm.broadcast(comm.rank() == 0 ? "loss" : "save", Tensor(&value, DType::Int32, {1}), 1 - comm.rank());
}

/// The same collective with different sizes, which MPI notices, and ranks of a host that share memory.
void lose_the_shape(Communicator& comm) {
  std::vector<float> values(comm.rank() == 0 ? 64 : 16);
  comm.all_reduce("profile", Tensor(values.data(), DType::Float32, {std::ssize(values)}), ReduceOp::Sum);
}

void lose_a_rank(Communicator& comm) {
  sum_of_real_ones(comm, "start");
  if (comm.rank() == 1) std::raise(SIGKILL);
  sum_of_real_ones(comm, "after the loss");
}

/// Runs until every rank was told to stop.
void stop_on_signal(Communicator& comm) {
  std::signal(SIGTERM, on_signal);
  std::signal(SIGUSR1, on_signal);
  comm.barrier("handlers are set");
  if (comm.rank() == 0) say("ready");
  while (sum_of_ones(comm, "who was told", told_to_stop) < comm.world()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  say(fmt::format("rank {} was told to stop", comm.rank()));
}

void print_hash_of_sum(Communicator& comm) {
  std::vector<float> values(1'000'003);
  const RandomStream stream{5, 0, static_cast<std::uint32_t>(comm.rank())};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = stream.uniform(i) - 0.5F;
  comm.all_reduce("sum", Tensor(values.data(), DType::Float32, {std::ssize(values)}), ReduceOp::Sum);
  if (comm.rank() == 0)
    say("hash " + hash_to_string(hash_bytes(values.data(), values.size() * sizeof(float))));
}

int run(const std::string& scenario, bool shares_memory) {
  const auto comm = make_communicator(detect_launch());
  if (shares_memory) {
    const std::string absence = comm->choose_sum_path({});
    if (!absence.empty()) fail("no shared memory: {}", absence);
  }
  std::string failure;
  if (scenario == "bad-input" || (scenario == "bad-input-on-rank-1" && comm->rank() == 1)) {
    failure = "quickstart.toml:3: no such key: trainning";
  }
  const auto failures = agree_on_failure(*comm, failure);
  if (!failures.empty()) {
    if (comm->rank() == 0) say("scenario: " + failure_line(failures, *comm));
    return 2;
  }
  if (scenario == "skip") skip_a_collective(*comm);
  if (scenario == "order") lose_the_order(*comm);
  if (scenario == "shape") lose_the_shape(*comm);
  if (scenario == "kill") lose_a_rank(*comm);
  if (scenario == "signal") stop_on_signal(*comm);
  if (scenario == "hash") print_hash_of_sum(*comm);
  if (scenario == "throw" && comm->rank() == 1) fail("rank 1 cannot go on");
  if (scenario == "throw") comm->barrier("never complete");
  return 0;
}
}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "", argc > 2 && std::string(argv[2]) == "shared");
  } catch (const plumb::InputError& error) {
    if (plumb::process_identity().rank == 0) say(std::string("scenario: ") + error.what());
    plumb::abort_all_ranks(2);
    return 2;
  } catch (const std::exception& error) {
    say(std::string("scenario: ") + error.what());
    plumb::abort_all_ranks(1);
    return 1;
  }
}
