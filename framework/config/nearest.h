// The nearest known word to one that is not known, for "did you mean".
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace plumb {

/// Edit distance with insertions, deletions, substitutions and swaps of neighbours, each costing 1 (optimal
/// string alignment).
std::size_t edit_distance(std::string_view x, std::string_view y);

/// The word at the smallest distance, the first of several; empty if there are no words.
std::string nearest_word(std::string_view word, const std::vector<std::string>& words);

/// "a, b, c".
std::string joined(const std::vector<std::string>& words);

}  // namespace plumb
