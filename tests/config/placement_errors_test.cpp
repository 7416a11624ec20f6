// Contradictions between the keys that placements and residual schedules are made of.
#include <gtest/gtest.h>

#include "config/dump.h"
#include "config/fixture.h"
#include "config/schema.h"

namespace plumb {
namespace {

const char* const kKnobs[] = {"residual.a", "residual.b", "residual.c", "residual.e",       "residual.p",
                              "gain.qk",    "gain.value", "gain.ffn",   "gain.first_value", "gain.logits"};

TEST(PlacementErrors, EveryScheduleOverTimeNeedsItsLength) {
  std::size_t schedules = 0;
  for (const std::string name : kKnobs) {
    const std::string key = "model." + name;
    for (const std::string& time : find_field(key + ".time")->allowed.names) {
      if (time == "constant") continue;
      ++schedules;
      EXPECT_EQ(
          error_of(key + ".time = '" + time + "'"),
          "configs/x.toml:4: " + key + ".time = \"" + time + "\" needs " + key + ".ramp_steps of at least 1");
      EXPECT_EQ(error_of(key + " = {time = '" + time + "', ramp_steps = 1}"), "");
    }
  }
  EXPECT_EQ(schedules, 9U * 11U + 2U);  // that of the logits knows no depth
}

TEST(PlacementErrors, ScheduleListsHaveAnEntryForEveryUnit) {
  for (const std::string name : {"residual.c", "gain.ffn"}) {
    EXPECT_EQ(error_of("model.blocks = 3\nmodel." + name + " = {depth = 'list', list = [1, 2]}"),
              "configs/x.toml:5: model." + name +
                  ".list has 2 entries, the model has 6 sublayers; give one entry for each");
    EXPECT_EQ(error_of("model.blocks = 3\nmodel." + name +
                       " = {depth = 'list', counts = 'blocks', list = [1, 2, 3, 4]}"),
              "configs/x.toml:5: model." + name +
                  ".list has 4 entries, the model has 3 blocks; give one entry for each");
  }
  // A number shared by a block counts blocks.
  const std::string shared = "model.blocks = 3\nmodel.residual.b = {trainable = 'scalar', per_block = true, ";
  EXPECT_EQ(error_of(shared + "depth = 'list', list = [1, 1, 1]}"), "");
  EXPECT_EQ(
      error_of(shared + "depth = 'list', list = [1, 1, 1, 1, 1, 1]}"),
      "configs/x.toml:5: model.residual.b.list has 6 entries, the model has 3 blocks; give one entry for "
      "each");
  EXPECT_EQ(
      error_of("model.blocks = 1\n[[model.override]]\nresidual.b = {depth = 'list', list = [1]}"),
      "configs/x.toml:5: model.residual.b.list has 1 entries, the model has 2 sublayers; give one entry "
      "for each");
}

TEST(PlacementErrors, SchedulesThatAreNotThere) {
  EXPECT_EQ(error_of("model.residual.b.time_counts = 'sublayers'"),
            "configs/x.toml:4: model.residual.b.time_counts = \"sublayers\" is not read, because "
            "model.residual.b.time = \"constant\"; it needs \"prores-linear\" or \"prores-linear-sqrt\" or "
            "\"prores-linear-square\" or \"prores-equal\" or \"prores-reverse\" or \"prores-stagewise-0\" or "
            "\"prores-stagewise-1/L\" or \"prores-stagewise-1/sqrt(L)\" or \"prores-stagewise-1/sqrt(l)\"");
  EXPECT_EQ(
      error_of("model.residual.b = {time = 'branchnorm', ramp_steps = 5, time_start = 0.5}"),
      "configs/x.toml:4: model.residual.b.time_start = 0.5 is not read, because model.residual.b.time = "
      "\"branchnorm\"; it needs \"linear\"");
  EXPECT_EQ(
      error_of("model.residual.b = {depth = '1/L', depth_base = 2}"),
      "configs/x.toml:4: model.residual.b.depth_base = 2.0 is not read, because model.residual.b.depth = "
      "\"1/L\"; it needs \"power\" or \"depth-mup\" or \"completep\"");
  EXPECT_THAT(error_of("model.residual.b = {depth = 'layerscale', counts = 'blocks'}"),
              testing::StartsWith("configs/x.toml:4: model.residual.b.counts = \"blocks\" is not read"));
  EXPECT_EQ(error_of("model.residual.b.storage = 'unit'"),
            "configs/x.toml:4: model.residual.b.storage = \"unit\" is not read, because "
            "model.residual.b.trainable = \"none\"; it needs \"scalar\" or \"vector\"");
  EXPECT_EQ(error_of("model.residual.b.per_block = true"),
            "configs/x.toml:4: model.residual.b.per_block = true is not read, because "
            "model.residual.b.trainable = \"none\"; it needs \"scalar\" or \"vector\"");
  EXPECT_EQ(error_of("model.residual.p = {trainable = 'scalar', transform = 'gpas', storage = 'unit'}"),
            "configs/x.toml:4: model.residual.p.transform = \"gpas\" makes the coefficient value * (1 - "
            "SiLU(.)) from 0 on; leave depth and storage of model.residual.p at their defaults");
}

TEST(PlacementErrors, WeightsOnTheSphereDoNotDecay) {
  const std::string reason =
      "with model.sphere_weights = true: weights that are kept at unit length cannot decay; set "
      "optimizer.weight_decay = 0";
  EXPECT_EQ(error_of("model.placement = 'ngpt'"), "");
  EXPECT_EQ(error_of("model.placement = 'ngpt'\noptimizer.weight_decay = 0.1"),
            "configs/x.toml:5: optimizer.weight_decay = 0.1 " + reason);
  EXPECT_EQ(error_of("model.sphere_weights = true"), "default: optimizer.weight_decay = 0.1 " + reason);
}

TEST(PlacementErrors, StreamNormThatNoStreamReads) {
  const std::string needs =
      "; it needs \"residual\", \"siamese\", \"mhc\" or \"hyper\" with model.streams.dynamic = true";
  const std::string set = "model.norm.stream.kind = 'standard'\n";
  EXPECT_EQ(
      error_of(set),
      "configs/x.toml:4: model.norm.stream is not read, because model.streams.kind = \"single\"" + needs);
  EXPECT_EQ(error_of(set + "model.placement = 'none'\nmodel.streams = {kind = 'hyper', dynamic = false}"),
            "configs/x.toml:4: model.norm.stream is not read, because model.streams.kind = \"hyper\" with "
            "model.streams.dynamic = false" +
                needs);
  for (const std::string kind : {"residual", "siamese", "hyper", "mhc"}) {
    EXPECT_EQ(error_of(set + "model.streams.kind = '" + kind + "'"), "") << kind;
  }
}

TEST(PlacementErrors, MixedStreamsTakeThePlaceOfTheSum) {
  for (const std::string kind : {"hyper", "mhc"}) {
    const std::string head = "model.streams.kind = '" + kind + "'\n";
    EXPECT_EQ(error_of(head), "");
    EXPECT_EQ(error_of(head + "model.residual.b.value = 0.5"), "") << "b is what they write";
    EXPECT_EQ(error_of(head + "model.residual.c.value = 0.5"), "") << "c acts inside the branch";
    for (const auto& [setting, key] : {std::pair{"residual.a.value = 2", "residual.a"},
                                       std::pair{"residual.a.tie_to_branch = true", "residual.a"},
                                       std::pair{"residual.e.value = 1", "residual.e"},
                                       std::pair{"residual.p.trainable = 'scalar'", "residual.p"},
                                       std::pair{"norm.post.kind = 'standard'", "norm.post"}}) {
      const std::string expected = "configs/x.toml:4: model.streams.kind = \"" + kind +
                                   "\" mixes its streams in the place of a x + e x_block and p N_post; leave "
                                   "model." +
                                   key + " at its default";
      EXPECT_EQ(error_of(head + "model." + setting), expected);
      EXPECT_EQ(error_of(head + "[[model.override]]\nblocks = [3, 3]\n" + setting), expected);
    }
  }
  for (const std::string kind : {"residual", "siamese"}) {
    EXPECT_EQ(error_of("model.streams.kind = '" + kind + "'\nmodel.residual.e.value = 1"), "");
  }
}

TEST(PlacementErrors, StreamsKeysOfOtherKinds) {
  EXPECT_EQ(
      error_of("model.streams.count = 2"),
      "configs/x.toml:4: model.streams.count = 2 is not read, because model.streams.kind = \"single\"; it "
      "needs \"hyper\" or \"mhc\"");
  EXPECT_EQ(error_of("model.streams = {kind = 'mhc', dynamic = false}"),
            "configs/x.toml:4: model.streams.dynamic = false is not read, because model.streams.kind = "
            "\"mhc\"; it needs \"hyper\"");
  EXPECT_EQ(
      error_of("model.streams = {kind = 'hyper', sinkhorn_iterations = 3}"),
      "configs/x.toml:4: model.streams.sinkhorn_iterations = 3 is not read, because model.streams.kind = "
      "\"hyper\"; it needs \"mhc\"");
}

TEST(PlacementErrors, ParallelSublayersNeedOneStream) {
  EXPECT_EQ(error_of("model.branch_input = 'block'"), "");
  for (const std::string kind : {"residual", "siamese", "hyper", "mhc"}) {
    const std::string reason =
        ": model.branch_input = \"block\" needs model.streams.kind = \"single\", found \"" + kind + "\"";
    const std::string head = "model.streams.kind = '" + kind + "'\n";
    EXPECT_EQ(error_of(head + "model.branch_input = 'block'"), "configs/x.toml:5" + reason);
    EXPECT_EQ(error_of(head + "[[model.override]]\nblocks = [2, 2]\nbranch_input = 'block'"),
              "configs/x.toml:5" + reason);
  }
}

TEST(PlacementErrors, SmallEmbeddingNeedsANorm) {
  EXPECT_EQ(
      error_of("model.init.embedding = 'small-embedding'"),
      "configs/x.toml:4: model.init.embedding = \"small-embedding\" starts the stream at 1e-4 and needs a "
      "norm on the embedding; set model.norm.embedding.kind = \"standard\"");
  EXPECT_EQ(error_of("model.init.embedding = 'small-embedding'\nmodel.norm.embedding.kind = 'l2'"), "");
}

TEST(PlacementErrors, CompanionsGoWithTheirDepthSchedule) {
  const auto reason = [](const std::string& scaling, const std::string& place, const std::string& found) {
    return "optimizer.scaling = \"" + scaling + "\" goes with model.residual.b.depth = \"" + scaling +
           "\", the same in every sublayer; " + place + " has \"" + found + "\"";
  };
  const std::string at = "configs/x.toml:4: ";
  EXPECT_EQ(error_of("optimizer.scaling = 'completep'"),
            at + reason("completep", "block 0, attention", "constant"));
  EXPECT_EQ(error_of("optimizer.scaling = 'depth-mup'\nmodel.residual.b.depth = 'completep'"),
            at + reason("depth-mup", "block 0, attention", "completep"));
  for (const std::string scaling : {"completep", "depth-mup"}) {
    const std::string head =
        "optimizer.scaling = '" + scaling + "'\nmodel.residual.b.depth = '" + scaling + "'\n";
    EXPECT_EQ(error_of(head), "");
    EXPECT_EQ(error_of(head + "[[model.override]]\nblocks = [5, 5]\nsublayer = 'ffn'\nresidual.b.depth = "
                              "'1/L'"),
              at + reason(scaling, "block 5, ffn", "1/L"));
  }
  EXPECT_EQ(error_of("optimizer.scaling_base_width = 32"),
            at + "optimizer.scaling_base_width = 32.0 is not read, because optimizer.scaling = \"none\"; it "
                 "needs \"completep\"");
}

TEST(PlacementErrors, AdminProfileNeedsTrainedSkips) {
  const auto reason = [](const std::string& place) {
    return "configs/x.toml:4: model.init.profile = \"admin\" sets the trained skip coefficients of one "
           "stream; it needs model.streams.kind = \"single\" and in every sublayer "
           "model.residual.a.trainable = "
           "\"scalar\" or \"vector\" with per_block, storage, transform and time at their defaults (" +
           place + "); or set model.init.profile = \"none\"";
  };
  const std::string head = "model.init.profile = 'admin'\n";
  const std::string trained = head + "model.residual.a.trainable = 'vector'\n";
  EXPECT_EQ(error_of(head), reason("block 0, attention"));
  EXPECT_EQ(error_of(trained), "");
  EXPECT_EQ(error_of(trained + "model.residual.a.per_block = true"), reason("block 0, attention"));
  EXPECT_EQ(error_of(trained + "model.streams.kind = 'siamese'"), reason("block 0, attention"));
  // The profile sets what is stored, which must be the coefficient itself.
  for (const char* setting : {"storage = '1/sqrt(width)'", "transform = 'absolute'"}) {
    EXPECT_EQ(error_of(trained + "model.residual.a." + setting), reason("block 0, attention"));
  }
  EXPECT_EQ(error_of(trained + "[[model.override]]\nblocks = [2, 2]\nsublayer = 'ffn'\n"
                               "residual.a.trainable = 'none'"),
            reason("block 2, ffn"));
}

TEST(PlacementErrors, KeysOfOnePlacement) {
  EXPECT_EQ(
      error_of("model.placement_fraction = 0.5"),
      "configs/x.toml:4: model.placement_fraction = 0.5 is not read, because model.placement = \"peri\"; "
      "it needs \"mix-ln\"");
  EXPECT_EQ(error_of("model.placement = 'mix-ln'\nmodel.placement_fraction = 0.5"), "");
  EXPECT_EQ(
      error_of("model.placement = 'mix-ln'\nmodel.placement_period = 3"),
      "configs/x.toml:5: model.placement_period = 3 is not read, because model.placement = \"mix-ln\"; it "
      "needs \"res-post-norm\" or \"swin-v2\"");
}

TEST(PlacementErrors, GainsInSublayersThatDoNotReadThem) {
  for (const std::string gain : {"qk", "value", "first_value"}) {
    EXPECT_EQ(error_of("model.block = ['ffn']\nmodel.gain." + gain + ".value = 2"),
              "configs/x.toml:5: model.gain." + gain +
                  ".value = 2.0 is not read, because model.block = [\"ffn\"]; it needs \"attention\"");
    EXPECT_EQ(error_of("[[model.override]]\nsublayer = 'ffn'\ngain." + gain + ".value = 2"),
              "configs/x.toml:4: model.gain." + gain +
                  ".value acts in attention sublayers, but this [[model.override]] is for ffn");
  }
  EXPECT_EQ(error_of("model.block = ['attention', 'linear']\nmodel.gain.ffn.value = 2"),
            "configs/x.toml:5: model.gain.ffn.value = 2.0 is not read, because model.block = [\"attention\", "
            "\"linear\"]; it needs \"ffn\"");
  EXPECT_EQ(error_of("[[model.override]]\ngain.logits.value = 2"),
            "configs/x.toml:5: 'gain.logits.value' holds for the whole model and cannot be in "
            "[[model.override]]");
  EXPECT_THAT(error_of("model.gain.qk.keep_probability = 0.5"),
              testing::StartsWith("configs/x.toml:4: unknown key 'model.gain.qk.keep_probability"));
}

TEST(PlacementErrors, OneNumberPerBlockIsTheSameInItsSublayers) {
  EXPECT_EQ(
      error_of("model.residual.b = {trainable = 'scalar', per_block = true}\n[[model.override]]\n"
               "sublayer = 'ffn'\nresidual.b.trainable = 'vector'"),
      "configs/x.toml:4: model.residual.b.per_block = true shares one trained number in block 0, but its "
      "sublayers set model.residual.b differently; make them alike or drop per_block");
}

TEST(PlacementErrors, OneNumberPerBlockAmongThreeKinds) {
  const std::string block = "model.block = ['attention', 'ffn', 'linear']\n";
  const std::string ffn =
      "[[model.override]]\nsublayer = 'ffn'\nresidual.b = {trainable = 'scalar', per_block = "
      "true, value = 0.3}\n";
  const std::string linear =
      "[[model.override]]\nsublayer = 'linear'\nresidual.b = {trainable = 'scalar', "
      "per_block = true, value = ";
  EXPECT_EQ(error_of(block + ffn + linear + "0.3}"), "");
  EXPECT_THAT(error_of(block + ffn + linear + "0.9}"),
              testing::HasSubstr("shares one trained number in block 0"));
}

// From there no gradient moves it.
TEST(PlacementErrors, StartsThatCanNeverTrain) {
  const std::string knob = "model.residual.b = {trainable = 'scalar', value = 0, ";
  EXPECT_EQ(error_of(knob + "storage = 'unit'}"),
            "configs/x.toml:4: model.residual.b starts at 0, from where storage = \"unit\" and transform = "
            "\"identity\" can never train it; take another start, or storage = \"value\" and transform = "
            "\"identity\"");
  for (const char* transform : {"absolute", "gpas"}) {
    EXPECT_NE(error_of(knob + "transform = '" + transform + "'}"), "") << transform;
  }
  EXPECT_NE(error_of("model.residual.b = {trainable = 'scalar', depth = 'linear', storage = 'unit'}"), "");
  EXPECT_EQ(error_of("model.residual.b = {trainable = 'scalar', value = 0}"), "");
}

TEST(PlacementErrors, DepthScalingIsAdams) {
  EXPECT_THAT(
      error_of("optimizer.kind = 'sgd'\noptimizer.scaling = 'depth-mup'\n"
               "model.residual.b = {depth = 'depth-mup', counts = 'blocks'}"),
      testing::HasSubstr("optimizer.scaling = \"depth-mup\" is not read, because optimizer.kind = \"sgd\""));
}

TEST(PlacementErrors, AbsoluteValuesStartAtNoneBelowZero) {
  EXPECT_EQ(
      error_of("model.residual.b = {trainable = 'scalar', transform = 'absolute', value = -0.5}"),
      "configs/x.toml:4: model.residual.b.value = -0.5 with model.residual.b.transform = \"absolute\", which "
      "is never negative; take a value of at least 0");
}

TEST(PlacementErrors, ValuesOfTheOnlyAttention) {
  EXPECT_EQ(
      error_of("model.blocks = 1\nmodel.gain.first_value.value = 0.5"),
      "configs/x.toml:5: model.gain.first_value is not read, because the model has one attention sublayer "
      "alone; it adds the values of the first to later ones");
}

TEST(PlacementErrors, EveryWithARangeThatHoldsNone) {
  EXPECT_EQ(
      error_of("model.blocks = 8\n[[model.override]]\nblocks = [0, 2]\nevery = 4\nactivation = 'relu'"),
      "configs/x.toml:5: [[model.override]] blocks = [0, 2] with every = 4 covers none of the 8 blocks");
}

// What a row sets and the user's own keys leave without use goes; the user's own keys must still be read.
TEST(PlacementErrors, KeysOfTheRowThatTheUserDisplaces) {
  const LoadedConfig loaded = load_text(minimal() +
                                        "model.placement = 'scheduled'\nmodel.residual.a.depth = 'constant'\n"
                                        "model.norm.in.kind = 'none'");
  EXPECT_EQ(loaded.config.model.base.residual.a.depth_exponent, KnobConfig().depth_exponent);
  EXPECT_EQ(loaded.config.model.base.norm.in.epsilon, NormConfig().epsilon);
  EXPECT_EQ(loaded.origin("model.norm.in.epsilon"), "default");
  EXPECT_TRUE(loaded.config.model.overrides.empty());
  // It saves and loads again.
  EXPECT_NO_THROW(load_text(dump_config(loaded)));
  EXPECT_NE(
      error_of("model.placement = 'scheduled'\nmodel.residual.a = {depth = 'constant', depth_base = 2}"), "");
}

}  // namespace
}  // namespace plumb
