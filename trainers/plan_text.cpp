// plumb plan: its tables.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "plan_report.h"

namespace plumb {
namespace {

constexpr int kNameWidth = 36, kColumn = 11;

std::string megabytes(std::size_t bytes) { return fmt::format("{:.2f}", static_cast<double>(bytes) / 1e6); }

using Cell = std::function<std::string(const PlanRow&)>;

std::string line(const std::string& name, const std::vector<PlanRow>& rows, const Cell& cell) {
  std::string text = fmt::format("{:<{}}", name, kNameWidth);
  for (const PlanRow& row : rows) text += fmt::format("{:>{}}", cell(row), kColumn);
  return text + "\n";
}

/// Names of the items of all rows, in the order of their first appearance.
std::vector<std::string> item_names(
    const std::vector<PlanRow>& rows,
    const std::function<const std::vector<MemoryShare>&(const PlanRow&)>& list) {
  std::vector<std::string> names;
  for (const PlanRow& row : rows) {
    for (const MemoryShare& share : list(row)) {
      if (std::find(names.begin(), names.end(), share.name) == names.end()) names.push_back(share.name);
    }
  }
  return names;
}

std::string item(const std::vector<MemoryShare>& shares, const std::string& name) {
  for (const MemoryShare& share : shares)
    if (share.name == name) return megabytes(share.bytes);
  return "-";
}

std::string memory_table(const PlanReport& report) {
  const std::vector<PlanRow>& rows = report.rows;
  const auto steps = [](const PlanRow& row) -> const std::vector<MemoryShare>& { return row.memory.steps; };
  const auto peaks = [](const PlanRow& row) -> const std::vector<MemoryShare>& { return row.memory.peaks; };
  std::string text = line("memory of rank 0, MB (1e6 bytes)", rows, [](const PlanRow& row) {
    return fmt::format("{} rank{}", row.ranks, row.ranks > 1 ? "s" : "");
  });
  for (const std::string& name : item_names(rows, steps))
    text += line("  " + name, rows, [&](const PlanRow& row) { return item(row.memory.steps, name); });
  text += line("in every step", rows, [](const PlanRow& row) { return megabytes(row.memory.step_bytes()); });
  if (rows.front().memory.on_device)
    text += line("  of it on the device", rows,
                 [](const PlanRow& row) { return megabytes(row.memory.device_bytes()); });
  for (const std::string& name : item_names(rows, peaks))
    text += line("  while " + name, rows, [&](const PlanRow& row) { return item(row.memory.peaks, name); });
  text += line("at most", rows, [](const PlanRow& row) { return megabytes(row.memory.peak_bytes()); });
  text += line("process before it builds (measured)", rows,
               [&](const PlanRow&) { return megabytes(report.process_base); });
  return text;
}

std::string log_table(const PlanReport& report) {
  return line("log of rank 0, kB a step", report.rows,
              [](const PlanRow& row) { return fmt::format("{:.2f}", row.log.sum() / 1e3); });
}

std::string milliseconds(double seconds) { return fmt::format("{:.2f}", 1e3 * seconds); }

std::string time_table(const PlanReport& report) {
  std::string text = fmt::format("computing of a rank: {} ms a step ({}), varying by {:.1f} %\n",
                                 milliseconds(report.computing.seconds), report.computing.source,
                                 100 * report.computing.variation);
  text += fmt::format("{:>6}{:>7}{:>12}{:>14}{:>12}{:>12}{:>12}  {}\n", "ranks", "hosts", "step ms",
                      "tokens/s", "efficiency", "exposed ms", "waiting ms", "how");
  for (const PlanRow& row : report.rows) {
    text += fmt::format("{:>6}{:>7}", row.ranks, row.hosts);
    if (!row.step) {
      text += fmt::format("  {}\n", row.no_step);
      continue;
    }
    text += fmt::format("{:>12}{:>14.0f}{:>12.3f}{:>12}{:>12}  {}{}\n", milliseconds(row.step->seconds),
                        row.tokens_per_second, row.efficiency, milliseconds(row.step->exposed),
                        milliseconds(row.step->waiting), row.extrapolated ? "extrapolated" : "calibrated",
                        row.algorithm.empty() ? "" : "; " + row.algorithm);
  }
  return text;
}

}  // namespace

std::string plan_text(const PlanReport& report) {
  std::string text = fmt::format(
      "{:.2f} M parameters on {}; a rank runs {} sequence(s) of {} tokens at once on {} thread(s); {} "
      "rank(s) a "
      "host\n",
      static_cast<double>(report.parameters) / 1e6, report.device, report.micro_batch, report.sequence_length,
      report.threads, report.ranks_per_host);
  text += fmt::format("{:.3g} GFLOP and {:.2f} MB of gradients a step of a rank\n\n", report.flops / 1e9,
                      report.gradient_bytes / 1e6);
  text += memory_table(report) + log_table(report);
  return report.fabric ? text + "\n" + time_table(report) : text;
}

}  // namespace plumb
