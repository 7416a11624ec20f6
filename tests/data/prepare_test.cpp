#include "data/prepare.h"

#include "data/tokenizer.h"
#include "data_test_support.h"

namespace plumb {
namespace {
using ::testing::HasSubstr;

std::string text_of(const std::filesystem::path& path) {
  return ByteTokenizer().decode(TokenFile(path).tokens());
}

TEST(ByteTokenizer, KeepsEveryByte) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const ByteTokenizer tokenizer;
  const auto tokens = tokenizer.encode(all);
  ASSERT_EQ(tokens.size(), 256U);
  EXPECT_EQ(tokens[200], 200);
  EXPECT_EQ(tokenizer.decode(tokens), all);
  EXPECT_EQ(tokenizer.vocabulary_size(), 256);
  EXPECT_EQ(tokenizer.text_bytes(tokens), 256U);
  const std::vector<std::uint16_t> no_byte{65, 256};
  EXPECT_THAT(input_error([&] { (void)tokenizer.decode(no_byte); }), HasSubstr("token 256 at position 1"));
}

TEST(Tokenizer, IsMadeByName) {
  EXPECT_EQ(make_tokenizer("byte")->name(), "byte");
  EXPECT_THAT(input_error([] { make_tokenizer("bytes"); }), HasSubstr("'bytes' (known: byte)"));
}

TEST(Prepare, SplitsTheJoinedTextByPosition) {
  const TemporaryFolder folder;
  const PrepareOptions options{
      .inputs = {folder.write("a.txt", "In the beginning"), folder.write("b.txt", " was")},
      .output_folder = folder / "new/prepared",
      .validation_fraction = 0.25};
  const PreparedData data = prepare_text(options);
  // 20 bytes; a quarter is 5.
  EXPECT_EQ(text_of(folder / "new/prepared/train.bin"), "In the beginnin");
  EXPECT_EQ(text_of(folder / "new/prepared/validation.bin"), "g was");
  EXPECT_EQ(data.train.tokens, 15U);
  EXPECT_EQ(data.train.bytes, 30U);
  EXPECT_EQ(data.validation.tokens, 5U);
  EXPECT_EQ(data.vocabulary, 256);
  ASSERT_EQ(data.sources.size(), 2U);
  EXPECT_EQ(data.sources[1].bytes, 4U);
}

TEST(Prepare, WritesTheAskedLayout) {
  const TemporaryFolder folder;
  (void)prepare_text({.inputs = {folder.write("a.txt", std::string(100, 'x'))},
                      .output_folder = folder / "out",
                      .layout = TokenLayout::LlmC});
  const TokenFile train(folder / "out/train.bin");
  EXPECT_TRUE(train.has_header());
  EXPECT_EQ(train.tokens().size(), 95U);
  EXPECT_EQ(TokenFile(folder / "out/validation.bin").tokens().size(), 5U);
}

TEST(Prepare, DescriptionCanBeReadBack) {
  const TemporaryFolder folder;
  const auto source = folder.write("a.txt", "abcd" + std::string(96, 'x'));
  const PreparedData written = prepare_text({.inputs = {source}, .output_folder = folder / "out"});
  const auto read = find_description(folder / "out/train.bin");
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->tokenizer, "byte");
  EXPECT_EQ(read->vocabulary, 256);
  EXPECT_EQ(read->layout, TokenLayout::Raw);
  EXPECT_EQ(read->validation_fraction, 0.05);
  EXPECT_EQ(read->train.name, "train.bin");
  EXPECT_EQ(read->train.xxh3, written.train.xxh3);
  EXPECT_EQ(read->sources.at(0).name, source.string());
  EXPECT_EQ(read->validation.tokens, 5U);
  EXPECT_THAT(read_bytes(folder / "out/description.json"), HasSubstr("\"vocabulary\": 256"));

  EXPECT_FALSE(find_description(folder / "train.bin").has_value());
  (void)folder.write("description.json", "{\"tokenizer\": 3}");
  EXPECT_THAT(input_error([&] { (void)find_description(folder / "train.bin"); }),
              HasSubstr("description.json"));
}

TEST(Prepare, HashesAreThoseOfTheFiles) {
  const TemporaryFolder folder;
  const auto data = prepare_text({.inputs = {folder.write("a.txt", "abcd")},
                                  .output_folder = folder / "out",
                                  .validation_fraction = 0.5});
  EXPECT_EQ(data.sources.at(0).xxh3, "6497a96f53a89890");  // xxhsum -H3
}

TEST(Prepare, RefusesBadInput) {
  const TemporaryFolder folder;
  const auto good = folder.write("good.txt", std::string(100, 'x'));
  const auto message = [&](std::vector<std::filesystem::path> inputs, double fraction = 0.05,
                           const std::string& output = "out", const std::string& tokenizer = "byte") {
    return input_error([&] {
      (void)prepare_text({.inputs = std::move(inputs),
                          .output_folder = folder / output,
                          .tokenizer = tokenizer,
                          .validation_fraction = fraction});
    });
  };
  EXPECT_THAT(message({}), HasSubstr("no text files"));
  EXPECT_THAT(message({good, folder / "absent.txt"}), HasSubstr("absent.txt: No such file"));
  EXPECT_THAT(message({folder / ""}), HasSubstr("not a regular file"));
  EXPECT_THAT(message({folder.write("empty.txt", "")}), HasSubstr("empty.txt is empty"));
  for (const double fraction : {0.0, 1.0, -0.1, 2.0, std::nan("")}) {
    EXPECT_THAT(message({good}, fraction), HasSubstr("is not above 0 and below 1"));
  }
  EXPECT_THAT(message({good}, 0.01), HasSubstr("99 for training and 1 for validation"));
  EXPECT_THAT(message({good}, 0.05, "good.txt/inside"), HasSubstr("cannot create folder"));
  EXPECT_THAT(message({good}, 0.05, "out", "words"), HasSubstr("unknown tokenizer 'words'"));
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

// A regular file whose first byte cannot be read.
TEST(Prepare, SeesAReadError) {
  if (!std::filesystem::exists("/proc/self/mem")) GTEST_SKIP() << "needs /proc/self/mem";
  const TemporaryFolder folder;
  const std::string message = input_error([&] {
    (void)prepare_text(
        {.inputs = {folder.write("a.txt", "abcd"), "/proc/self/mem"}, .output_folder = folder / "out"});
  });
  EXPECT_THAT(message, HasSubstr("cannot read /proc/self/mem: Input/output error"));
}

}  // namespace
}  // namespace plumb
