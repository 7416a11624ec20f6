#include <algorithm>

#include "export/netcdf.h"
#include "stability/statistics_table.h"

namespace plumb {

std::string netcdf_name(const LogField& field) {
  const std::string_view file = field.statistic->file;
  std::string name = field.path;
  if (name.find('.') == std::string::npos && file != log_file::kMetrics) {
    name = std::string(file.substr(0, file.find('.'))) + "_" + name;
  }
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

}  // namespace plumb
