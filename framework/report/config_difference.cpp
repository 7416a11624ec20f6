#include "report/config_difference.h"

#include <algorithm>
#include <set>
#include <string_view>

namespace plumb {
namespace {

bool names_the_run(std::string_view key) {
  return key == "run.name" || key == "run.dir" || key == "run.overwrite";
}

std::string value_of(const RunData& run, const std::string& key) {
  for (const ConfigEntry& entry : run.config) {
    if (entry.key == key) return entry.value;
  }
  return run.config.empty() ? "not known" : "not set";
}

/// Keys of all runs, each once; one that only a later run has stands behind its neighbour there.
std::vector<std::string> all_keys(std::span<const RunData> runs) {
  std::vector<std::string> keys;
  std::set<std::string> known;
  for (const RunData& run : runs) {
    auto place = keys.begin();
    for (const ConfigEntry& entry : run.config) {
      if (names_the_run(entry.key)) continue;
      if (known.insert(entry.key).second) {
        place = keys.insert(place, entry.key) + 1;
      } else {
        place = std::find(keys.begin(), keys.end(), entry.key) + 1;
      }
    }
  }
  return keys;
}

}  // namespace

std::vector<ConfigDifference> config_differences(std::span<const RunData> runs) {
  std::vector<ConfigDifference> differences;
  for (const std::string& key : all_keys(runs)) {
    ConfigDifference difference{key, {}};
    std::set<std::string> distinct;
    for (const RunData& run : runs) {
      difference.values.push_back(value_of(run, key));
      if (!run.config.empty()) distinct.insert(difference.values.back());
    }
    if (distinct.size() > 1) differences.push_back(std::move(difference));
  }
  return differences;
}

std::vector<ConfigEntry> chosen_settings(const RunData& run) {
  std::vector<ConfigEntry> chosen;
  for (const ConfigEntry& entry : run.config) {
    if (entry.origin != "default" && !names_the_run(entry.key)) chosen.push_back(entry);
  }
  return chosen;
}

}  // namespace plumb
