// The commands around training: data, placements, doctor, and what is printed for a wrong command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "nn/placement.h"
#include "program.h"

namespace plumb::test {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(CommandLine, HelpAndVersion) {
  const Folder folder;
  const Outcome version = run_plumb(folder, 1, {"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out, StartsWith("plumb 0."));
  EXPECT_EQ(lines_of(version.out).size(), 1u);
  const Outcome help = run_plumb(folder, 1, {"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* command : {"train", "eval", "generate", "data", "dump", "placements", "metrics", "report",
                              "check", "plan", "doctor"})
    EXPECT_THAT(help.out, HasSubstr(std::string("\n  ") + command + " "));
  const Outcome train = run_plumb(folder, 1, {"train", "--help"});
  EXPECT_EQ(train.status, 0);
  EXPECT_THAT(train.out, HasSubstr("--resume"));
  EXPECT_THAT(train.out, HasSubstr("optimizer.")) << "the keys of the configuration";
}

TEST(CommandLine, FaultsGiveOneLineAndStatusTwo) {
  struct Case {
    std::vector<std::string> arguments;
    const char* expected;
  };
  const std::vector<Case> cases = {
      {{}, "subcommand is required; see `plumb --help`"},
      {{"trian"}, "unknown subcommand 'trian'; did you mean 'train'?"},
      {{"weigh"}, "unknown subcommand 'weigh'"},
      {{"train"}, "train: config is required; see `plumb train --help`"},
      {{"train", "a.toml", "--rseume", "auto"}, "--rseume"},
      {{"train", "a.toml", "--set"}, "--set"},
      {{"placements", "peri", "--bogus"}, "placements: The following argument was not expected: --bogus"},
      {{"data"}, "data: A subcommand is required; see `plumb data --help`"},
      {{"data", "prepare", "x"}, "data prepare: --output is required"},
      {{"data", "prepare", "x", "--output", "y", "--layout", "zip"}, "--layout"},
      {{"generate", "x", "--tokens", "many"}, "--tokens"},
      {{"eval", "x", "--sequences", "-5"}, "--sequences"},
      {{"placements", "perri"},
       "placement 'perri' is unknown; did you mean 'peri'? known: none, post, pre, peri"},
      {{"placements", "deep-norm", "--json"}, "placement 'deep-norm' is unknown; did you mean 'deepnorm'?"},
      {{"placements", "peri", "--layers", "0"}, "placements: --layers: Value 0 not in range 1 to 1000"},
      {{"placements", "--layers", "4"}, "placements: --layers requires name"},
  };
  const Folder folder;
  for (const Case& wrong : cases) {
    const Outcome outcome = run_plumb(folder, 1, wrong.arguments);
    EXPECT_EQ(outcome.status, 2) << outcome.text();
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(lines_of(outcome.error).size(), 1u) << outcome.text();
    EXPECT_THAT(outcome.error, StartsWith("plumb: "));
    EXPECT_THAT(outcome.error, HasSubstr(wrong.expected));
  }
}

TEST(Data, PreparedFilesHoldTheTextSplitByPosition) {
  const Folder folder;
  std::string text;
  for (int i = 0; i < 200; ++i) text += static_cast<char>('a' + i % 4);
  write_file(folder / "one.txt", text.substr(0, 120));
  write_file(folder / "two.txt", text.substr(120));
  const Outcome raw = run_plumb(folder, 1,
                                {"data", "prepare", folder / "one.txt", folder / "two.txt", "--output",
                                 folder / "raw", "--layout", "raw", "--validation-fraction", "0.1"});
  ASSERT_EQ(raw.status, 0) << raw.text();
  std::vector<int> tokens(text.begin(), text.end());
  EXPECT_TRUE(read_file(folder / "raw/train.bin") == raw_tokens({tokens.begin(), tokens.begin() + 180}));
  EXPECT_TRUE(read_file(folder / "raw/validation.bin") == raw_tokens({tokens.begin() + 180, tokens.end()}));

  const Outcome with_header = run_plumb(folder, 1,
                                        {"data", "prepare", folder / "one.txt", folder / "two.txt",
                                         "--output", folder / "llmc", "--validation-fraction", "0.1"});
  ASSERT_EQ(with_header.status, 0) << with_header.text();
  const std::string train = read_file(folder / "llmc/train.bin");
  ASSERT_EQ(train.size(), 1024u + 360u);
  EXPECT_TRUE(train.substr(1024) == read_file(folder / "raw/train.bin"));
}

TEST(Data, DescriptionOfATextOfKnownEntropy) {
  const Folder folder;
  // a, b, c, d in turn: two bits per token by their shares; nothing is new once the one before is known.
  std::vector<int> tokens;
  for (int i = 0; i < 4000; ++i) tokens.push_back(i % 4);
  write_file(folder / "train.bin", raw_tokens(tokens));
  write_file(folder / "validation.bin", raw_tokens({tokens.begin(), tokens.begin() + 400}));
  const std::vector<std::string> line = {"data", "describe", folder / "train.bin", folder / "validation.bin"};
  std::vector<std::string> as_json = line;
  as_json.emplace_back("--json");
  const Outcome outcome = run_plumb(folder, 1, as_json);
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  const auto description = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(description["train"]["tokens"], 4000);
  EXPECT_EQ(description["validation"]["tokens"], 400);
  EXPECT_EQ(description["train"]["distinct_tokens"], 4);
  EXPECT_EQ(description["train"]["max_token"], 3);
  EXPECT_NEAR(description["train"]["unigram_entropy_bits"].get<double>(), 2, 1e-12);
  ASSERT_EQ(description["markov"].size(), 5u);
  EXPECT_EQ(description["markov"][0]["order"], 1);
  EXPECT_LT(description["markov"][0]["bits_per_token"].get<double>(), 0.05);

  const Outcome table = run_plumb(folder, 1, line);
  ASSERT_EQ(table.status, 0) << table.text();
  EXPECT_THAT(table.out, HasSubstr("order 5"));
  EXPECT_THAT(table.out, HasSubstr("2.0000 bits per token"));
}

TEST(Data, SyntheticTextFollowsItsSeed) {
  const Folder folder;
  const auto synthesize = [&](const std::string& name, const std::string& seed) {
    const Outcome outcome = run_plumb(
        folder, 1, {"data", "synthesize", "--output", folder / name, "--bytes", "5000", "--seed", seed});
    EXPECT_EQ(outcome.status, 0) << outcome.text();
    EXPECT_THAT(outcome.out, HasSubstr("5000 bytes"));
    EXPECT_THAT(outcome.out, HasSubstr("entropy rate"));
    return read_file(folder / name);
  };
  const std::string text = synthesize("a.txt", "1");
  EXPECT_EQ(text.size(), 5000u);
  EXPECT_TRUE(synthesize("b.txt", "1") == text);
  EXPECT_FALSE(synthesize("c.txt", "2") == text);
}

TEST(Data, FaultsGiveOneLine) {
  const Folder folder;
  write_file(folder / "empty.txt", "");
  write_file(folder / "text.txt", std::string(100, 'x'));
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"prepare", folder / "absent.txt", "--output", folder / "x"}, "absent.txt: No such file"},
      {{"prepare", folder / "empty.txt", "--output", folder / "x"}, "empty.txt is empty"},
      {{"prepare", folder / "text.txt", "--output", folder / "text.txt/x"},
       "cannot create folder " + folder / "text.txt: File exists"},
      {{"prepare", folder / "text.txt", "--output", folder / "x", "--validation-fraction", "1"},
       "fraction 1"},
      {{"prepare", folder / "text.txt", "--output", folder / "x", "--tokenizer", "bpe"}, "bpe"},
      {{"describe", folder / "absent.bin", folder / "absent.bin"}, "absent.bin: No such file"},
      {{"synthesize", "--output", folder / "text.txt/x"}, "cannot be written"}};
  for (const auto& [arguments, expected] : cases) {
    std::vector<std::string> line = {"data"};
    line.insert(line.end(), arguments.begin(), arguments.end());
    const Outcome outcome = run_plumb(folder, 1, line);
    EXPECT_EQ(outcome.status, 2) << outcome.text();
    EXPECT_EQ(lines_of(outcome.error).size(), 1u) << outcome.text();
    EXPECT_THAT(outcome.error, HasSubstr(expected));
  }
}

TEST(Placements, TableAndOneRow) {
  const Folder folder;
  const Outcome table = run_plumb(folder, 1, {"placements"});
  EXPECT_EQ(table.status, 0);
  for (const char* row : {"\nnone ", "\npre ", "\npost ", "\nperi ", "\ndeepnorm ", "\nmhc "})
    EXPECT_THAT(table.out, HasSubstr(row));
  const Outcome peri = run_plumb(folder, 1, {"placements", "peri"});
  EXPECT_EQ(peri.status, 0);
  for (const char* text : {"x' = x + N_out(F(N_in(x)))", "2502.02732", "norm.out.kind", "u = N_in(x)",
                           "golden/placements/peri.safetensors", "identities I2", "here with 12 layers"})
    EXPECT_THAT(peri.out, HasSubstr(text));
  for (const Outcome& outcome : {table, peri}) {
    for (const std::string& line : lines_of(outcome.out)) EXPECT_LE(line.size(), 100u) << line;
  }
  EXPECT_EQ(run_plumb(folder, 1, {"placements", "sandwich"}).out, peri.out) << "an alias";
}

TEST(Placements, CoefficientsAndInitFollowTheDepth) {
  const Folder folder;
  // 4 blocks are 8 sublayers: a = 8^(1/4), beta = 32^(-1/4) = 0.42045 on W_V, whose Xavier deviation is 1/8.
  const Outcome deepnorm = run_plumb(folder, 1, {"placements", "deepnorm", "--layers", "4"});
  ASSERT_EQ(deepnorm.status, 0) << deepnorm.text();
  for (const char* text :
       {"a = K^0.25 = 1.6818, K = 8 sublayers", "normal, sd 0.052556", "here with 4 layers"})
    EXPECT_THAT(deepnorm.out, HasSubstr(text));
  // The lowest quarter of 8 blocks is post.
  const Outcome mixed = run_plumb(folder, 1, {"placements", "mix-ln", "--layers", "8"});
  for (const char* text : {"blocks 0-1:", "blocks 2-7:"}) EXPECT_THAT(mixed.out, HasSubstr(text));
}

TEST(Placements, Json) {
  const Folder folder;
  const Outcome table = run_plumb(folder, 1, {"placements", "--json"});
  ASSERT_EQ(table.status, 0) << table.text();
  std::vector<std::string> names;
  for (const auto& row : nlohmann::json::parse(table.out)) names.push_back(row["name"]);
  std::vector<std::string> expected;
  for (const Placement& row : placements()) expected.emplace_back(row.name);
  EXPECT_EQ(names, expected);

  const Outcome one = run_plumb(folder, 1, {"placements", "layernorm-scaling", "--layers", "6", "--json"});
  ASSERT_EQ(one.status, 0) << one.text();
  const auto json = nlohmann::json::parse(one.out);
  EXPECT_EQ(json["name"], "layernorm-scaling");
  EXPECT_EQ(json["layers"], 6);
  EXPECT_EQ(json["golden_file"], "tests/golden/placements/layernorm-scaling.safetensors");
  ASSERT_EQ(json["sublayers"].size(), 12u);
  EXPECT_EQ(json["sublayers"][7]["block"], 3);
  EXPECT_EQ(json["sublayers"][7]["kind"], "ffn");
  EXPECT_EQ(json["sublayers"][7]["coefficients"]["c"]["value"], 0.5) << "1/sqrt(4)";
  EXPECT_EQ(json["sublayers"][7]["coefficients"]["a"]["present"], false);
  EXPECT_EQ(json["sublayers"][7]["norms"][0]["kind"], "layernorm");
  EXPECT_EQ(json["tensors"][0]["name"], "embedding.token");
  EXPECT_EQ(json["tensors"][0]["init"][0]["standard_deviation"], 0.02);
}

TEST(Metrics, TextAndJson) {
  const Folder folder;
  const Outcome text = run_plumb(folder, 1, {"metrics"});
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, HasSubstr("| `profiles.{stream,branch}.data_variance` |"));
  const Outcome json = run_plumb(folder, 1, {"metrics", "--json"});
  ASSERT_EQ(json.status, 0) << json.text();
  bool found = false;
  for (const auto& field : nlohmann::json::parse(json.out)) {
    if (field["path"] != "profiles.stream.data_variance") continue;
    found = true;
    EXPECT_EQ(field["file"], "stability.jsonl");
    EXPECT_EQ(field["unit"], "activation^2");
    EXPECT_EQ(field["dimensions"], nlohmann::json{"stream"});
  }
  EXPECT_TRUE(found);
}

TEST(Doctor, NamesBackendsAndTheVariablesForRoot) {
  const Folder folder;
  const std::string first = "OMPI_ALLOW_RUN_AS_ROOT", second = "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM";
  const Outcome outcome = run_plumb(folder, 1, {"doctor"}, {first, second});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  for (const char* text : {"backend cpu", "backend reference", "bf16", "cores", "/dev/shm", "mpirun"})
    EXPECT_THAT(outcome.out, HasSubstr(text));
  if (geteuid() != 0) return;
  // mpirun starts for root with both only.
  const std::string advice = first + "=1 " + second + "=1";
  EXPECT_THAT(outcome.out, HasSubstr(advice));
  EXPECT_THAT(run_plumb(folder, 1, {"doctor"}, {first + "=1", second}).out, HasSubstr(advice));
  EXPECT_THAT(run_plumb(folder, 1, {"doctor"}, {first, second + "=1"}).out, HasSubstr(advice));
  EXPECT_THAT(run_plumb(folder, 1, {"doctor"}, {first + "=1", second + "=1"}).out, Not(HasSubstr(advice)));
}

TEST(Doctor, CountsGpusForScripts) {
  const Folder folder;
  // Where there are GPUs: of none, none is visible.
  const Outcome outcome = run_plumb(folder, 1, {"doctor", "--gpus"}, {"CUDA_VISIBLE_DEVICES="});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "0\n");
}

}  // namespace
}  // namespace plumb::test
