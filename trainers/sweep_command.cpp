// plumb sweep: trains the cells of a [sweep], one after the other or some at a time, and tells what came out.
#include <fmt/format.h>

#include <filesystem>
#include <span>
#include <sstream>

#include "commands.h"
#include "core/error.h"
#include "core/file.h"
#include "core/log.h"
#include "report/report_page.h"
#include "session.h"
#include "sweep/plan.h"
#include "sweep/runner.h"
#include "sweep/summary.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

fs::path folder_of(const SweepOptions& options) {
  return options.output.empty() ? fs::path("runs") / fs::path(options.config).stem()
                                : fs::path(options.output);
}

void write_json(const SweepPlan& plan, const SweepRunner& runner) {
  const std::string text =
      sweep_json(plan, runner.outcomes(), learning_rate_sensitivities(plan, runner.progress()));
  write_whole_file(plan.folder / "sweep.json", {std::as_bytes(std::span(text))});
}

void print_tables(const SweepPlan& plan, const SweepRunner& runner) {
  const std::string sensitivity =
      sensitivity_table(plan, learning_rate_sensitivities(plan, runner.progress()));
  fmt::print("\n{}", sweep_table(plan, runner.outcomes()));
  if (!sensitivity.empty()) fmt::print("\n{}", sensitivity);
  std::fflush(stdout);
}

/// The exit status of the program with these arguments.
int run_to_end(const std::string& program, std::vector<std::string> arguments, const fs::path& output) {
  const SignalWatch watch;
  arguments.insert(arguments.begin(), program);
  const pid_t child = start_child({.arguments = std::move(arguments), .output = output, .processors = {}});
  while (true) {
    for (const ChildEnd& end : SignalWatch::ended()) {
      if (end.child == child) return end.status;
    }
    const int signal = watch.wait();
    if (signal != 0 && signal != SIGCHLD) kill(child, SIGTERM);
  }
}

/// Asks the program itself for a report of all runs that have a step; false when there was to be one and is
/// not.
bool report(const SweepPlan& plan, const SweepRunner& runner, const std::string& program) {
  try {
    vega_script();
  } catch (const InputError& error) {
    fmt::print("\nno report: {}\n", error.what());
    return true;
  }
  std::vector<std::string> arguments = {"report"};
  for (std::size_t i = 0; i < plan.cells.size(); ++i) {
    if (runner.outcomes()[i].progress.step > 0) arguments.push_back(plan.cells[i].run.string());
  }
  if (arguments.size() == 1) return true;
  const fs::path page = plan.folder / "report.html", output = plan.output_folder() / "report.txt";
  arguments.insert(arguments.end(), {"--output", page.string()});
  const int status = run_to_end(program, arguments, output);
  if (status != 0) {
    log_warning("no report: `plumb report` ended with status {}; what it printed: {}", status,
                output.string());
    return false;
  }
  fmt::print("\nreport: {}\n", page.string());
  return true;
}

int run_cells(const SweepPlan& plan, SweepRunner& runner, const std::string& program) {
  const int signal = runner.run([&] { write_json(plan, runner); });
  write_json(plan, runner);
  print_tables(plan, runner);
  if (signal != 0) {
    fmt::print("\nstopped; the same line goes on\n");
    return 128 + signal;
  }
  const bool is_reported = report(plan, runner, program);
  std::size_t finished = 0;
  for (const CellOutcome& outcome : runner.outcomes())
    finished += outcome.progress.state == CellState::Finished ? 1 : 0;
  if (finished == plan.cells.size()) return is_reported ? 0 : 1;
  log_error("{} of {} cells are not finished; the same line tries them again", plan.cells.size() - finished,
            plan.cells.size());
  return 1;
}

}  // namespace

int run_sweep(const SweepOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb sweep")) return 2;
  const PresetProvider presets = placement_presets();
  const SweepPlan plan =
      make_sweep_plan(read_sources({options.config}).front(), options.overrides, folder_of(options), presets);
  const std::string program = fs::read_symlink("/proc/self/exe").string();
  const SweepOptionsOfRuns runs{
      .program = program, .launcher = words_of(options.launcher), .jobs = options.jobs};
  SweepRunner runner(plan, runs, presets);
  for (const std::string& warning : plan.cells.front().loaded.warnings) log_warning("{}", warning);
  if (options.dry_run) {
    fmt::print("{} cells in {}\n\n{}", plan.cells.size(), plan.folder.string(),
               sweep_table(plan, runner.outcomes()));
    return 0;
  }
  write_cell_files(plan);
  create_folders(plan.output_folder());
  write_json(plan, runner);
  if (options.slurm) {
    fmt::print("{}", slurm_script(plan));
    return 0;
  }
  return run_cells(plan, runner, program);
}

}  // namespace plumb
