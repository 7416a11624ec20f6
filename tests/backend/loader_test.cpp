// Which backends there are, and what is said of one that is not.
#include "backend/loader.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "backends/cuda_probe.h"
#include "core/error.h"

namespace plumb {
namespace {

using testing::HasSubstr;

std::string refusal(const std::string& name) {
  try {
    make_backend(name);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Loader, AutoTakesTheFirst) { EXPECT_EQ(make_backend("auto")->name(), backend_names().front()); }

TEST(Loader, EveryNameCanBeMade) {
  for (const std::string& name : backend_names()) EXPECT_EQ(make_backend(name)->name(), name);
}

TEST(Loader, AnUnknownNameIsRefusedWithTheKnownOnes) {
  EXPECT_THAT(refusal("gpu"), HasSubstr("device = \"gpu\" is unknown; there are \"auto\", "));
  EXPECT_THAT(refusal("gpu"), HasSubstr("\"reference\""));
}

TEST(Loader, AnAbsentGpuIsRefusedWithTheReason) {
  if (cuda_absence().empty()) GTEST_SKIP() << "there is a GPU here";
  EXPECT_EQ(probe_cuda().devices > 0, probe_cuda().reason.empty());
  EXPECT_THAT(refusal("cuda"), HasSubstr("device = \"cuda\" cannot be had here: " + cuda_absence()));
  EXPECT_NE(make_backend("auto")->name(), "cuda");
}

}  // namespace
}  // namespace plumb
