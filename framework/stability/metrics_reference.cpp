#include "stability/metrics_reference.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "stability/statistics_settings.h"
#include "stability/statistics_table.h"

namespace plumb {
namespace {

constexpr std::string_view kIntroduction =
    R"(# Metrics reference

Generated from the table in `framework/stability/table_*.cpp`; do not edit. Every field that a run writes under
`runs/<name>/` is here.

Each file holds one JSON record per line, in the order of steps. Symbols: K sublayers (k = 0..K-1), C = width,
M = (sequence, position) rows, P trainable tensors, N norms, R ranks. *Stream* entry k is the residual stream before
sublayer k, entry K the stream after the last one; *branch* entry k is what sublayer k adds to the stream, before
its residual step. Where a placement has several streams ([design/streams.md](design/streams.md)), the stream has a row
for each of them at every position. `mean_abs` is (1/n) sum |x_i|, `row_norm` the 2-norm of one row, Frobenius norm the 2-norm of a
whole tensor.

`{stream,branch}` in a name stands for two fields, whose shapes are (K+1) for the stream and (K) for the branch. Levels
of nested objects are joined by dots. Gradients are of the mean loss over the targets of the global batch.

The columns *rows* and *ranks* say how a value comes from rows (or entries, or targets), and over which ranks. A value
that does not exist is null, or its field is left out where nothing of it exists: the spread over ranks of one rank, a
statistic that a step does not take. Times (`step_seconds`, `wait_seconds`, `preempted_seconds`, `tokens_per_s`,
`time`) differ from run to run; everything else has the same bits when configuration, seed, number of ranks, threads,
CPU features and build are the same.

The default set is what has no *key*, and what has one that is *on*; keys are those of `[statistics]` in
[config.md](config.md#statistics). *Detailed*: not in every record of stability.jsonl but in those of step 1 and of
every (`log.stability_every` x `statistics.detail_every`)-th step.

- `metrics.jsonl`: every step.
- `stability.jsonl`: a first line with names, then every `log.stability_every`-th step.
- `ranks.jsonl`: every `log.ranks_every`-th step.
- `events.jsonl`: whenever something happens.
)";

/// A bar would end the cell.
std::string cell(std::string_view text) {
  std::string out;
  for (const char character : text) {
    if (character == '|') out += '\\';
    out += character;
  }
  return out;
}

/// What turns it on or off, and that it is not in every record.
std::string key_text(const Statistic& statistic) {
  if (statistic.key.empty()) return "";
  return fmt::format("`{}`, {}{}", statistic.key, is_on_by_default(statistic.key) ? "on" : "off",
                     statistic.detailed ? ", detailed" : "");
}

}  // namespace

std::vector<std::string> dimensions(const Statistic& statistic, std::string_view path) {
  switch (statistic.probe) {
    case Probe::Activations:
      return {path.find("branch") == std::string_view::npos ? "stream" : "sublayer"};
    case Probe::Stream:
      return {"stream"};
    case Probe::Sublayer:
      return {"sublayer"};
    case Probe::Norm:
      return {"norm"};
    case Probe::Tensor:
      return {"tensor"};
    case Probe::Rank:
      return {"rank"};
    case Probe::Text:
    case Probe::Step:
      return {};
  }
  fail("{} is of an unknown probe", statistic.path);
}

namespace {

const char* form_name(const Statistic& statistic) {
  if (statistic.probe == Probe::Text) return "text";
  switch (statistic.form) {
    case Form::Number:
      return "number";
    case Form::Integer:
      return "integer";
    case Form::Flag:
      return "flag";
  }
  fail("{} is of an unknown form", statistic.path);
}

}  // namespace

std::string_view shape_text(const Statistic& statistic) {
  switch (statistic.probe) {
    case Probe::Text:
      return statistic.shape;
    case Probe::Step:
      return "scalar";
    case Probe::Activations:
      return "(K+1), (K)";
    case Probe::Stream:
      return "(K+1)";
    case Probe::Sublayer:
      return "(K)";
    case Probe::Norm:
      return "(N)";
    case Probe::Tensor:
      return "(P)";
    case Probe::Rank:
      return "(R)";
  }
  fail("{} is of an unknown probe", statistic.path);
}

std::string metrics_reference_markdown() {
  std::string text(kIntroduction);
  std::string_view file;
  for (const Statistic& row : statistics()) {
    if (row.file != file) {
      file = row.file;
      text += fmt::format(
          "\n## {}\n\n| field | definition | unit | shape | rows | ranks | key | source |\n"
          "|---|---|---|---|---|---|---|---|\n",
          file);
    }
    text += fmt::format("| `{}` | {} | {} | {} | {} | {} | {} | {} |\n", row.path, cell(row.definition),
                        row.unit, shape_text(row), row.over_rows, row.over_ranks, key_text(row), row.source);
  }
  return text;
}

std::string metrics_reference_json() {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Statistic& row : statistics()) {
    const std::vector<std::string> paths = expand_path(row.path);
    for (std::size_t i = 0; i < paths.size(); ++i) {
      list.push_back({{"file", row.file},
                      {"path", paths[i]},
                      {"definition", row.definition},
                      {"unit", row.unit},
                      {"form", form_name(row)},
                      {"dimensions", dimensions(row, paths[i])},
                      {"rows", row.over_rows},
                      {"ranks", row.over_ranks},
                      {"key", row.key.empty() ? "" : "statistics." + std::string(row.key)},
                      {"default", is_on_by_default(row.key)},
                      {"detailed", row.detailed},
                      {"source", row.source}});
    }
  }
  return list.dump(1) + "\n";
}

}  // namespace plumb
