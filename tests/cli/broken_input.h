// Wrong input of `plumb train`: what a user may get wrong, and what the one line must tell him.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "program.h"

namespace plumb::test {

struct BrokenInput {
  std::string name;
  /// Texts ('@' is the folder) that the line must hold.
  std::vector<std::string> expected;
  /// This piece of kTinyConfig is replaced by that one.
  std::string original = {}, replacement = {};
  /// After `plumb train CONFIG`; '@' is the folder.
  std::vector<std::string> arguments = {};
  /// Further damage, after configuration and data are written.
  std::function<void(const Folder&)> damage = {};
  /// Wrong only with this many ranks; 0 = with any.
  int ranks = 0;
};

inline std::ostream& operator<<(std::ostream& stream, const BrokenInput& input) {
  return stream << input.name;
}

/// The inputs that are wrong with that many ranks.
std::vector<BrokenInput> broken_inputs_for(int ranks);

/// Runs one and checks: one line of plumb's with all expected texts, status 2, no process left, and no run
/// begun.
void check_broken_input(const BrokenInput& input, int ranks);

}  // namespace plumb::test
