#include "broken_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tiny_run.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::function<void(const Folder&)> content(const std::string& name, const std::string& bytes) {
  return [=](const Folder& folder) { write_file(folder / name, bytes); };
}

/// llm.c's header: 256 int32, of which the first three say something.
std::string header(int magic, int version, int tokens) {
  std::string bytes(1024, '\0');
  int place = 0;
  for (const int word : {magic, version, tokens}) {
    for (int byte = 0; byte < 4; ++byte)
      bytes[static_cast<std::size_t>(place++)] = static_cast<char>(word >> 8 * byte);
  }
  return bytes;
}

/// A finished run in @/earlier.
void train_before(const Folder& folder) {
  const Outcome outcome = train_tiny(folder, 1, {"--set", folder.fill("run.dir=\"@/earlier\"")});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
}

void damage_checkpoint(const Folder& folder) {
  train_before(folder);
  const std::string file = folder / "earlier/checkpoints/step_00000006/model.safetensors";
  std::string bytes = read_file(file);
  ASSERT_GT(bytes.size(), 100u);
  bytes[bytes.size() - 50] = static_cast<char>(bytes[bytes.size() - 50] ^ 4);
  write_file(file, bytes);
}

std::vector<BrokenInput> broken_files() {
  return {
      {"missing_config", {"@/absent.toml", "No such file"}, "", "", {"@/absent.toml"}},
      {"config_is_a_folder", {"@: cannot be read", "folder"}, "", "", {"@"}},
      {"toml_syntax", {"@/config.toml:6", "not valid TOML"}, "width = 16", "width = = 16"},
      {"key_twice", {"@/config.toml:7", "not valid TOML", "width"}, "heads = 2", "width = 32"},
      {"wrong_type",
       {"@/config.toml:6", "model.width wants a whole number", "the string \"wide\""},
       "width = 16",
       "width = \"wide\""},
      {"text_in_a_list",
       {"@/config.toml:5", "model.residual.b.list wants a list of numbers", "\"a\""},
       "blocks = 2",
       "residual.b = {depth = \"list\", list = [1, \"a\"]}"},
      {"misspelt_key",
       {"@/config.toml:6", "unknown key 'model.widht'", "did you mean 'model.width'"},
       "width = 16",
       "widht = 16"},
      {"misspelt_table",
       {"@/config.toml:16", "unknown key 'optimiser.learning_rate'", "optimizer.learning_rate"},
       "[optimizer]",
       "[optimiser]"},
      {"table_as_value", {"@/config.toml:3", "'run' is a table", "'run.name'"}, "run.dir", "run"},
      {"out_of_range",
       {"@/config.toml:16", "optimizer.beta2 = 1.5", "0 <= x < 1"},
       "learning_rate = 1e-3",
       "beta2 = 1.5"},
      {"not_a_number", {"@/config.toml:16", "optimizer.learning_rate = nan"}, "= 1e-3", "= nan"},
      {"negative_steps", {"@/config.toml:13", "training.steps = -6", "1 <= x"}, "steps = 6", "steps = -6"},
      {"unknown_device",
       {"@/config.toml:1", "device = \"gpu\"", "auto, cuda, cpu, reference, cuda-emulated"},
       "\"cpu\"",
       "\"gpu\""},
  };
}

std::vector<BrokenInput> broken_settings() {
  return {
      {"misspelt_placement",
       {"--set", "unknown placement 'perri'", "did you mean 'peri'", "none, post, pre"},
       "",
       "",
       {"--set", "model.placement=perri"}},
      {"set_without_value",
       {"--set wants key=value", "'training.steps'"},
       "",
       "",
       {"--set", "training.steps"}},
      {"set_of_no_toml",
       {"--set training.steps=[1", "not valid TOML"},
       "",
       "",
       {"--set", "training.steps=[1"}},
      {"set_misspelt",
       {"--set", "'traning.steps'", "'training.steps'"},
       "",
       "",
       {"--set", "traning.steps=5"}},
      {"unknown_dtype",
       {"--set", "compute.dtype = \"fp8\"", "fp32, tf32, bf16, fp16"},
       "",
       "",
       {"--set", "compute.dtype=fp8"}},
      {"bf16_on_reference",
       {"compute.dtype = \"bf16\"", "reference backend", "\"fp64\""},
       "\"cpu\"",
       "\"reference\"",
       {"--set", "compute.dtype=bf16"}},
      {"fp64_on_cpu",
       {"compute.dtype = \"fp64\"", "cpu backend", "\"fp32\""},
       "",
       "",
       {"--set", "compute.dtype=fp64"}},
      {"unread_key",
       {"--set", "learning_rate.final_ratio = 0.5 is not read", "learning_rate.kind = \"constant\"",
        "\"cosine\""},
       "",
       "",
       {"--set", "learning_rate.kind=constant", "--set", "learning_rate.final_ratio=0.5"}},
      {"schedule_of_the_wrong_length",
       {"model.residual.b.list has 3 entries", "the model has 4 sublayers"},
       "",
       "",
       {"--set", "model.residual.b={depth=\"list\", list=[1, 1, 1]}"}},
      {"override_outside_the_depth",
       {"--set", "blocks = [0, 7]", "within the depth", "<= 1"},
       "",
       "",
       {"--set", "model.override=[{blocks=[0, 7], residual={b={value=0.5}}}]"}},
      {"width_and_heads",
       {"@/config.toml:7", "model.width = 16", "model.heads = 3", "15, 18"},
       "heads = 2",
       "heads = 3"},
      {"rotary_of_odd_head_width",
       {"--set", "model.position = \"rotary\"", "even head width, found 3"},
       "",
       "",
       {"--set", "model.position=rotary", "--set", "model.head_width=3"}},
      {"run_name_with_a_slash",
       {"--set", "run.name = \"a/b\""},
       "run.dir = \"@/run\"",
       "",
       {"--set", "run.name=a/b"}},
  };
}

/// Wrong by what --set says alone.
BrokenInput set_to(const std::string& name, std::vector<std::string> expected,
                   const std::vector<std::string>& settings) {
  BrokenInput input{name, std::move(expected)};
  for (const std::string& setting : settings) {
    input.arguments.insert(input.arguments.end(), {"--set", setting});
  }
  return input;
}

std::vector<BrokenInput> broken_placements() {
  return {
      set_to("trained_skip_tied_to_the_branch",
             {"--set: model.residual.a.tie_to_branch", "a = 1 - b", "train b"},
             {"model.residual.a={tie_to_branch = true, trainable = \"scalar\"}"}),
      set_to(
          "decay_of_weights_on_the_sphere",
          {"--set: optimizer.weight_decay = 0.1", "model.sphere_weights", "set optimizer.weight_decay = 0"},
          {"model.placement=ngpt", "optimizer.weight_decay=0.1"}),
      set_to("override_every_so_many_too_many", {"--set: [[model.override]] every = 3", "the 2 blocks"},
             {"model.override=[{every = 3, activation = \"relu\"}]"}),
      set_to("schedule_without_its_length",
             {"--set: model.residual.b.time = \"prores-linear\"", "model.residual.b.ramp_steps"},
             {"model.residual.b.time=prores-linear"}),
      set_to("stream_norm_of_one_stream",
             {"--set: model.norm.stream is not read", "model.streams.kind = \"single\"", "\"siamese\""},
             {"model.norm.stream.kind=standard"}),
      set_to("block_skip_of_mixed_streams", {"model.streams.kind = \"hyper\"", "leave model.residual.e"},
             {"model.placement=hyper-connections", "model.residual.e.value=1"}),
      set_to("parallel_sublayers_of_two_streams",
             {"--set: model.branch_input = \"block\"", "\"single\", found \"siamese\""},
             {"model.placement=siamesenorm", "model.branch_input=block"}),
      set_to("small_embedding_without_a_norm",
             {"--set: model.init.embedding = \"small-embedding\"", "model.norm.embedding.kind"},
             {"model.init.embedding=small-embedding"}),
      set_to("scaling_without_its_schedule",
             {"--set: optimizer.scaling = \"completep\"", "model.residual.b.depth = \"completep\""},
             {"optimizer.scaling=completep"}),
      set_to("admin_profile_of_fixed_skips",
             {"model.init.profile = \"admin\"", "model.residual.a.trainable", "block 0, attention"},
             {"model.placement=admin", "model.residual.a.trainable=none"}),
      set_to("fraction_of_another_placement",
             {"--set: model.placement_fraction = 0.5", "model.placement = \"peri\"", "\"mix-ln\""},
             {"model.placement_fraction=0.5"}),
      set_to("gain_of_another_sublayer",
             {"--set: model.gain.qk.value acts in attention sublayers", "[[model.override]] is for ffn"},
             {"model.override=[{sublayer = \"ffn\", gain.qk.value = 2}]"}),
  };
}

std::vector<BrokenInput> broken_batches() {
  return {
      {"two_batch_sizes",
       {"@/config.toml:14", "training.sequences_per_step = 4", "--set", "training.tokens_per_step = 64",
        "keep one"},
       "",
       "",
       {"--set", "training.tokens_per_step=64"}},
      {"no_batch_size",
       {"training.sequences_per_step", "training.tokens_per_step", "set one of them"},
       "sequences_per_step = 4",
       ""},
      {"tokens_no_multiple",
       {"@/config.toml:14", "training.tokens_per_step = 70", "model.sequence_length = 16", "64, 80"},
       "sequences_per_step = 4",
       "tokens_per_step = 70"},
      {"micro_batch",
       {"--set", "training.micro_batch_sequences = 3", "nearest valid: 2"},
       "",
       "",
       {"--set", "training.micro_batch_sequences=3"}},
      {"indivisible_batch",
       {"@/config.toml:14", "training.sequences_per_step = 5", "2 ranks", "4, 6"},
       "sequences_per_step = 4",
       "sequences_per_step = 5",
       {},
       {},
       2},
      {"indivisible_tokens",
       {"@/config.toml:14", "training.tokens_per_step = 80", "2 ranks", "64, 96"},
       "sequences_per_step = 4",
       "tokens_per_step = 80",
       {},
       {},
       2},
  };
}

std::vector<BrokenInput> broken_data() {
  const auto removed = [](const Folder& folder) { fs::remove(folder / "train.bin"); };
  const std::string tokens = raw_tokens(std::vector<int>(40, 'a'));
  return {
      {"no_data", {"data.train", "plumb data prepare"}, "train = \"@/train.bin\"", ""},
      {"no_validation_data",
       {"--set", "validation.every = 2", "data.validation"},
       "validation = \"@/validation.bin\"",
       "",
       {"--set", "validation.every=2"}},
      {"missing_data_file", {"@/train.bin", "No such file", "plumb data prepare"}, "", "", {}, removed},
      {"empty_data_file", {"@/train.bin is empty"}, "", "", {}, content("train.bin", "")},
      {"odd_data_file", {"@/train.bin", "7 bytes", "16-bit"}, "", "", {}, content("train.bin", "abcdefg")},
      {"corrupted_header",
       {"@/train.bin", "corrupted or truncated", "promises 41 tokens"},
       "",
       "",
       {},
       content("train.bin", header(20240520, 1, 41) + tokens)},
      {"header_of_another_version",
       {"@/validation.bin", "version 9", "version 1"},
       "",
       "",
       {},
       content("validation.bin", header(20240520, 9, 40) + tokens)},
      {"tokens_of_32_bits",
       {"@/train.bin", "32-bit tokens"},
       "",
       "",
       {},
       content("train.bin", header(20240801, 1, 20) + tokens)},
      {"token_over_the_vocabulary",
       {"@/validation.bin", "token 300 at position 40", "0 to 255"},
       "",
       "",
       {},
       content("validation.bin", tokens + raw_tokens({300}))},
      {"file_shorter_than_a_sequence",
       {"@/train.bin has 16 tokens", "needs 17"},
       "",
       "",
       {},
       content("train.bin", tokens.substr(0, 32))},
      {"vocabulary_too_large",
       {"--set", "model.vocabulary = 65537", "65536"},
       "",
       "",
       {"--set", "model.vocabulary=65537"}},
      {"vocabulary_too_small", {"model.vocabulary = 100", "256"}, "", "", {"--set", "model.vocabulary=100"}},
      {"synthetic_vocabulary_too_large",
       {"model.vocabulary = 8", "data.synthetic_vocabulary = 32"},
       "train = \"@/train.bin\"\nvalidation = \"@/validation.bin\"",
       "kind = \"markov\"\nsynthetic_vocabulary = 32",
       {"--set", "model.vocabulary=8"}},
  };
}

std::vector<BrokenInput> broken_runs() {
  return {
      {"folder_below_a_file",
       {"run.dir = \"@/train.bin/run\"", "cannot be created", "Not a directory"},
       "@/run",
       "@/train.bin/run"},
      {"folder_of_an_earlier_run",
       {"run.dir = \"@/earlier\"", "holds an earlier run", "--resume auto", "run.overwrite"},
       "",
       "",
       {"--set", "run.dir=\"@/earlier\""},
       train_before},
      {"resume_of_nothing", {"@/nowhere: no checkpoint here"}, "", "", {"--resume", "@/nowhere"}},
      {"resume_of_a_damaged_checkpoint",
       {"model.safetensors", "damaged", "hash"},
       "",
       "",
       {"--resume", "@/earlier/checkpoints/step_00000006"},
       damage_checkpoint},
      {"resume_with_another_model",
       {"@/earlier/checkpoints/step_00000006/model.safetensors", "shape"},
       "width = 16",
       "width = 32",
       {"--resume", "@/earlier"},
       train_before},
  };
}

}  // namespace

std::vector<BrokenInput> broken_inputs_for(int ranks) {
  std::vector<BrokenInput> list;
  for (const auto& family : {broken_files(), broken_settings(), broken_placements(), broken_batches(),
                             broken_data(), broken_runs()}) {
    for (const BrokenInput& input : family) {
      if (input.ranks == 0 || input.ranks == ranks) list.push_back(input);
    }
  }
  return list;
}

void check_broken_input(const BrokenInput& input, int ranks) {
  const Folder folder;
  write_tiny_run(folder);
  if (input.damage) {
    ASSERT_NO_FATAL_FAILURE(input.damage(folder));
  }
  std::string config = kTinyConfig;
  if (!input.original.empty()) {
    const std::size_t at = config.find(input.original);
    ASSERT_NE(at, std::string::npos) << input.original;
    config.replace(at, input.original.size(), input.replacement);
  }
  write_file(folder / "config.toml", folder.fill(config));
  std::vector<std::string> arguments;
  for (const std::string& argument : input.arguments) arguments.push_back(folder.fill(argument));

  // mpirun gives the other ranks no time once one has ended with an error (usually it is 1 s): all have met
  // and the line is out by then.
  std::vector<std::string> line = {"train", folder / "config.toml"};
  line.insert(line.end(), arguments.begin(), arguments.end());
  const Outcome outcome = run_plumb(folder, ranks, line, {"OMPI_MCA_odls_base_sigkill_timeout=0"});
  EXPECT_EQ(outcome.status, 2) << outcome.text();
  const std::vector<std::string> lines = outcome.plumb_lines();
  ASSERT_EQ(lines.size(), 1u) << outcome.text();
  if (ranks == 1) {
    EXPECT_EQ(outcome.error, lines[0] + "\n");
  }
  EXPECT_EQ(lines[0].rfind("plumb: ", 0), 0u) << lines[0];
  for (const std::string& text : input.expected) EXPECT_THAT(lines[0], HasSubstr(folder.fill(text)));
  EXPECT_EQ(left_after(folder.path().string(), 10), 0u) << "processes are left";
  EXPECT_FALSE(fs::exists(folder / "run/metrics.jsonl")) << "a run was begun";
}

}  // namespace plumb::test
