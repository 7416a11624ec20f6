// The table [sweep] of a configuration: what varies from run to run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/load.h"
#include "core/error.h"

namespace plumb {

/// One key of one choice.
struct SweepSetting {
  std::string key;    ///< whole: "model.residual.b.value"
  std::string value;  ///< TOML
  std::int64_t line = 0;
};

/// One place on an axis, or a cell of its own.
struct SweepChoice {
  std::string value;  ///< for tables and messages: "pre", "0.001"; never empty
  std::string label;  ///< part of the names of cells: letters, digits and . + - _ =
  std::vector<SweepSetting> settings;
};

struct SweepAxis {
  std::string name;  ///< the key, or the name in [sweep.axis]
  std::vector<SweepChoice> choices;
  std::int64_t line = 0;
};

/// A cell outside the product of the axes: [sweep.cell.NAME].
struct SweepExtraCell {
  SweepChoice choice;
  std::vector<std::string> over;  ///< axes that it is crossed with
  std::int64_t line = 0;
};

struct SweepAxes {
  std::vector<SweepAxis> axes;  ///< in the order of the file; cells differ in the last one first
  std::vector<SweepExtraCell> extra;
};

/// Reads
///   [sweep]
///   model.placement = ["pre", "post"]        an axis: any key, or table of keys, and its values
///   [sweep.axis.schedule]                    an axis of named choices that set several keys together
///   linear = {model.residual.b = {time = "linear", ramp_steps = 100}}
///   none = {}
///   [sweep.cell.deepnorm]                    a cell of its own, crossed with the axes in `over`
///   model.placement = "deepnorm"
///   over = ["training.seed"]
/// Keys are checked by who loads a cell. InputError of one line with file and line for anything else: no
/// [sweep], an axis that is no list or has no values, an unknown axis in `over` (with the nearest one), two
/// axes that set the same key, keys that the sweep itself sets (run.dir, run.name, run.overwrite).
SweepAxes read_sweep_axes(const ConfigSource& source);

/// Whether one of the keys is the other or a table that holds it.
bool keys_overlap(const std::string& x, const std::string& y);

}  // namespace plumb
