// What differs between the configurations of runs.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "report/run_data.h"

namespace plumb {

struct ConfigDifference {
  std::string key;
  std::vector<std::string> values;  ///< by run; "not set" where the key is missing
};

/// Keys whose values are not the same in all runs, in the order of the files; run.name, run.dir and
/// run.overwrite, which say nothing of the training, are left out. A run without a configuration counts as
/// "not known" and makes no difference by itself.
std::vector<ConfigDifference> config_differences(std::span<const RunData> runs);

/// The settings of one run that are not defaults.
std::vector<ConfigEntry> chosen_settings(const RunData& run);

}  // namespace plumb
