// In the place of netcdf.cpp where the library was not found.
#include "export/netcdf.h"

namespace plumb {

void require_netcdf() {
  fail_input(
      "this build cannot write NetCDF: install libnetcdf-dev (launch/setup.sh does), configure and build "
      "again");
}

void write_netcdf(const RunLogs&, const std::filesystem::path&) { require_netcdf(); }

}  // namespace plumb
