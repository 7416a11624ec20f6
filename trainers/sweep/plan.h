// SweepPlan: every run of a sweep with its whole configuration.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "config/load.h"
#include "core/error.h"
#include "sweep/axes.h"

namespace plumb {

struct SweepCell {
  std::string name;                 ///< its folder; the labels of its choices joined by '_'
  std::vector<std::string> values;  ///< one per axis of the plan; empty where the cell is not on the axis
  std::string extra;                ///< name of [sweep.cell.NAME], or empty
  std::vector<SweepSetting> settings;
  LoadedConfig loaded;
  std::filesystem::path run;   ///< its run.dir
  std::filesystem::path file;  ///< where its configuration is written

  /// Value on the axis, the name of the extra cell, or "-".
  std::string place(std::size_t axis) const;
};

struct SweepPlan {
  std::string source;            ///< the file that it was read from
  std::filesystem::path folder;  ///< <folder>/<cell>: the runs; cells/, output/, sweep.json, report.html
  std::vector<SweepAxis> axes;
  std::vector<SweepCell> cells;

  std::filesystem::path cells_folder() const { return folder / "cells"; }
  std::filesystem::path output_folder() const { return folder / "output"; }
  std::filesystem::path output_of(const SweepCell& cell) const {
    return output_folder() / (cell.name + ".txt");
  }
};

/// Names that no cell may have, since the sweep's own files are called so.
inline constexpr const char* kSweepOwnNames[] = {"cells", "output", "sweep.json", "report.html"};

/// Expands [sweep] of `source` and loads every cell, so that nothing is started before all are known to be
/// valid. `overrides` (key=value) are of all cells. InputError as read_sweep_axes and load_config give, and
/// where an override sets what an axis sets.
SweepPlan make_sweep_plan(ConfigSource source, const std::vector<std::string>& overrides,
                          const std::filesystem::path& folder, const PresetProvider& presets);

/// Writes the configuration of every cell, whole and with origins, so that `plumb train <file>` runs the
/// cell.
void write_cell_files(const SweepPlan& plan);

}  // namespace plumb
