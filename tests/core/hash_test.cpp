#include "core/hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace plumb {
namespace {

// XXH3 of nothing with seed 0, from the specification of xxHash.
TEST(Hash, KnownAnswer) {
  EXPECT_EQ(hash_text(""), 0x2D06800538D394C2U);
  EXPECT_EQ(hash_to_string(hash_text("")), "2d06800538d394c2");
}

TEST(Hash, EveryByteCounts) {
  std::string text(1000, 'a');
  const std::uint64_t original = hash_text(text);
  EXPECT_EQ(hash_bytes(text.data(), text.size()), original);
  for (char& letter : text) {
    letter = 'b';
    EXPECT_NE(hash_text(text), original);
    letter = 'a';
  }
  EXPECT_NE(hash_text(text + "a"), original);
}

TEST(Hash, PiecesMakeTheWhole) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 37 % 251);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{255}, std::size_t{1024}, text.size()}) {
    PiecewiseHash hash;
    for (std::size_t begin = 0; begin < text.size(); begin += piece)
      hash.add(text.data() + begin, std::min(piece, text.size() - begin));
    EXPECT_EQ(hash.value(), hash_text(text)) << piece;
  }
  EXPECT_EQ(PiecewiseHash().value(), hash_text(""));
}

TEST(Hash, TextHasSixteenDigits) { EXPECT_EQ(hash_to_string(0xABC), "0000000000000abc"); }

}  // namespace
}  // namespace plumb
