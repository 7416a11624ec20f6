// Which backends a test program is about.
#pragma once

#include <string>
#include <vector>

namespace plumb::test {

/// Those that $PLUMB_TEST_BACKENDS names, separated by commas, as far as they can be had here: what cannot is
/// named on stderr ("skipped: ..."). Without the variable all but the emulated one, which is slow and has
/// tests of its own (tests/emulation).
std::vector<std::string> tested_backends();

}  // namespace plumb::test
