// An optimiser that owns a part of the state: what it takes, and what of which tensor it holds. What it
// computes is in tests/distributed/sharded_test.cpp.
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "backend/loader.h"
#include "comm/local_communicator.h"
#include "optim/optimizer.h"

namespace plumb {
namespace {

constexpr int kRanks = 4;

class ShardedOptimizer : public ::testing::Test {
 protected:
  ShardedOptimizer() {
    store.declare({.name = "embedding", .shape = {97, 33}, .role = ParameterRole::Embedding});
    for (int i = 0; i < 12; ++i) {
      const std::string block = "blocks." + std::to_string(i);
      store.declare({.name = block + ".gain", .shape = {33}});
      store.declare({.name = block + ".weight", .shape = {99, 33}, .role = ParameterRole::HiddenMatrix});
    }
    store.allocate(*backend, DType::Float32, kRanks);
    std::vector<TensorSpan> spans;
    for (const Parameter* parameter : store.trainable())
      spans.push_back({parameter->name, parameter->offset, parameter->shape.elements()});
    layout = shard_buckets(make_buckets(std::move(spans), 30'000, DType::Float32),
                           store.padded_trainable_elements(), kRanks);
  }
  std::unique_ptr<Optimizer> make(OptimizerKind kind, const Shards* shards) {
    return std::make_unique<Optimizer>(OptimizerSettings{.kind = kind}, store, *backend,
                                       ShardedUpdate{shards, &communicator});
  }

  std::unique_ptr<Backend> backend = make_backend("cpu");
  LocalCommunicator communicator{"here"};
  ParameterStore store;
  GradientLayout layout;
};

TEST_F(ShardedOptimizer, TakesItsShareOfTheMemory) {
  const auto bytes = static_cast<std::size_t>(store.padded_trainable_elements()) * sizeof(float);
  for (const auto& [kind, states] : {std::pair{OptimizerKind::AdamW, 2U}, {OptimizerKind::SgdMomentum, 1U}}) {
    const std::unique_ptr<Optimizer> whole = make(kind, nullptr);
    for (int rank = 0; rank < kRanks; ++rank) {
      const Shards shards(layout, rank, kRanks);
      const std::size_t before = backend->memory_use().bytes;
      const std::unique_ptr<Optimizer> part = make(kind, &shards);
      const std::size_t taken = backend->memory_use().bytes - before;
      EXPECT_EQ(whole->bytes() - part->bytes(), states * bytes / kRanks * (kRanks - 1));
      EXPECT_GE(taken, part->bytes());
      EXPECT_LE(taken, part->bytes() + 1024) << "host side of uploads";
      EXPECT_LT(static_cast<double>(taken), 1.05 / kRanks * static_cast<double>(states * bytes));
    }
  }
}

TEST_F(ShardedOptimizer, HoldsEveryElementOfTheStateOnOneRank) {
  std::map<std::string, std::int64_t> held;
  std::map<std::string, std::int64_t> end;  // parts of the ranks lie one behind the other
  std::map<std::string, Shape> wholes;
  for (int rank = 0; rank < kRanks; ++rank) {
    const Shards shards(layout, rank, kRanks);
    const std::unique_ptr<Optimizer> part = make(OptimizerKind::AdamW, &shards);
    for (const OptimizerStateTensor& state : part->state_tensors()) {
      EXPECT_TRUE(state.sharded);
      if (state.tensor.elements() == 0) continue;
      EXPECT_EQ(state.begin, end[state.name]) << state.name << " on rank " << rank;
      end[state.name] = state.begin + state.tensor.elements();
      held[state.name] += state.tensor.elements();
      wholes[state.name] = state.whole;
    }
  }
  EXPECT_EQ(held.size(), 2 * store.trainable().size());
  for (const Parameter* parameter : store.trainable()) {
    for (const char* kind : {"momentum/", "variance/"}) {
      EXPECT_EQ(held[kind + parameter->name], parameter->shape.elements()) << parameter->name;
      EXPECT_EQ(wholes[kind + parameter->name], parameter->shape);
    }
  }
}

}  // namespace
}  // namespace plumb
