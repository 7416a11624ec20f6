// Every class of error with its exact line.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "config/fixture.h"
#include "config/nearest.h"
#include "core/error.h"

namespace plumb {
namespace {

TEST(ConfigErrors, UnknownKeyNamesTheNearest) {
  EXPECT_EQ(error_of("model.widht = 32"),
            "configs/x.toml:4: unknown key 'model.widht'; did you mean 'model.width'?");
  EXPECT_EQ(error_of("[model]\nblocks = 2\nhaeds = 2"),
            "configs/x.toml:6: unknown key 'model.haeds'; did you mean 'model.heads'?");
  EXPECT_EQ(error_of("[modle]\nwidth = 32"),
            "configs/x.toml:5: unknown key 'modle.width'; did you mean 'model.width'?");
  EXPECT_EQ(error_of("[model.norm.inn]\nkind = 'l2'"),
            "configs/x.toml:5: unknown key 'model.norm.inn.kind'; did you mean 'model.norm.in.kind'?");
  EXPECT_EQ(error_of("[[model.overide]]\nblocks = [0, 1]"),
            "configs/x.toml:4: unknown key 'model.overide'; did you mean 'model.override'?");
  EXPECT_EQ(error_of("", {"trainig.steps=3"}),
            "--set: unknown key 'trainig.steps'; did you mean 'training.steps'?");
}

TEST(ConfigErrors, KeysThatMakeNoSenseForAKnobAreUnknown) {
  EXPECT_EQ(error_of("model.residual.b.tie_to_branch = true"),
            "configs/x.toml:4: unknown key 'model.residual.b.tie_to_branch'; did you mean "
            "'model.residual.a.tie_to_branch'?");
  EXPECT_EQ(error_of("model.residual.a.stop_gradient = true"),
            "configs/x.toml:4: unknown key 'model.residual.a.stop_gradient'; did you mean "
            "'model.residual.p.stop_gradient'?");
}

TEST(ConfigErrors, TheFirstFaultOfAFileIsNamed) {
  EXPECT_EQ(error_of("zzz = 1\naaa = 1").substr(0, 36), "configs/x.toml:4: unknown key 'zzz';");
}

TEST(ConfigErrors, WrongTypeSaysWhatWasFoundAndWhatIsExpected) {
  EXPECT_EQ(error_of("model.width = 'wide'"),
            "configs/x.toml:4: model.width wants a whole number, found the string \"wide\"");
  EXPECT_EQ(error_of("model.width = 64.0"),
            "configs/x.toml:4: model.width wants a whole number, found the number 64.0");
  EXPECT_EQ(error_of("model.causal = 1"),
            "configs/x.toml:4: model.causal wants true or false, found the whole number 1");
  EXPECT_EQ(error_of("optimizer.learning_rate = true"),
            "configs/x.toml:4: optimizer.learning_rate wants a number, found the boolean true");
  EXPECT_EQ(error_of("run.name = 3"), "configs/x.toml:4: run.name wants a string, found the whole number 3");
  EXPECT_EQ(error_of("run.name = 2025-01-31"),
            "configs/x.toml:4: run.name wants a string, found the date or time 2025-01-31");
  EXPECT_EQ(error_of("model.block = 'ffn'"),
            "configs/x.toml:4: model.block wants a list of strings, found the string \"ffn\"");
  EXPECT_EQ(error_of("model.block = ['ffn', 1]"),
            "configs/x.toml:4: model.block wants a list of strings, found the list [\"ffn\", 1]");
  EXPECT_EQ(error_of("[model.width]\nx = 1"),
            "configs/x.toml:4: model.width wants a whole number, found a table");
  EXPECT_EQ(
      error_of("model.norm.in = 'l2'"),
      "configs/x.toml:4: 'model.norm.in' is a table of keys such as 'model.norm.in.kind', found the string "
      "\"l2\"");
  EXPECT_EQ(error_of("", {"model.width=wide"}),
            "--set: model.width wants a whole number, found the string \"wide\"");
}

TEST(ConfigErrors, OutOfRangeSaysWhatIsAllowed) {
  EXPECT_EQ(error_of("model.width = -3"),
            "configs/x.toml:4: model.width = -3 is not allowed; allowed: 1 <= x <= 1048576");
  EXPECT_EQ(error_of("model.vocabulary = 65537"),
            "configs/x.toml:4: model.vocabulary = 65537 is not allowed; allowed: 0 <= x <= 65536");
  EXPECT_EQ(error_of("optimizer.beta1 = 1"),
            "configs/x.toml:4: optimizer.beta1 = 1 is not allowed; allowed: 0 <= x < 1");
  EXPECT_EQ(error_of("model.dropout.branch = 1.0"),
            "configs/x.toml:4: model.dropout.branch = 1.0 is not allowed; allowed: 0 <= x < 1");
  EXPECT_EQ(error_of("model.residual.b.keep_probability = 0.0"),
            "configs/x.toml:4: model.residual.b.keep_probability = 0.0 is not allowed; allowed: 0 < x <= 1");
  EXPECT_EQ(error_of("optimizer.epsilon = 0.0"),
            "configs/x.toml:4: optimizer.epsilon = 0.0 is not allowed; allowed: > 0");
  EXPECT_EQ(error_of("model.residual.b.value = inf"),
            "configs/x.toml:4: model.residual.b.value = inf is not allowed; allowed: any finite number");
  EXPECT_EQ(error_of("optimizer.learning_rate = nan"),
            "configs/x.toml:4: optimizer.learning_rate = nan is not allowed; allowed: >= 0");
  EXPECT_EQ(error_of("model.position = 'rotery'"),
            "configs/x.toml:4: model.position = \"rotery\" is not allowed; allowed: learned, rotary, none");
  EXPECT_EQ(error_of("model.block = ['attention', 'mlp']"),
            "configs/x.toml:4: model.block = [\"attention\", \"mlp\"] is not allowed; allowed: attention, "
            "ffn, linear");
}

TEST(ConfigErrors, SyntaxErrorsHaveFileAndLine) {
  EXPECT_EQ(error_of("\nmodel.width = \n").rfind("configs/x.toml:5: not valid TOML: ", 0), 0U);
  EXPECT_EQ(error_of("model.width = 3\nmodel.width = 4\n").rfind("configs/x.toml:5: not valid TOML: ", 0),
            0U);
  EXPECT_EQ(error_of("[model\n").rfind("configs/x.toml:4: not valid TOML: ", 0), 0U);
  EXPECT_EQ(error_of("\nmodel.width = \n").find('\n'), std::string::npos);
}

TEST(ConfigErrors, SetOverrides) {
  EXPECT_EQ(error_of("", {"model.width"}), "--set wants key=value, found 'model.width'");
  EXPECT_EQ(error_of("", {"=3"}), "--set wants key=value, found '=3'");
  EXPECT_EQ(error_of("", {"model.block=['ffn'"}), "--set model.block=['ffn': the value is not valid TOML");
}

TEST(ConfigErrors, UnknownPlacement) {
  EXPECT_EQ(
      error_of("model.placement = 'perri'"),
      "configs/x.toml:4: unknown placement 'perri'; did you mean 'peri'? known: none, peri, two-halves, "
      "mix-ln, res-post-norm, ngpt, scheduled");
}

TEST(ConfigErrors, Batch) {
  EXPECT_EQ(error_of("training.tokens_per_step = 1024"),
            "configs/x.toml:4: training.sequences_per_step = 8 (configs/x.toml:2) and "
            "training.tokens_per_step = 1024 "
            "(configs/x.toml:4) are both set; keep one and set the other to 0");
  EXPECT_EQ(error_of("", {"training.sequences_per_step=0"}),
            "training.sequences_per_step and training.tokens_per_step are both unset: set one of them, the "
            "global batch "
            "of a step");
  EXPECT_EQ(
      error_of("training.tokens_per_step = 1000", {"training.sequences_per_step=0"}),
      "configs/x.toml:4: training.tokens_per_step = 1000 is not a multiple of model.sequence_length = 128; "
      "nearest valid: 896, 1024");
}

TEST(ConfigErrors, Data) {
  EXPECT_EQ(error_of("", {"data.kind=tokens"}),
            "--set: data.kind = \"tokens\" needs data.train, the token file to train on (`plumb data "
            "prepare` makes "
            "one)");
  EXPECT_EQ(error_of("data.train = 'a.bin'\nvalidation.every = 10", {"data.kind=tokens"}),
            "configs/x.toml:5: validation.every = 10 needs data.validation, the token file to validate on");
  EXPECT_EQ(error_of("model.vocabulary = 20"),
            "configs/x.toml:4: model.vocabulary = 20 is smaller than data.synthetic_vocabulary = 32; set it "
            "to 0 (what "
            "the data says) or to 32 or more");
}

TEST(ConfigErrors, Shape) {
  EXPECT_EQ(error_of("model.width = 66"),
            "configs/x.toml:4: model.width = 66 is not divisible by model.heads = 4; nearest valid widths: "
            "64, 68; or "
            "set model.head_width");
  EXPECT_EQ(error_of("model.width = 66\nmodel.head_width = 16"), "");
  EXPECT_EQ(error_of("model.position = 'rotary'\nmodel.head_width = 15"),
            "configs/x.toml:4: model.position = \"rotary\" turns pairs of features and needs an even head "
            "width, found "
            "15");
  EXPECT_EQ(error_of("model.block = []"),
            "configs/x.toml:4: model.block = [] has no sublayer; allowed entries: attention, ffn, linear");
  EXPECT_EQ(error_of("run.name = 'a/b'"),
            "configs/x.toml:4: run.name = \"a/b\" is not the name of a folder; take one without '/' or set "
            "run.dir");
}

TEST(ConfigErrors, Knobs) {
  EXPECT_EQ(
      error_of("model.residual.b.time = 'linear'"),
      "configs/x.toml:4: model.residual.b.time = \"linear\" needs model.residual.b.ramp_steps of at least 1");
  EXPECT_EQ(
      error_of("model.blocks = 2\nmodel.residual.b = {depth = 'list', list = [1, 0.5, 0.25]}"),
      "configs/x.toml:5: model.residual.b.list has 3 entries, the model has 4 sublayers; give one entry "
      "for each");
  EXPECT_EQ(
      error_of("model.blocks = 2\nmodel.residual.b = {depth = 'list', counts = 'blocks', list = [1]}"),
      "configs/x.toml:5: model.residual.b.list has 1 entries, the model has 2 blocks; give one entry for "
      "each");
  EXPECT_EQ(
      error_of("model.residual.a.tie_to_branch = true\nmodel.residual.a.trainable = 'scalar'"),
      "configs/x.toml:5: model.residual.a.tie_to_branch = true means a = 1 - b, so a cannot be trained by "
      "itself; set model.residual.a.trainable = \"none\", found \"scalar\", and train b (block 0, "
      "attention)");
  EXPECT_EQ(
      error_of("model.residual.a.tie_to_branch = true\nmodel.residual.a.value = 0.5"),
      "configs/x.toml:4: model.residual.a.tie_to_branch = true means a = 1 - b; leave the other keys of "
      "model.residual.a at their defaults (block 0, attention)");
  EXPECT_EQ(error_of("model.residual.b.keep_depth = 'linear'"),
            "configs/x.toml:4: model.residual.b.keep_depth = \"linear\" is not read, because "
            "model.residual.b.keep_probability = 1");
}

TEST(ConfigErrors, KeysThatNothingReads) {
  EXPECT_EQ(
      error_of("optimizer.momentum = 0.5"),
      "configs/x.toml:4: optimizer.momentum = 0.5 is not read, because optimizer.kind = \"adamw\"; it needs "
      "\"sgd\"");
  EXPECT_EQ(error_of("model.rotary_base = 500"),
            "configs/x.toml:4: model.rotary_base = 500.0 is not read, because model.position = \"learned\"; "
            "it needs "
            "\"rotary\"");
  EXPECT_EQ(error_of("model.norm.post.epsilon = 1e-6"),
            "configs/x.toml:4: model.norm.post.epsilon = 1e-06 is not read, because model.norm.post.kind = "
            "\"none\"; it "
            "needs \"layernorm\" or \"rmsnorm\" or \"l2\"");
  EXPECT_EQ(error_of("model.residual.b.ramp_steps = 5"),
            "configs/x.toml:4: model.residual.b.ramp_steps = 5 is not read, because model.residual.b.time = "
            "\"constant\"; it needs another value");
  // At its default a key says nothing new, as in a saved configuration.
  EXPECT_EQ(error_of("optimizer.momentum = 0.9"), "");
  // An override fills the slot somewhere.
  EXPECT_EQ(error_of("model.norm.post.epsilon = 1e-6\n[[model.override]]\nnorm.post.kind = 'l2'"), "");
}

TEST(ConfigErrors, KeysOfSublayersThatAreNotThere) {
  const std::string ffn_only = "model.block = ['ffn']\n";
  const std::string needs_attention = " is not read, because model.block = [\"ffn\"]; it needs \"attention\"";
  for (const std::string setting :
       {"model.norm.qk.kind = \"standard\"", "model.head_gains = true", "model.qk_norm_extent = \"full\"",
        "model.heads = 2", "model.head_width = 8", "model.causal = false", "model.attention_scale = 0.5",
        "model.attention_soft_cap = 2.0", "model.dropout.attention = 0.5"}) {
    EXPECT_EQ(error_of(ffn_only + setting), "configs/x.toml:5: " + setting + needs_attention);
  }
  EXPECT_EQ(error_of(ffn_only + "model.position = 'rotary'\nmodel.rotary_base = 5.0"),
            "configs/x.toml:6: model.rotary_base = 5.0" + needs_attention);
  EXPECT_EQ(error_of("model.block = ['attention']\nmodel.ffn_hidden = 8"),
            "configs/x.toml:5: model.ffn_hidden = 8 is not read, because model.block = [\"attention\"]; it "
            "needs \"ffn\"");
  EXPECT_EQ(error_of("model.block = ['linear']\nmodel.activation = 'relu'"),
            "configs/x.toml:5: model.activation = \"relu\" is not read, because model.block = [\"linear\"]; "
            "it needs \"ffn\"");
  EXPECT_EQ(error_of(ffn_only + "[[model.override]]\nhead_gains = true"),
            "configs/x.toml:5: model.head_gains is set in [[model.override]] but not read there: it needs "
            "model.block = \"attention\"");
}

TEST(ConfigErrors, KeysThatTheNormDoesNotHave) {
  EXPECT_EQ(error_of("model.norm.out = {gain = false, gain_init = 3.0}"),
            "configs/x.toml:4: model.norm.out.gain_init = 3.0 is not read, because model.norm.out.gain = "
            "false; it needs true");
  // What `standard` stands for decides.
  EXPECT_EQ(error_of("model.norm.in.bias = false"), "");
  EXPECT_EQ(error_of("model.norm_kind = 'rmsnorm'\nmodel.norm.in.bias = false"),
            "configs/x.toml:5: model.norm.in.bias = false is not read, because model.norm.in.kind = "
            "\"standard\" (model.norm_kind = \"rmsnorm\"); it needs \"layernorm\" or \"dyt\" or \"derf\"");
  EXPECT_EQ(error_of("model.norm.in.alpha_init = 0.9").substr(0, 58),
            "configs/x.toml:4: model.norm.in.alpha_init = 0.9 is not re");
  EXPECT_EQ(error_of("model.norm_kind = 'derf'\nmodel.norm.in.alpha_init = 0.9"), "");
  EXPECT_NE(error_of("model.norm.in = {kind = 'dyt', epsilon = 1e-3}"), "");
  EXPECT_NE(error_of("model.norm.final = {kind = 'derf', epsilon = 1e-3}"), "");
  EXPECT_EQ(error_of("model.norm.final = {kind = 'l2', epsilon = 1e-3}"), "");
  EXPECT_EQ(error_of("model.qk_norm_extent = 'full'"),
            "configs/x.toml:4: model.qk_norm_extent = \"full\" is not read, because model.norm.qk.kind = "
            "\"none\"; it needs \"layernorm\" or \"rmsnorm\" or \"dyt\" or \"derf\" or \"l2\"");
  EXPECT_EQ(error_of("model.qk_norm_extent = 'full'\nmodel.norm.qk.kind = 'standard'"), "");
  EXPECT_NE(error_of("[[model.override]]\nnorm.in = {kind = 'rmsnorm', bias = false}"), "");
  EXPECT_EQ(error_of("model.norm.in.bias = false\n[[model.override]]\nnorm.in.kind = 'l2'"),
            "configs/x.toml:4: model.norm.in.bias = false is not read, because the [[model.override]] tables "
            "change model.norm.in.kind in every sublayer; it needs \"layernorm\" or \"dyt\" or \"derf\"");
}

TEST(ConfigErrors, SequencesOfAValidationThatNeverComes) {
  EXPECT_EQ(error_of("validation.sequences = 8"),
            "configs/x.toml:4: validation.sequences = 8 is not read, because validation.every = 0; it needs "
            "another value");
  EXPECT_EQ(error_of("validation = {sequences = 8, every = 5}"), "");
}

TEST(ConfigErrors, SpikesAndStepsThatAreNotFinite) {
  for (const std::string key : {"spikes.action", "non_finite.action"}) {
    EXPECT_EQ(error_of(key + " = 'roll_back'"),
              "configs/x.toml:4: " + key +
                  " = \"roll_back\" goes back to the last checkpoint, and checkpoint.every = 0 saves none on "
                  "the way; set checkpoint.every");
    EXPECT_EQ(error_of(key + " = 'roll_back'\ncheckpoint.every = 100"), "");
  }
  EXPECT_EQ(error_of("spikes.z_clip = 2.5\nspikes.tensor_clip = 1.05"),
            "configs/x.toml:5: spikes.tensor_clip clips tensors in the place of the global norm, which "
            "spikes.z_clip = 2.5 clips; set one of them to 0");
  EXPECT_EQ(error_of("spikes.tensor_clip = 0.9"),
            "configs/x.toml:4: spikes.tensor_clip = 0.9 would clip every gradient below its own average, "
            "which so shrinks to 0; it must be 0 (off) or at least 1");
  EXPECT_EQ(error_of("spikes.tensor_clip = 1"), "");
  EXPECT_EQ(error_of("spikes.roll_back_limit = 5"),
            "configs/x.toml:4: spikes.roll_back_limit = 5 is not read, because neither spikes.action nor "
            "non_finite.action is \"roll_back\"; set one of them, or leave the limit out");
  for (const std::string key : {"spikes.action", "non_finite.action"})
    EXPECT_EQ(error_of("spikes.roll_back_limit = 5\ncheckpoint.every = 9\n" + key + " = 'roll_back'"), "");
}

TEST(ConfigErrors, NothingToRecompute) {
  const std::string none = "model.block = ['attention']\n";
  EXPECT_EQ(error_of(none + "compute.recompute = 'ffn'"),
            "configs/x.toml:5: compute.recompute = \"ffn\" has nothing to recompute, because model.block has "
            "no ffn; "
            "take none or block");
  EXPECT_EQ(error_of(none + "compute.recompute = 'block'"), "");
  EXPECT_EQ(error_of("compute.recompute = 'ffn'"), "");
}

TEST(ConfigErrors, Files) {
  const auto folder = std::filesystem::temp_directory_path();
  try {
    read_sources({"/no/such/x.toml"});
    FAIL() << "a missing file was accepted";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "/no/such/x.toml: cannot be read as a configuration: No such file or directory");
  }
  try {
    read_sources({folder});
    FAIL() << "a folder was accepted";
  } catch (const InputError& error) {
    EXPECT_EQ(error.what(), folder.string() + ": cannot be read as a configuration: it is a folder");
  }
}

TEST(ConfigErrors, EditDistance) {
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("widht", "width"), 1U);  // one swap
  EXPECT_EQ(edit_distance("same", "same"), 0U);
  EXPECT_EQ(nearest_word("bet", {"alpha", "beta", "best"}), "beta");
}

}  // namespace
}  // namespace plumb
