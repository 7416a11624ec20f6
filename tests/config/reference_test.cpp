// docs/config.md and the help text.
#include "config/reference.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "config/fixture.h"
#include "config/schema.h"

namespace plumb {
namespace {

TEST(ConfigReference, DocsAreCurrent) {
  std::ifstream stream(PLUMB_SOURCE_DIR "/docs/config.md", std::ios::binary);
  const std::string committed{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  EXPECT_TRUE(committed == config_reference_markdown())
      << "docs/config.md does not say what the schema says; regenerate it: build the target "
         "generate_config_reference "
         "and write what it prints to docs/config.md";
}

TEST(ConfigReference, EveryKeyIsThere) {
  const std::string text = config_reference_markdown(), help = config_help_text();
  for (const Field& field : config_fields()) {
    EXPECT_THAT(text, testing::HasSubstr("| `" + field.pattern + "` | "));
    EXPECT_THAT(help, testing::HasSubstr("  " + field.pattern + " = "));
  }
}

TEST(ConfigReference, Rows) {
  const std::string text = config_reference_markdown();
  for (const char* row :
       {"| `model.width` | a whole number | `64` | 1 <= x <= 1048576 | Width of the residual stream. |\n",
        "| `optimizer.momentum` | a number | `0.9` | 0 <= x < 1 | Momentum. Read when kind is sgd. |\n",
        "| `model.residual.<knob>.value` | a number | `1.0 (e: 0.0)` | any finite number | The coefficient, "
        "before the "
        "factors below. |\n",
        "| `model.residual.<knob>.tie_to_branch` | true or false | `false` | any | a = 1 - b (nGPT). Only a. "
        "|\n"}) {
    EXPECT_THAT(text, testing::HasSubstr(row));
  }
}

}  // namespace
}  // namespace plumb
