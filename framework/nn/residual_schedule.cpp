#include "nn/residual_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "nn/rows.h"

namespace plumb {
namespace {

/// How far along the depth a unit is: 0 at the first, 1 at the last.
double height(const Ordinal& unit) { return unit.count > 1 ? (unit.number - 1) / (unit.count - 1) : 0; }

double power_of_base(const KnobConfig& knob, const Ordinal& unit, double exponent) {
  return std::pow(unit.count / knob.depth_base, exponent);
}

/// t / span within [0, 1].
double ramp(double step, double span) { return std::clamp(step / span, 0.0, 1.0); }

double ramp_of(const KnobConfig& knob) { return static_cast<double>(knob.ramp_steps); }

double stagewise(const KnobConfig& knob, const Ordinal& unit, double step, double start) {
  const double span = ramp_of(knob);
  return start + (1 - start) * ramp(step - span * (unit.number - 1), span);
}

constexpr std::string_view kProRes = "ProRes, arXiv 2603.05369";

}  // namespace

const std::vector<DepthSchedule>& depth_schedules() {
  static const std::vector<DepthSchedule> rows = {
      {"constant", "1", "-", "definition", [](const KnobConfig&, const Ordinal&) { return 1.0; }},
      {"1/L", "1 / L", "arXiv 2510.09904 (T = 1)", "read in summaries of the paper",
       [](const KnobConfig&, const Ordinal& unit) { return 1 / unit.count; }},
      {"1/sqrt(L)", "1 / sqrt(L)", "ProRes baseline fix-sqrtL, arXiv 2603.05369", "read in the authors' code",
       [](const KnobConfig&, const Ordinal& unit) { return 1 / std::sqrt(unit.count); }},
      {"1/l", "1 / l", "-", "definition",
       [](const KnobConfig&, const Ordinal& unit) { return 1 / unit.number; }},
      {"1/sqrt(l)", "1 / sqrt(l)", "LayerNorm Scaling, arXiv 2502.05795; ProRes baseline fix-sqrtl",
       "read in the authors' code",
       [](const KnobConfig&, const Ordinal& unit) { return 1 / std::sqrt(unit.number); }},
      {"linear", "1 + (end - 1) (l - 1) / (L - 1)", "-", "definition",
       [](const KnobConfig& knob, const Ordinal& unit) { return 1 + (knob.depth_end - 1) * height(unit); }},
      {"cosine", "end + (1 - end) (1 + cos(pi (l - 1) / (L - 1))) / 2", "-", "definition",
       [](const KnobConfig& knob, const Ordinal& unit) {
         return knob.depth_end + (1 - knob.depth_end) * (1 + std::cos(std::numbers::pi * height(unit))) / 2;
       }},
      {"power", "(L / base)^exponent", "-", "definition",
       [](const KnobConfig& knob, const Ordinal& unit) {
         return power_of_base(knob, unit, knob.depth_exponent);
       }},
      {"depth-mup", "(L / base)^(-1/2)", "Depth-muP, arXiv 2310.02244",
       "read in the CompleteP code; the paper's own table was not read",
       [](const KnobConfig& knob, const Ordinal& unit) { return power_of_base(knob, unit, -0.5); }},
      {"completep", "(L / base)^exponent, exponent = -alpha", "CompleteP, arXiv 2505.01618",
       "read in the authors' code",
       [](const KnobConfig& knob, const Ordinal& unit) {
         return power_of_base(knob, unit, knob.depth_exponent);
       }},
      {"layerscale", "0.1 for L <= 18, 1e-5 for L <= 24, else 1e-6", "CaiT, arXiv 2103.17239",
       "1e-5 and 1e-6 read in the authors' code; 0.1 from memory of the paper",
       [](const KnobConfig&, const Ordinal& unit) {
         return unit.count <= 18 ? 0.1 : unit.count <= 24 ? 1e-5 : 1e-6;
       },
       true},
      {"deepscalelm-skip", "sqrt(1 - 2 / L)", "DeepScaleLM, arXiv 2403.09635",
       "constants read in the authors' code; that L counts sublayers is inferred from it",
       [](const KnobConfig&, const Ordinal& unit) { return std::sqrt(std::max(0.0, 1 - 2 / unit.count)); }},
      {"deepscalelm-branch", "sqrt(2 / L)", "DeepScaleLM, arXiv 2403.09635",
       "constants read in the authors' code; that L counts sublayers is inferred from it",
       [](const KnobConfig&, const Ordinal& unit) { return std::sqrt(std::min(1.0, 2 / unit.count)); }},
      {"sqrt(l)", "sqrt(l)", "SiameseNorm's X stream, arXiv 2602.08064", "read in the authors' code",
       [](const KnobConfig&, const Ordinal& unit) { return std::sqrt(unit.number); }},
      {"list", "list[l]", "-", "definition",
       [](const KnobConfig& knob, const Ordinal& unit) {
         PLUMB_CHECK(knob.list.size() == static_cast<std::size_t>(unit.count),
                     "schedule list has {} entries for {} units", knob.list.size(), unit.count);
         return knob.list[static_cast<std::size_t>(unit.number) - 1];
       }},
  };
  return rows;
}

const std::vector<TimeSchedule>& time_schedules() {
  static const std::vector<TimeSchedule> rows = {
      {"constant", "1", "-", "definition", [](const KnobConfig&, const Ordinal&, double) { return 1.0; }},
      {"linear", "start + (1 - start) min(t / T, 1)", "-", "definition",
       [](const KnobConfig& knob, const Ordinal&, double step) {
         return knob.time_start + (1 - knob.time_start) * ramp(step, ramp_of(knob));
       }},
      {"branchnorm", "min(t / T, 1)", "BranchNorm, arXiv 2305.02790",
       "two short notes on the paper and a footnote of ProRes agree on it; the text of the formula and its T "
       "were not found",
       [](const KnobConfig& knob, const Ordinal&, double step) { return ramp(step, ramp_of(knob)); }},
      {"prores-linear", "min(t / (T l), 1)", kProRes, "read in the paper's text and the authors' code",
       [](const KnobConfig& knob, const Ordinal& unit, double step) {
         return ramp(step, ramp_of(knob) * unit.number);
       }},
      {"prores-linear-sqrt", "sqrt(min(t / (T l), 1))", kProRes,
       "read in the paper's text and the authors' code",
       [](const KnobConfig& knob, const Ordinal& unit, double step) {
         return std::sqrt(ramp(step, ramp_of(knob) * unit.number));
       }},
      {"prores-linear-square", "min(t / (T l), 1)^2", kProRes,
       "read in the paper's text and the authors' code",
       [](const KnobConfig& knob, const Ordinal& unit, double step) {
         return std::pow(ramp(step, ramp_of(knob) * unit.number), 2);
       }},
      {"prores-equal", "min(t / T, 1)", kProRes, "read in the paper's text and the authors' code",
       [](const KnobConfig& knob, const Ordinal&, double step) { return ramp(step, ramp_of(knob)); }},
      {"prores-reverse", "min(t / (T (L - l + 1)), 1)", kProRes,
       "read in the paper's text and the authors' code",
       [](const KnobConfig& knob, const Ordinal& unit, double step) {
         return ramp(step, ramp_of(knob) * (unit.count - unit.number + 1));
       }},
      {"prores-stagewise-0", "min(max((t - T (l - 1)) / T, 0), 1)", kProRes,
       "read in the paper's text and the authors' code",
       [](const KnobConfig& knob, const Ordinal& unit, double step) {
         return stagewise(knob, unit, step, 0);
       }},
      {"prores-stagewise-1/L", "as stagewise-0, from 1 / L up to 1", kProRes,
       "read in the paper's text and the authors' code",
       [](const KnobConfig& knob, const Ordinal& unit, double step) {
         return stagewise(knob, unit, step, 1 / unit.count);
       }},
      {"prores-stagewise-1/sqrt(L)", "as stagewise-0, from 1 / sqrt(L) up to 1", kProRes,
       "read in the paper's text and the authors' code",
       [](const KnobConfig& knob, const Ordinal& unit, double step) {
         return stagewise(knob, unit, step, 1 / std::sqrt(unit.count));
       }},
      {"prores-stagewise-1/sqrt(l)", "as stagewise-0, from 1 / sqrt(l) up to 1", kProRes,
       "read in the paper's text and the authors' code",
       [](const KnobConfig& knob, const Ordinal& unit, double step) {
         return stagewise(knob, unit, step, 1 / std::sqrt(unit.number));
       }},
  };
  return rows;
}

Ordinal ordinal_of(const DepthPosition& position, bool by_block) {
  const std::int64_t index = by_block ? position.block : position.sublayer;
  return {static_cast<double>(index + 1),
          static_cast<double>(by_block ? position.blocks : position.sublayers)};
}

bool counts_blocks(const KnobConfig& knob) {
  return row_named(depth_schedules(), knob.depth, "schedule").counts_blocks || knob.depth_counts_blocks();
}

double depth_factor(const KnobConfig& knob, const DepthPosition& position) {
  const DepthSchedule& row = row_named(depth_schedules(), knob.depth, "schedule");
  return row.factor(knob, ordinal_of(position, counts_blocks(knob)));
}

double time_factor(const KnobConfig& knob, const DepthPosition& position, std::int64_t step) {
  const TimeSchedule& row = row_named(time_schedules(), knob.time, "schedule");
  return row.factor(knob, ordinal_of(position, knob.time_counts == "blocks"), static_cast<double>(step));
}

double keep_probability(const KnobConfig& knob, const DepthPosition& position) {
  if (knob.keep_depth != "linear") return knob.keep_probability;
  const double share = static_cast<double>(position.sublayer + 1) / static_cast<double>(position.sublayers);
  return 1 - share * (1 - knob.keep_probability);
}

}  // namespace plumb
