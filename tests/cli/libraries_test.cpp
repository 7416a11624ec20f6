// What the program needs to start: no CUDA library, whatever backends were built.
#include <gmock/gmock.h>

#include "program.h"

namespace plumb::test {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

TEST(Libraries, TheProgramIsLinkedToNoneOfCuda) {
  const Folder folder;
  // The loader of glibc (ld.so(8)) lists what it would load, dependencies of dependencies too, and ends.
  const Outcome outcome = run_plumb(folder, 1, {"doctor"}, {"LD_TRACE_LOADED_OBJECTS=1"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  const std::vector<std::string> loaded = lines_of(outcome.out);
  ASSERT_THAT(loaded, Contains(HasSubstr("libc.so."))) << "not a list of libraries";
  for (const char* library : {"libcuda.", "libcudart.", "libcublas.", "libcublasLt.", "libcudnn", "libnccl."})
    EXPECT_THAT(loaded, Not(Contains(HasSubstr(library))));
}

TEST(Libraries, DoctorRunsWithoutALibraryPath) {
  const Folder folder;
  const Outcome outcome = run_plumb(folder, 1, {"doctor"}, {"PATH=/usr/bin", "LD_LIBRARY_PATH"});
  EXPECT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("backend reference"));
}

}  // namespace
}  // namespace plumb::test
