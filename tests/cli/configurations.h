// What lies under configs/: whole configurations, and sweeps.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "session.h"
#include "sweep/plan.h"

namespace plumb::test {

inline std::filesystem::path configs_folder() { return std::filesystem::path(PLUMB_SOURCE_DIR) / "configs"; }

inline std::vector<std::filesystem::path> toml_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> list;
  if (!std::filesystem::exists(folder)) return list;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".toml") list.push_back(entry.path());
  }
  std::sort(list.begin(), list.end());
  return list;
}

/// Those that train as they are: all files but sweeps.
inline std::vector<std::filesystem::path> whole_configurations() {
  std::vector<std::filesystem::path> list;
  for (const char* folder : {"", "presets", "studies"}) {
    for (const auto& path : toml_files(configs_folder() / folder)) list.push_back(path);
  }
  return list;
}

/// The cells of configs/sweeps/<name>.toml.
inline SweepPlan sweep_plan(const std::string& name) {
  const std::filesystem::path file = configs_folder() / "sweeps" / (name + ".toml");
  return make_sweep_plan(read_sources({file}).front(), {}, "runs/" + name, placement_presets());
}

inline std::vector<SweepCell> cells_of(const std::vector<std::string>& sweeps) {
  std::vector<SweepCell> cells;
  for (const std::string& name : sweeps) {
    for (SweepCell& cell : sweep_plan(name).cells) {
      cell.name = name + "_" + cell.name;
      cells.push_back(std::move(cell));
    }
  }
  return cells;
}

/// Sweeps of published grids that run on a laptop, and the same at the size of GPT-2 XL.
inline std::vector<SweepCell> small_cells() { return cells_of({"kan", "prores"}); }
inline std::vector<SweepCell> gpt2_xl_cells() { return cells_of({"kan-gpt2-xl", "prores-gpt2-xl"}); }

/// A name of letters, digits and _.
inline std::string test_name(std::string name) {
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

}  // namespace plumb::test
