// What the arena holds with and without activations that are made again, against closed forms.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "backend/loader.h"
#include "core/error.h"
#include "nn/engine.h"
#include "nn/placed_config.h"

namespace plumb::test {
namespace {

constexpr std::int64_t kBlocks = 5, kWidth = 48, kHeads = 3, kTokens = 32, kBatch = 2,
                       kRows = kTokens * kBatch;
/// Bytes of a tensor (R,C), of one number per row, and of one per row and head; every one a multiple of the
/// arena's alignment.
constexpr std::size_t kFloat = 4, kTensor = kRows * kWidth * kFloat, kColumn = kRows * kFloat,
                      kPerHead = kHeads * kColumn;

ModelConfig pre_norm_decoder() {
  ModelConfig config;
  config.blocks = kBlocks;
  config.width = kWidth;
  config.heads = kHeads;
  config.sequence_length = kTokens;
  config.base.norm.in.kind = "layernorm";
  config.final_norm.kind = "layernorm";
  return config;
}

ArenaPlan plan_of(const ModelConfig& config, Recompute recompute, bool remakes = false) {
  const auto backend = make_backend("cpu");
  Engine engine(config, 11, {.batch = kBatch, .tokens = kTokens, .recompute = recompute, .remakes = remakes},
                7, *backend);
  std::size_t sum = 0;
  for (const MemoryShare& share : engine.memory_plan()) sum += share.bytes;
  EXPECT_EQ(backend->memory_use().bytes, sum) << "the plan is what is taken, to the byte";
  return engine.plan();
}

/// u; mean and rstd of the norm; q, k, v; log of the sum of exponentials; out.
constexpr std::size_t kAttention = 5 * kTensor + 2 * kColumn + kPerHead;
/// u, mean and rstd; before and after the activation.
constexpr std::size_t kFfnOutside = kTensor + 2 * kColumn, kFfnInside = 8 * kTensor;
/// z, dz and du take turns; and the widest of the gradients inside.
constexpr std::size_t kTransient = 5 * kTensor;
/// The gradient of the stream; rows of the final norm and log Z.
constexpr std::size_t kOuter = kTensor + 3 * kColumn;

TEST(RecomputeMemory, OfAPreNormDecoder) {
  const ModelConfig config = pre_norm_decoder();
  const ArenaPlan none = plan_of(config, Recompute::None), ffn = plan_of(config, Recompute::FeedForward),
                  block = plan_of(config, Recompute::Block);
  const std::size_t states = (2 * kBlocks + 1) * kTensor;
  EXPECT_EQ(none.lasting_bytes(), states + kBlocks * (kAttention + kFfnOutside + kFfnInside) + kOuter);
  EXPECT_EQ(none.recomputed_bytes(), 0u);
  EXPECT_EQ(ffn.lasting_bytes(), states + kBlocks * (kAttention + kFfnOutside) + kOuter);
  EXPECT_EQ(ffn.recomputed_bytes(), kFfnInside);
  EXPECT_EQ(block.lasting_bytes(), (kBlocks + 1) * kTensor + kOuter);
  EXPECT_EQ(block.recomputed_bytes(), kTensor + kAttention + kFfnOutside + kFfnInside) << "a block, a state";
  EXPECT_EQ(none.transient_bytes(), kTransient);
  EXPECT_EQ(ffn.transient_bytes(), kTransient + kTensor) << "u is read while dz is there";
  EXPECT_EQ(block.transient_bytes(), kTransient);
  for (const ArenaPlan* plan : {&none, &ffn, &block})
    EXPECT_EQ(plan->workspace_bytes(), none.workspace_bytes());
}

// Kept no longer: u, and what follows the activation.
TEST(RecomputeMemory, OfWhatOnePassMakesAgain) {
  const ModelConfig config = pre_norm_decoder();
  const ArenaPlan none = plan_of(config, Recompute::None, true),
                  ffn = plan_of(config, Recompute::FeedForward, true),
                  block = plan_of(config, Recompute::Block, true);
  const std::size_t states = (2 * kBlocks + 1) * kTensor, pre = 4 * kTensor;
  const std::size_t sublayers = kBlocks * (kAttention + kFfnOutside - 2 * kTensor);
  EXPECT_EQ(none.lasting_bytes(), states + sublayers + kBlocks * pre + kOuter);
  EXPECT_EQ(none.transient_bytes(), kTransient)
      << "u takes turns with dz and du, the hidden units with theirs";
  EXPECT_EQ(ffn.lasting_bytes(), states + sublayers + kOuter);
  EXPECT_EQ(ffn.recomputed_bytes(), pre);
  EXPECT_EQ(ffn.transient_bytes(), kTransient + 2 * kTensor);
  EXPECT_EQ(block.lasting_bytes(), (kBlocks + 1) * kTensor + kOuter);
  EXPECT_EQ(block.recomputed_bytes(), kTensor + kAttention + kFfnOutside + pre) << "u costs nothing here";
  EXPECT_EQ(block.transient_bytes(), kTransient);
}

TEST(RecomputeMemory, BackendsSayWhatTheyPrefer) {
  const auto backend = make_backend("cpu");
  Engine engine(pre_norm_decoder(), 11, {.batch = kBatch, .tokens = kTokens}, 7, *backend);
  EXPECT_EQ(engine.plan().lasting_bytes(),
            plan_of(pre_norm_decoder(), Recompute::None, true).lasting_bytes());
}

// One block whose branches are normed inside: N_inner's rows and its result.
TEST(RecomputeMemory, BlocksThatDifferTakeTheLargest) {
  const std::vector<std::string> shape = {"model.blocks=5", "model.width=48", "model.heads=3",
                                          "model.sequence_length=32"};
  std::vector<std::string> changed = shape;
  changed.emplace_back("model.override=[{blocks = [2, 2], norm.ffn_inner.kind = 'layernorm'}]");
  const ModelConfig plain = load_placed("pre", shape).config.model,
                    one_block = load_placed("pre", changed).config.model;
  for (const Recompute recompute : {Recompute::FeedForward, Recompute::Block}) {
    EXPECT_EQ(plan_of(one_block, recompute).recomputed_bytes(),
              plan_of(plain, recompute).recomputed_bytes() + 4 * kTensor + 2 * kColumn);
  }
}

TEST(RecomputeMemory, BranchesThatAreKeptAreNotMadeAgain) {
  const auto backend = make_backend("cpu");
  EXPECT_THROW(
      Engine(pre_norm_decoder(), 11,
             {.batch = kBatch, .tokens = kTokens, .keep_branches = true, .recompute = Recompute::Block}, 7,
             *backend),
      Error);
}

}  // namespace
}  // namespace plumb::test
