// The sources that stand for libraries which a build has not: built here in any case.
#include <gmock/gmock.h>

#include "checkpoint/temporary_folder.h"
#include "export/event_file.h"
#include "export/netcdf.h"

namespace plumb {
namespace {

TEST(AbsentLibrary, NetcdfSaysWhatToInstall) {
  for (const std::string& message :
       {plumb::testing::input_error_of([] { require_netcdf(); }),
        plumb::testing::input_error_of([] { write_netcdf({}, "/tmp/never.nc"); })}) {
    EXPECT_THAT(message, ::testing::HasSubstr("libnetcdf-dev"));
    EXPECT_THAT(message, ::testing::Not(::testing::HasSubstr("\n")));
  }
}

TEST(AbsentLibrary, TensorboardSaysWhatToInstall) {
  for (const std::string& message :
       {plumb::testing::input_error_of([] { require_tensorboard(); }),
        plumb::testing::input_error_of([] { EventFile("/tmp", std::nullopt); })}) {
    EXPECT_THAT(message, ::testing::HasSubstr("libprotobuf-dev"));
    EXPECT_THAT(message, ::testing::HasSubstr("log.tensorboard"));
    EXPECT_THAT(message, ::testing::Not(::testing::HasSubstr("\n")));
  }
}

}  // namespace
}  // namespace plumb
