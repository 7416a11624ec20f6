#include "sweep/plan.h"

#include <algorithm>
#include <set>
#include <span>

#include "config/dump.h"
#include "config/override.h"
#include "config/toml_reader.h"
#include "core/file.h"

namespace plumb {
namespace {

/// A slip such as a seed axis of a million must not fill the memory.
constexpr std::size_t kMostCells = 100'000;

/// A cell before it is loaded: one choice per axis, or none.
struct Draft {
  std::vector<const SweepChoice*> choices;
  const SweepExtraCell* extra = nullptr;
};

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// The product of the axes that `is_taken` names; the first axis varies slowest.
template <class IsTaken>
std::vector<Draft> product(const SweepAxes& axes, const SweepExtraCell* extra, const IsTaken& is_taken,
                           const std::string& file) {
  std::vector<Draft> drafts = {{{}, extra}};
  for (const SweepAxis& axis : axes.axes) {
    std::vector<Draft> longer;
    for (const Draft& draft : drafts) {
      if (!is_taken(axis)) {
        longer.push_back(draft);
        longer.back().choices.push_back(nullptr);
        continue;
      }
      for (const SweepChoice& choice : axis.choices) {
        longer.push_back(draft);
        longer.back().choices.push_back(&choice);
      }
      if (longer.size() > kMostCells) fail_input("{}: [sweep] has more than {} cells", file, kMostCells);
    }
    drafts = std::move(longer);
  }
  return drafts;
}

std::vector<Draft> drafts_of(const SweepAxes& axes, const std::string& file) {
  std::vector<Draft> drafts;
  if (!axes.axes.empty())
    drafts = product(
        axes, nullptr, [](const SweepAxis&) { return true; }, file);
  for (const SweepExtraCell& cell : axes.extra) {
    const auto more = product(
        axes, &cell, [&](const SweepAxis& axis) { return has(cell.over, axis.name); }, file);
    drafts.insert(drafts.end(), more.begin(), more.end());
  }
  return drafts;
}

/// One setting as a source whose messages name the line of the sweep's file.
ConfigSource source_of(const SweepSetting& setting, const std::string& name) {
  const auto lines_above = static_cast<std::size_t>(std::max<std::int64_t>(setting.line - 1, 0));
  return {name, std::string(lines_above, '\n') + setting.key + " = " + setting.value + "\n"};
}

SweepCell make_cell(const Draft& draft, const ConfigSource& base, const std::vector<std::string>& overrides,
                    const SweepPlan& plan, const PresetProvider& presets) {
  SweepCell cell;
  const auto append = [&](const SweepChoice& choice) {
    cell.name += (cell.name.empty() ? "" : "_") + choice.label;
    cell.settings.insert(cell.settings.end(), choice.settings.begin(), choice.settings.end());
  };
  if (draft.extra != nullptr) {
    cell.extra = draft.extra->choice.value;
    append(draft.extra->choice);
  }
  for (const SweepChoice* choice : draft.choices) {
    cell.values.push_back(choice == nullptr ? "" : choice->value);
    if (choice != nullptr) append(*choice);
  }
  cell.run = plan.folder / cell.name;
  cell.file = plan.cells_folder() / (cell.name + ".toml");
  std::vector<ConfigSource> sources = {base};
  for (const SweepSetting& setting : cell.settings) sources.push_back(source_of(setting, base.name));
  sources.push_back(
      {"plumb sweep", fmt::format("run.dir = {}\nrun.name = {}\n", toml_text({cell.run.string(), 0}),
                                  toml_text({cell.name, 0}))});
  cell.loaded = load_config(sources, overrides, presets);
  return cell;
}

void check_overrides(const std::vector<std::string>& overrides, const SweepCell& cell) {
  for (const std::string& assignment : overrides) {
    std::string key = assignment.substr(0, assignment.find('='));
    key.erase(std::remove(key.begin(), key.end(), ' '), key.end());
    if (keys_overlap(key, "run.dir") || keys_overlap(key, "run.name"))
      fail_input("--set {}: the sweep itself sets it; --output says where its runs go", assignment);
    for (const SweepSetting& setting : cell.settings) {
      if (keys_overlap(key, setting.key))
        fail_input("--set {}: an axis of the sweep sets {}", assignment, setting.key);
    }
  }
}

void check_names(const SweepPlan& plan) {
  std::set<std::string> names(std::begin(kSweepOwnNames), std::end(kSweepOwnNames));
  for (const SweepCell& cell : plan.cells) {
    if (cell.name.empty() || cell.name.front() == '.')
      fail_input("{}: '{}' cannot name a run's folder; rename a choice", plan.source, cell.name);
    if (!names.insert(cell.name).second) {
      fail_input("{}: two things would be called '{}' in {}; rename a choice", plan.source, cell.name,
                 plan.folder.string());
    }
  }
}

}  // namespace

std::string SweepCell::place(std::size_t axis) const {
  if (!values[axis].empty()) return values[axis];
  return extra.empty() ? "-" : extra;
}

SweepPlan make_sweep_plan(ConfigSource source, const std::vector<std::string>& overrides,
                          const std::filesystem::path& folder, const PresetProvider& presets) {
  const SweepAxes axes = read_sweep_axes(source);
  source.left_out = "sweep";
  SweepPlan plan{.source = source.name, .folder = folder, .axes = axes.axes, .cells = {}};
  for (const Draft& draft : drafts_of(axes, source.name)) {
    plan.cells.push_back(make_cell(draft, source, overrides, plan, presets));
    check_overrides(overrides, plan.cells.back());
  }
  check_names(plan);
  return plan;
}

void write_cell_files(const SweepPlan& plan) {
  create_folders(plan.cells_folder());
  for (const SweepCell& cell : plan.cells) {
    const std::string text = dump_config(cell.loaded);
    write_whole_file(cell.file, {std::as_bytes(std::span(text))});
  }
}

}  // namespace plumb
