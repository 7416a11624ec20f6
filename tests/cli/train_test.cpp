// train, eval and generate, and how their outputs hang together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

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
           {{folder / "run", "--device", "gpu"}, "gpu"}}) {
    std::vector<std::string> line = {"eval"};
    line.insert(line.end(), arguments.begin(), arguments.end());
    const Outcome outcome = run_plumb(folder, 1, line);
    EXPECT_EQ(outcome.status, 2) << outcome.text();
    ASSERT_EQ(lines_of(outcome.error).size(), 1u) << outcome.text();
    EXPECT_THAT(outcome.error, StartsWith("plumb: "));
    EXPECT_THAT(outcome.error, HasSubstr(expected));
  }
}

class Generate : public ::testing::Test {
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

TEST_F(Generate, GoesOnFromThePromptByAsManyBytes) {
  const std::string text = generate({"--prompt", "abc"});
  EXPECT_THAT(text, StartsWith("abc"));
  EXPECT_EQ(text.size(), 3u + 20u + 1u) << "prompt, tokens, line feed";
}

TEST_F(Generate, SeedDecidesTheDraws) {
  EXPECT_EQ(generate({"--seed", "5"}), generate({"--seed", "5"}));
  EXPECT_NE(generate({"--seed", "5"}), generate({"--seed", "6"}));
}

TEST_F(Generate, TemperatureZeroAndTopOneTakeTheLikeliest) {
  const std::string likeliest = generate({"--temperature", "0", "--seed", "5"});
  EXPECT_EQ(generate({"--temperature", "0", "--seed", "6"}), likeliest);
  EXPECT_EQ(generate({"--top-k", "1", "--seed", "7"}), likeliest);
  EXPECT_NE(generate({"--top-k", "50", "--seed", "7"}), likeliest);
}

TEST_F(Generate, OnlyTheWindowOfALongPromptCounts) {
  // The window has 16 tokens; what stands before them cannot matter.
  const std::string window = "abcdefghijklmnop";
  const std::string shorter = generate({"--prompt", window, "--temperature", "0"});
  const std::string longer = generate({"--prompt", "zzzzzzzz" + window, "--temperature", "0"});
  EXPECT_EQ(longer, "zzzzzzzz" + shorter);
}

TEST_F(Generate, FaultsGiveOneLine) {
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
