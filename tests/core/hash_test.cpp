#include "core/hash.h"

#include <gtest/gtest.h>

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

TEST(Hash, TextHasSixteenDigits) { EXPECT_EQ(hash_to_string(0xABC), "0000000000000abc"); }

}  // namespace
}  // namespace plumb
