// train, eval and generate, and how their outputs hang together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "tiny_run.h"

namespace plumb::test {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// The number after `label` in the text.
double number_after(const std::string& text, const std::string& label) {
  const std::size_t at = text.find(label);
  EXPECT_NE(at, std::string::npos) << label << " is not in\n" << text;
  return at == std::string::npos ? -1 : std::strtod(text.c_str() + at + label.size(), nullptr);
}

/// metrics.jsonl without the figures that are times.
std::vector<std::string> losses_of(const std::string& metrics) {
  std::vector<std::string> list;
  for (const std::string& line : lines_of(metrics))
    list.push_back(line.substr(0, line.find("\"tokens_per_s\"")));
  return list;
}

TEST(Train, PrintsPlainLinesOffATerminal) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome outcome = train_tiny(folder, 1);
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_EQ(outcome.error, "");
  EXPECT_THAT(outcome.out, Not(HasSubstr("\r")));
  EXPECT_THAT(outcome.out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(outcome.out, HasSubstr("placement peri"));
  EXPECT_THAT(outcome.out, HasSubstr("1 rank(s) x 1 thread(s); 4 sequences of 16 tokens a step"));
  for (const char* line : {"\nstep 2/6 ", "\nstep 4/6 ", "\nstep 6/6 "})
    EXPECT_THAT(outcome.out, HasSubstr(line));
  EXPECT_THAT(outcome.out, Not(HasSubstr("step 3/6"))) << "log.console_every = 2";
}

TEST(Train, StatisticsThatAreOnAndRecordsThatAreDetailed) {
  const Folder folder;
  write_tiny_run(folder);
  const auto records = [&](const std::vector<std::string>& settings) {
    EXPECT_EQ(train_tiny(folder, 1, settings).status, 0);
    std::vector<nlohmann::json> list;
    for (const std::string& line : lines_of(read_file(folder / "run/stability.jsonl")))
      list.push_back(nlohmann::json::parse(line));
    fs::remove_all(folder / "run");
    return list;
  };
  const auto standard = records({});  // a header and steps 1, 2, 4, 6
  ASSERT_EQ(standard.size(), 5u);
  for (std::size_t i = 1; i < 5; ++i) {
    EXPECT_TRUE(standard[i].contains("attention"));
    EXPECT_FALSE(standard[i]["profiles"]["stream"].contains("kurtosis"));
  }
  const auto chosen = records({"--set", "statistics.kurtosis=true", "--set", "statistics.detail_every=2"});
  for (std::size_t i = 1; i < 5; ++i) {
    const bool detailed = chosen[i]["step"] == 1 || chosen[i]["step"] == 4;
    EXPECT_EQ(chosen[i].contains("attention"), detailed) << chosen[i]["step"];
    EXPECT_TRUE(chosen[i]["profiles"]["stream"].contains("kurtosis"));
  }
  const auto off = records({"--set", "statistics.attention=false"});
  EXPECT_FALSE(off[1].contains("attention"));
}

// One rank's own gradients are the reduced ones.
TEST(Train, OneRankHasTheNormOfAll) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1, {"--set", "log.ranks_every=1", "--set", "training.micro_batch_sequences=2"})
                .status,
            0);
  std::map<int, double> norms;
  for (const std::string& line : lines_of(read_file(folder / "run/metrics.jsonl"))) {
    const auto record = nlohmann::json::parse(line);
    norms[record["step"]] = record["grad_norm"];
  }
  int compared = 0;
  for (const std::string& line : lines_of(read_file(folder / "run/ranks.jsonl"))) {
    const auto record = nlohmann::json::parse(line);
    if (!record.contains("step")) continue;
    const double own = record["grad_norm"][0];
    EXPECT_GT(own, 0);
    EXPECT_NEAR(own, norms[record["step"]], 1e-12 * own);
    ++compared;
  }
  EXPECT_EQ(compared, 6);
}

TEST(Train, ResumedRunEqualsTheUninterruptedOne) {
  const Folder folder;
  write_tiny_run(folder);
  const std::vector<std::string> settings = {"--set", "checkpoint.every=3", "--set",
                                             "model.dropout.branch=0.1"};
  ASSERT_EQ(train_tiny(folder, 1, settings).status, 0);
  const std::string metrics = read_file(folder / "run/metrics.jsonl");
  const std::string model = read_file(folder / "run/checkpoints/step_00000006/model.safetensors");
  const std::string optimizer = read_file(folder / "run/checkpoints/step_00000006/optimizer.safetensors");
  ASSERT_EQ(lines_of(metrics).size(), 6u);
  fs::remove_all(folder / "run/checkpoints/step_00000006");

  std::vector<std::string> resumed = settings;
  resumed.insert(resumed.end(), {"--resume", "auto"});
  const Outcome outcome = train_tiny(folder, 1, resumed);
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("going on after step 3"));
  EXPECT_EQ(losses_of(read_file(folder / "run/metrics.jsonl")), losses_of(metrics));
  EXPECT_TRUE(read_file(folder / "run/checkpoints/step_00000006/model.safetensors") == model);
  EXPECT_TRUE(read_file(folder / "run/checkpoints/step_00000006/optimizer.safetensors") == optimizer);
}

TEST(Train, ResumeAutoStartsARunThatIsNotThere) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome outcome = train_tiny(folder, 1, {"--resume", "auto"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, Not(HasSubstr("going on")));
  EXPECT_EQ(lines_of(read_file(folder / "run/metrics.jsonl")).size(), 6u);
}

std::vector<std::string> checkpoints_of(const std::string& run) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(run + "/checkpoints"))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// Rolled back from step 6 to step 2 and stopped at 4: the old step 6 must not come back.
TEST(Train, ARolledBackRunGoesOnFromItsNewFuture) {
  const Folder folder;
  write_tiny_run(folder);
  const std::vector<std::string> settings = {"--set", "checkpoint.every=1", "--set",
                                             "learning_rate.kind=constant"};
  const auto train = [&](std::vector<std::string> more) {
    more.insert(more.begin(), settings.begin(), settings.end());
    return train_tiny(folder, 1, more);
  };
  ASSERT_EQ(train({"--set", "checkpoint.keep=5"}).status, 0);
  const Outcome back = train({"--set", "optimizer.learning_rate=3e-3", "--set", "training.steps=4",
                              "--resume", folder / "run/checkpoints/step_00000002"});
  ASSERT_EQ(back.status, 0) << back.text();
  EXPECT_THAT(back.error, HasSubstr("removed " + (folder / "run/checkpoints/step_00000006")));
  EXPECT_THAT(read_file(folder / "run/events.jsonl"), HasSubstr("checkpoint_removed"));
  EXPECT_EQ(checkpoints_of(folder / "run"), (std::vector<std::string>{"step_00000003", "step_00000004"}));

  const std::string before = read_file(folder / "run/metrics.jsonl");
  ASSERT_EQ(lines_of(before).size(), 4u);
  const Outcome on = train({"--set", "optimizer.learning_rate=3e-3", "--resume", "auto"});
  ASSERT_EQ(on.status, 0) << on.text();
  EXPECT_THAT(on.out, HasSubstr("going on after step 4"));
  const std::string after = read_file(folder / "run/metrics.jsonl");
  EXPECT_THAT(after, StartsWith(before));
  EXPECT_EQ(lines_of(after).size(), 6u);
}

/// Every file under the folder with its content.
std::map<std::string, std::string> contents_of(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[entry.path().string()] = read_file(entry.path());
  }
  return files;
}

TEST(Train, ResumingNeverTouchesAnotherRun) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1, {"--set", "checkpoint.every=3"}).status, 0);
  const std::string other = "run.dir=" + (folder / "other");
  ASSERT_EQ(train_tiny(folder, 1, {"--set", other, "--set", "checkpoint.every=2"}).status, 0);
  const auto run = contents_of(folder / "run"), others = contents_of(folder / "other");
  const std::vector<std::string> into_the_other = {"--set", other, "--resume",
                                                   folder / "run/checkpoints/step_00000003"};

  const Outcome refused = train_tiny(folder, 1, into_the_other);
  EXPECT_EQ(refused.status, 2) << refused.text();
  ASSERT_EQ(lines_of(refused.error).size(), 1u) << refused.text();
  EXPECT_THAT(refused.error, HasSubstr("run.overwrite"));
  EXPECT_EQ(contents_of(folder / "other"), others);

  std::vector<std::string> replacing = into_the_other;
  replacing.insert(replacing.end(), {"--set", "run.overwrite=true"});
  const Outcome replaced = train_tiny(folder, 1, replacing);
  EXPECT_EQ(replaced.status, 0) << replaced.text();
  EXPECT_EQ(lines_of(read_file(folder / "other/metrics.jsonl")).size(), 3u) << "steps 4 to 6";
  EXPECT_EQ(checkpoints_of(folder / "other"), std::vector<std::string>{"step_00000006"});
  EXPECT_EQ(contents_of(folder / "run"), run);
}

TEST(Train, ResumeAutoKeepsTheLogsOfARunWithoutACheckpoint) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1, {"--set", "checkpoint.at_end=false"}).status, 0);
  const auto run = contents_of(folder / "run");
  const Outcome refused = train_tiny(folder, 1, {"--resume", "auto"});
  EXPECT_EQ(refused.status, 2) << refused.text();
  ASSERT_EQ(lines_of(refused.error).size(), 1u) << refused.text();
  EXPECT_THAT(refused.error, HasSubstr("no checkpoint of it that can be resumed"));
  EXPECT_THAT(refused.error, HasSubstr("run.overwrite = true"));
  EXPECT_EQ(contents_of(folder / "run"), run);
  const Outcome anew = train_tiny(folder, 1, {"--resume", "auto", "--set", "run.overwrite=true"});
  EXPECT_EQ(anew.status, 0) << anew.text();
  EXPECT_EQ(lines_of(read_file(folder / "run/metrics.jsonl")).size(), 6u);
}

TEST(Train, ResolvedConfigurationStartsTheSameRun) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1, {"--set", "model.placement=pre"}).status, 0);
  const std::string metrics = read_file(folder / "run/metrics.jsonl");
  fs::rename(folder / "run/config.toml", folder / "resolved.toml");
  const Outcome again =
      run_plumb(folder, 1, {"train", folder / "resolved.toml", "--set", "run.overwrite=true"});
  ASSERT_EQ(again.status, 0) << again.text();
  EXPECT_EQ(losses_of(read_file(folder / "run/metrics.jsonl")), losses_of(metrics));
}

TEST(Eval, EqualsTheLastValidationOfTraining) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome trained = train_tiny(folder, 1);
  ASSERT_EQ(trained.status, 0) << trained.text();
  const double logged = number_after(read_file(folder / "run/metrics.jsonl"), "\"val_loss\":");
  const Outcome alone = run_plumb(folder, 1, {"eval", folder / "run"});
  ASSERT_EQ(alone.status, 0) << alone.text();
  // Six digits are printed; float32 sums of batches of another size differ in the seventh.
  EXPECT_NEAR(number_after(alone.out, "\nloss "), logged, 2e-6);
  EXPECT_NEAR(number_after(trained.out, "\nvalidation loss "), logged, 5.1e-5);
  // Every token of the split but the first is a target once.
  EXPECT_EQ(number_after(alone.out, "\ntargets "), 332);
  EXPECT_NEAR(number_after(alone.out, "\nbits per byte "),
              number_after(trained.out, "\nvalidation bits per byte "), 1.1e-4);

  const Outcome two = run_plumb(folder, 2, {"eval", folder / "run"});
  ASSERT_EQ(two.status, 0) << two.text();
  EXPECT_EQ(number_after(two.out, "\ntargets "), 332);
  EXPECT_NEAR(number_after(two.out, "\nloss "), logged, 2e-6);

  const Outcome part = run_plumb(folder, 1, {"eval", folder / "run", "--sequences", "3"});
  EXPECT_EQ(number_after(part.out, "\ntargets "), 48) << part.text();
  const Outcome file = run_plumb(folder, 1, {"eval", folder / "run", "--split", folder / "train.bin"});
  EXPECT_EQ(number_after(file.out, "\ntargets "), 2999) << file.text();
  const Outcome split = run_plumb(folder, 1, {"eval", folder / "run", "--split", "train"});
  EXPECT_EQ(number_after(split.out, "\nloss "), number_after(file.out, "\nloss ")) << split.text();
}

TEST(Eval, FaultsGiveOneLine) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1).status, 0);
  for (const auto& [arguments, expected] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{folder / "absent"}, "absent: no checkpoint here"},
           {{folder / "run", "--split", folder / "absent.bin"}, "absent.bin: No such file"},
           {{folder / "run", "--device", "gpu"}, "gpu"},
           {{folder / "run", "--dtype", "fp8"},
            "--dtype \"fp8\", but the cpu backend has \"fp32\", \"bf16\""}}) {
    std::vector<std::string> line = {"eval"};
    line.insert(line.end(), arguments.begin(), arguments.end());
    const Outcome outcome = run_plumb(folder, 1, line);
    EXPECT_EQ(outcome.status, 2) << outcome.text();
    ASSERT_EQ(lines_of(outcome.error).size(), 1u) << outcome.text();
    EXPECT_THAT(outcome.error, StartsWith("plumb: "));
    EXPECT_THAT(outcome.error, HasSubstr(expected));
  }
}

TEST(Eval, ComputesInTheDtypeOfTrainingOrAsksForOne) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1, {"--set", "compute.dtype=bf16"}).status, 0);
  const auto evaluate = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"eval", folder / "run"});
    return run_plumb(folder, 1, options);
  };
  EXPECT_THAT(evaluate({}).out, HasSubstr("\ncomputed in    bf16 on cpu\n"));
  EXPECT_THAT(evaluate({"--dtype", "fp32"}).out, HasSubstr("\ncomputed in    fp32 on cpu\n"));
  EXPECT_THAT(evaluate({"--dtype", "auto", "--device", "reference"}).out,
              HasSubstr("\ncomputed in    fp64 on reference\n"));
  // The reference backend has no bf16, and is not to pass another loss off as that of training.
  const std::vector<std::string> reference = {"--device", "reference"};
  const Outcome eval = evaluate(reference);
  const Outcome generate = run_plumb(folder, 1, {"generate", folder / "run", "--device", "reference"});
  for (const Outcome& outcome : {eval, generate}) {
    EXPECT_EQ(outcome.status, 2) << outcome.text();
    ASSERT_EQ(lines_of(outcome.error).size(), 1u) << outcome.text();
    EXPECT_THAT(outcome.error, HasSubstr("--dtype"));
    EXPECT_THAT(outcome.error, HasSubstr("\"bf16\""));
  }
}

TEST(Eval, ADtypeLeftToTheDeviceInTrainingStaysWhatItWas) {
  const Folder folder;
  write_tiny_run(folder);
  ASSERT_EQ(train_tiny(folder, 1).status, 0);
  const Outcome outcome = run_plumb(folder, 1, {"eval", folder / "run", "--device", "reference"});
  EXPECT_THAT(outcome.out, HasSubstr("\ncomputed in    fp32 on reference\n")) << outcome.text();
}

TEST(Eval, AMissingSplitIsNamedByItsKey) {
  const Folder folder;
  write_tiny_run(folder);
  const std::string config = folder / "config.toml";
  const std::string text = read_file(config);
  const std::string line = folder.fill("validation = \"@/validation.bin\"\n");
  ASSERT_NE(text.find(line), std::string::npos);
  write_file(config, std::string(text).replace(text.find(line), line.size(), ""));
  ASSERT_EQ(train_tiny(folder, 1).status, 0);
  const Outcome outcome = run_plumb(folder, 1, {"eval", folder / "run"});
  EXPECT_EQ(outcome.status, 2) << outcome.text();
  EXPECT_THAT(outcome.error, HasSubstr("data.validation is not set"));
}

TEST(Generate, LogitsThatAreNotFiniteAreRefused) {
  const Folder folder;
  write_tiny_run(folder);
  // One step of this size leaves finite parameters whose products are not.
  const Outcome trained =
      train_tiny(folder, 1,
                 {"--set", "training.steps=1", "--set", "optimizer.learning_rate=1e30", "--set",
                  "learning_rate.warmup_steps=0", "--set", "validation.at_end=false"});
  ASSERT_EQ(trained.status, 0) << trained.text();
  const Outcome outcome = run_plumb(folder, 1, {"generate", folder / "run"});
  EXPECT_EQ(outcome.status, 2) << outcome.text();
  EXPECT_THAT(outcome.error, HasSubstr("the checkpoint's logits are not finite"));
}

class Generated : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<Folder>();
    write_tiny_run(*folder_);
    ASSERT_EQ(train_tiny(*folder_, 1).status, 0);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string generate(std::vector<std::string> options) {
    std::vector<std::string> arguments = {"generate", *folder_ / "run", "--tokens", "20"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Outcome outcome = run_plumb(*folder_, 1, arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.text();
    return outcome.out;
  }

  inline static std::unique_ptr<Folder> folder_;
};

TEST_F(Generated, GoesOnFromThePromptByAsManyBytes) {
  const std::string text = generate({"--prompt", "abc"});
  EXPECT_THAT(text, StartsWith("abc"));
  EXPECT_EQ(text.size(), 3u + 20u + 1u) << "prompt, tokens, line feed";
}

TEST_F(Generated, SeedDecidesTheDraws) {
  EXPECT_EQ(generate({"--seed", "5"}), generate({"--seed", "5"}));
  EXPECT_NE(generate({"--seed", "5"}), generate({"--seed", "6"}));
}

TEST_F(Generated, TemperatureZeroAndTopOneTakeTheLikeliest) {
  const std::string likeliest = generate({"--temperature", "0", "--seed", "5"});
  EXPECT_EQ(generate({"--temperature", "0", "--seed", "6"}), likeliest);
  EXPECT_EQ(generate({"--top-k", "1", "--seed", "7"}), likeliest);
  EXPECT_NE(generate({"--top-k", "50", "--seed", "7"}), likeliest);
}

TEST_F(Generated, OnlyTheWindowOfALongPromptCounts) {
  // The window has 16 tokens; what stands before them cannot matter.
  const std::string window = "abcdefghijklmnop";
  const std::string shorter = generate({"--prompt", window, "--temperature", "0"});
  const std::string longer = generate({"--prompt", "zzzzzzzz" + window, "--temperature", "0"});
  EXPECT_EQ(longer, "zzzzzzzz" + shorter);
}

TEST_F(Generated, FaultsGiveOneLine) {
  for (const auto& options : std::vector<std::vector<std::string>>{
           {"--prompt", ""}, {"--temperature", "-1"}, {"--top-k", "-3"}, {"--tokens", "0"}}) {
    std::vector<std::string> arguments = {"generate", *folder_ / "run"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Outcome outcome = run_plumb(*folder_, 1, arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.text();
    EXPECT_EQ(lines_of(outcome.error).size(), 1u) << outcome.text();
    EXPECT_THAT(outcome.error, HasSubstr(options[0]));
  }
}

}  // namespace
}  // namespace plumb::test
