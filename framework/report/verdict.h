// The verdict on a run: thresholds, and the reasons in words. docs/report.md lists the thresholds.
#pragma once

#include "report/run_summary.h"

namespace plumb {

/// Sets verdict and reasons of a summary that is otherwise complete.
void judge(const RunData& run, RunSummary& summary);

/// What makes a run borderline or pathological, in words, with the thresholds.
std::string verdict_rules(VerdictLevel level);

}  // namespace plumb
