#include "data/token_file.h"

#include "data_test_support.h"

namespace plumb {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// llm.c's header, spelled out byte by byte.
std::string header(std::int32_t magic, std::int32_t version, std::int32_t count) {
  std::string bytes(1024, '\0');
  const std::int32_t words[] = {magic, version, count};
  for (std::size_t i = 0; i < 12; ++i) {
    bytes[i] = static_cast<char>(static_cast<std::uint32_t>(words[i / 4]) >> (8 * (i % 4)));
  }
  return bytes;
}
const std::string kThreeTokens{"\x01\x00\x02\x01\xff\xff", 6};  // 1, 258, 65535

TEST(TokenFile, ReadsRawFiles) {
  const TemporaryFolder folder;
  const TokenFile file(folder.write("raw.bin", kThreeTokens));
  EXPECT_THAT(file.tokens(), ElementsAre(1, 258, 65535));
  EXPECT_FALSE(file.has_header());
  EXPECT_EQ(file.max_token(), 65535);
  EXPECT_EQ(file.path(), folder / "raw.bin");
}

TEST(TokenFile, ReadsFilesWithHeader) {
  const TemporaryFolder folder;
  const TokenFile file(folder.write("headed.bin", header(20240520, 1, 3) + kThreeTokens));
  EXPECT_THAT(file.tokens(), ElementsAre(1, 258, 65535));
  EXPECT_TRUE(file.has_header());
}

TEST(TokenFile, WritesBothLayoutsByteForByte) {
  const TemporaryFolder folder;
  const std::vector<std::uint16_t> tokens{1, 258, 65535};
  write_token_file(folder / "raw.bin", tokens, TokenLayout::Raw);
  write_token_file(folder / "headed.bin", tokens, TokenLayout::LlmC);
  EXPECT_EQ(read_bytes(folder / "raw.bin"), kThreeTokens);
  EXPECT_EQ(read_bytes(folder / "headed.bin"), header(20240520, 1, 3) + kThreeTokens);
  EXPECT_FALSE(std::filesystem::exists(folder / "raw.bin.partial"));
}

TEST(TokenFile, MovesItsMapping) {
  const TemporaryFolder folder;
  TokenFile first(folder.write("first.bin", kThreeTokens));
  TokenFile second(folder.write("second.bin", std::string("\x07\x00", 2)));
  second = std::move(first);
  EXPECT_THAT(second.tokens(), ElementsAre(1, 258, 65535));
  const TokenFile third(std::move(second));
  EXPECT_THAT(third.tokens(), ElementsAre(1, 258, 65535));
}

TEST(TokenFile, HashIsThatOfTheFile) {
  const TemporaryFolder folder;
  // XXH3-64 of "abcd" as xxhsum -H3 prints it.
  EXPECT_EQ(TokenFile(folder.write("text.bin", "abcd")).hash(), 0x6497a96f53a89890U);
}

TEST(TokenFile, RefusesDamagedFiles) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& bytes) {
    const auto path = folder.write("bad.bin", bytes);
    const std::string text = input_error([&] { TokenFile file(path); });
    EXPECT_THAT(text, HasSubstr(path.string()));
    EXPECT_EQ(text.find('\n'), std::string::npos);
    return text;
  };
  EXPECT_THAT(message(""), HasSubstr("empty"));
  EXPECT_THAT(message("abc"),
              HasSubstr("corrupted or truncated: 3 bytes is no whole number of 16-bit tokens"));
  EXPECT_THAT(
      message(header(20240520, 1, 4) + kThreeTokens),
      HasSubstr("corrupted or truncated: its header promises 4 tokens (1032 bytes), it has 1030 bytes"));
  EXPECT_THAT(message(header(20240520, 1, -5) + kThreeTokens), HasSubstr("corrupted or truncated"));
  EXPECT_THAT(message(header(20240520, 1, 3) + kThreeTokens + "x"), HasSubstr("corrupted or truncated"));
  EXPECT_THAT(message(header(20240520, 1, 3).substr(0, 100)), HasSubstr("its header alone has 1024"));
  EXPECT_THAT(message(header(20240520, 1, 0)), HasSubstr("empty"));
  EXPECT_THAT(message(header(20240520, 2, 3) + kThreeTokens), HasSubstr("version 2"));
  EXPECT_THAT(message(header(20240801, 7, 3) + std::string(12, '\0')), HasSubstr("32-bit tokens"));
}

TEST(TokenFile, NamesWhatCannotBeOpened) {
  const TemporaryFolder folder;
  EXPECT_THAT(
      input_error([&] { TokenFile file(folder / "absent.bin"); }),
      ::testing::AllOf(HasSubstr("absent.bin"), HasSubstr("No such file"), HasSubstr("plumb data prepare")));
  EXPECT_THAT(input_error([&] { TokenFile file(folder / ""); }), HasSubstr("not a regular file"));
}

TEST(TokenFile, ChecksTheVocabulary) {
  const TemporaryFolder folder;
  const TokenFile file(folder.write("raw.bin", kThreeTokens));
  EXPECT_NO_THROW(file.check_vocabulary(65536));
  EXPECT_THAT(input_error([&] { file.check_vocabulary(258); }),
              HasSubstr("token 258 at position 1, but the vocabulary has 258 tokens"));
}

TEST(TokenFile, WriterNamesWhatCannotBeWritten) {
  const TemporaryFolder folder;
  const std::vector<std::uint16_t> tokens{1, 2};
  EXPECT_THAT(input_error([&] { write_token_file(folder / "absent/x.bin", tokens, TokenLayout::Raw); }),
              HasSubstr("absent/x.bin.partial: No such file"));
  EXPECT_THAT(input_error([&] { write_token_file(folder / "x.bin", {}, TokenLayout::Raw); }),
              HasSubstr("no tokens to write"));
}

TEST(TokenLayout, HasNames) {
  EXPECT_EQ(token_layout("raw"), TokenLayout::Raw);
  EXPECT_EQ(token_layout(name_of(TokenLayout::LlmC)), TokenLayout::LlmC);
  EXPECT_THAT(input_error([] { token_layout("parquet"); }), HasSubstr("'parquet' (known: raw, llm.c)"));
}

}  // namespace
}  // namespace plumb
