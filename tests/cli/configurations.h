// What lies under configs/: whole configurations, and studies that are grids of parts.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

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

/// Those that train as they are: all files but those of grids.
inline std::vector<std::filesystem::path> whole_configurations() {
  std::vector<std::filesystem::path> list;
  for (const char* folder : {"", "presets", "studies"}) {
    for (const auto& path : toml_files(configs_folder() / folder)) list.push_back(path);
  }
  return list;
}

/// One cell of a grid: the files in their order, and a name for tests.
struct GridCell {
  std::string name;
  std::vector<std::filesystem::path> files;
};

/// Every file of `placements` with every file of `axis`, on top of `base`, as launch/grid.sh combines them.
inline std::vector<GridCell> grid_cells(const std::string& study, const std::string& base,
                                        const std::string& axis) {
  const std::filesystem::path folder = configs_folder() / "studies" / study;
  std::vector<GridCell> cells;
  for (const auto& placement : toml_files(folder / "placements")) {
    for (const auto& other : toml_files(folder / axis)) {
      cells.push_back({study + "_" + base + "_" + placement.stem().string() + "_" + other.stem().string(),
                       {folder / (base + ".toml"), placement, other}});
    }
  }
  for (const auto& baseline : toml_files(folder / "baselines")) {
    cells.push_back(
        {study + "_" + base + "_" + baseline.stem().string(), {folder / (base + ".toml"), baseline}});
  }
  return cells;
}

inline std::vector<GridCell> joined(std::vector<GridCell> first, const std::vector<GridCell>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// Grids that run on a laptop, and the same at the size of GPT-2 XL.
inline std::vector<GridCell> small_cells() {
  return joined(grid_cells("kan", "base", "steps"), grid_cells("prores", "base", "schedules"));
}
inline std::vector<GridCell> gpt2_xl_cells() {
  return joined(grid_cells("kan", "gpt2-xl", "steps"), grid_cells("prores", "gpt2-xl", "schedules-gpt2-xl"));
}

/// A name of letters, digits and _.
inline std::string test_name(std::string name) {
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

}  // namespace plumb::test
