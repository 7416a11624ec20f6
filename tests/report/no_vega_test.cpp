// The source file that stands in for Vega says what to install.
#include <gmock/gmock.h>

#include "core/error.h"
#include "report/report_page.h"

namespace plumb {
namespace {

TEST(NoVega, OneLineSaysWhatToInstall) {
  try {
    report_page("title", "{}");
    FAIL() << "a page without Vega";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("libjs-vega"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("launch/setup.sh"));
    EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("\n")));
  }
}

}  // namespace
}  // namespace plumb
