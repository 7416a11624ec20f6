// Statistic: one row of the table of all statistics (statistics_table.h). Log, docs/metrics.md, `plumb
// metrics` and whoever reads a log follow from the row.
#pragma once

#include <cstdint>
#include <string_view>

namespace plumb {

class StepSources;

/// What the values of a field belong to, and with it how many there are.
enum class Probe {
  Text,         ///< no number: names, kinds
  Step,         ///< 1: the step
  Activations,  ///< K+1 of the stream, K of the branches; the path has "{stream,branch}"
  Stream,       ///< K+1 of the stream
  Sublayer,     ///< K; absent where the sublayer is of another kind
  Norm,         ///< N norms; absent where one has no such parameter
  Tensor,       ///< P trainable tensors
  Rank,         ///< R ranks
};

/// How a value is written.
enum class Form { Number, Integer, Flag };

/// Value of entry `index` of a field, alike on every rank. Of Probe::Activations the index is that of the
/// probe: stream 0..K, then branch K+1..2K.
using Formula = double (*)(const StepSources& sources, std::int64_t index);

struct Statistic {
  std::string_view file;        ///< "metrics.jsonl", ...: log_file
  std::string_view path;        ///< in the JSON record, levels joined by dots; {a,b} = two fields
  std::string_view definition;  ///< in words, with the formula
  std::string_view unit;
  Probe probe;
  std::string_view over_rows;   ///< how it comes from rows, entries or targets: "sum", "max", ...
  std::string_view over_ranks;  ///< over which ranks, and how
  std::string_view source;      ///< where the definition comes from
  Formula formula = nullptr;    ///< null: text, or a number that the trainer sets in the record

  // What most rows have no need of.
  std::string_view key = "";  ///< in [statistics], turns it on or off; empty = always there
  Form form = Form::Number;
  int least_ranks = 1;          ///< left out with fewer
  bool detailed = false;        ///< taken at detailed records only
  std::string_view shape = "";  ///< of Probe::Text; otherwise the probe gives it

  constexpr Statistic with_key(std::string_view name) const {
    Statistic row = *this;
    row.key = name;
    return row;
  }
  constexpr Statistic as(Form written) const {
    Statistic row = *this;
    row.form = written;
    return row;
  }
  constexpr Statistic at_detailed_records() const {
    Statistic row = *this;
    row.detailed = true;
    return row;
  }
  constexpr Statistic of_several_ranks() const {
    Statistic row = *this;
    row.least_ranks = 2;
    return row;
  }
};

/// A row that is no number.
constexpr Statistic text_row(std::string_view file, std::string_view path, std::string_view definition,
                             std::string_view unit, std::string_view shape, std::string_view ranks) {
  Statistic row{file, path, definition, unit, Probe::Text, "-", ranks, "defined here"};
  row.shape = shape;
  return row;
}

}  // namespace plumb
