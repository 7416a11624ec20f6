// plumb report: reads run folders and writes one page. The work is in framework/report.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <filesystem>
#include <span>
#include <vector>

#include "commands.h"
#include "core/file.h"
#include "report/report_document.h"
#include "report/report_page.h"
#include "report/run_data.h"
#include "session.h"
#include "version.h"

namespace plumb {
namespace {

std::filesystem::path output_file(const ReportCommandOptions& options) {
  if (!options.output.empty()) return options.output;
  if (options.runs.size() > 1) return "report.html";
  return std::filesystem::path(options.runs.front()) / "report.html";
}

std::string page_title(const std::vector<RunData>& runs) {
  if (runs.size() == 1) return runs.front().name;
  return fmt::format("{} runs compared", runs.size());
}

}  // namespace

int run_report(const ReportCommandOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb report")) return 2;
  vega_script();  // where it is missing that is said before minutes of reading
  std::vector<RunData> runs;
  for (const std::string& run : options.runs) runs.push_back(read_run(run));
  const std::string title = page_title(runs);
  const std::string document = report_document(
      std::move(runs), {.generator = fmt::format("plumb {} ({})", version_number(), git_revision()),
                        .created = fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::time(nullptr)))});
  const std::string page = report_page(title, document);
  const std::filesystem::path file = output_file(options);
  write_whole_file(file, {std::as_bytes(std::span(page))});
  fmt::print("report of {} run(s) written to {} ({:.1f} MB); open it in a browser\n", options.runs.size(),
             file.string(), static_cast<double>(page.size()) / 1e6);
  return 0;
}

}  // namespace plumb
