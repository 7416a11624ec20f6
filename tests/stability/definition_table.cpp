#include "definition_table.h"

#include <algorithm>

#include "core/error.h"

namespace plumb::test {

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double variance_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return sum / static_cast<double>(values.size());
}

double largest_of(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}
double smallest_of(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}

void DefinitionTable::metric(const std::string& name, std::function<double(const StepTensors&)> value,
                             std::function<double(const StepTensors&)> scale) {
  add(
      "metrics.jsonl: " + name, [value](const StepTensors& step) { return Values{value(step)}; },
      scale ? Listing([scale](const StepTensors& step) { return Values{scale(step)}; }) : Listing());
}

void DefinitionTable::of_gradient(const std::string& name, const OfTensor& value, const OfTensor& scale) {
  const auto whole = [](const OfTensor& f) { return [f](const StepTensors& step) { return f(step, -1); }; };
  metric(name, whole(value), scale ? whole(scale) : std::function<double(const StepTensors&)>());
}

void DefinitionTable::tensors(const std::string& name, const OfTensor& value, const OfTensor& scale) {
  const auto each = [](const OfTensor& f) {
    return [f](const StepTensors& step) {
      Values values;
      for (std::size_t i = 0; i < step.shared.names.size(); ++i)
        values.push_back(f(step, static_cast<std::ptrdiff_t>(i)));
      return values;
    };
  };
  add("stability.jsonl: tensors." + name, each(value), scale ? Listing(each(scale)) : Listing());
}

void DefinitionTable::profile(const std::string& name, const OfRows& of_rows) {
  activations("profiles.{}." + name, &RankTensors::stream, &RankTensors::branch, of_rows);
}

void DefinitionTable::gradient_profile(const std::string& name, const OfRows& of_rows) {
  activations("profiles.{}." + name, &RankTensors::stream_gradient, &RankTensors::branch_gradient, of_rows);
}

void DefinitionTable::extremes(const std::string& name, const OfRows& of_rows) {
  for (const bool largest : {false, true}) {
    for (const bool of_stream : {false, true}) {
      const auto list = of_stream ? &RankTensors::stream : &RankTensors::branch;
      add(std::string("stability.jsonl: profiles.") + (of_stream ? "stream" : "branch") +
              (largest ? ".interval_max." : ".interval_min.") + name,
          [list, of_rows, largest](const StepTensors& step) {
            Values values;
            for (std::size_t k = 0; k < (step.ranks[0].*list).size(); ++k) {
              Values each;
              for (const RankTensors& rank : step.ranks) each.push_back(of_rows((rank.*list)[k]));
              values.push_back(largest ? largest_of(each) : smallest_of(each));
            }
            return values;
          });
    }
  }
}

void DefinitionTable::ranks(const std::string& name, std::function<double(const RankTensors&)> value) {
  add("ranks.jsonl: " + name, [value](const StepTensors& step) {
    Values values;
    for (const RankTensors& rank : step.ranks) values.push_back(value(rank));
    return values;
  });
}

void DefinitionTable::all_ranks(const std::string& name, std::function<Values(const StepTensors&)> values) {
  add("ranks.jsonl: " + name, std::move(values));
}

void DefinitionTable::stability(const std::string& name, std::function<Values(const StepTensors&)> values) {
  add("stability.jsonl: " + name, std::move(values));
}

void DefinitionTable::add(const std::string& name, Listing values, Listing scales) {
  PLUMB_CHECK(table_.emplace(name, Definition{std::move(values), std::move(scales)}).second,
              "{} is defined twice", name);
}

void DefinitionTable::activations(const std::string& pattern, std::vector<Matrix> RankTensors::*stream,
                                  std::vector<Matrix> RankTensors::*branch, const OfRows& of_rows) {
  for (const auto list : {stream, branch}) {
    std::string path = pattern;
    path.replace(path.find("{}"), 2, list == stream ? "stream" : "branch");
    add("stability.jsonl: " + path, [list, of_rows](const StepTensors& step) {
      Values values;
      for (std::size_t k = 0; k < (step.ranks[0].*list).size(); ++k)
        values.push_back(of_rows(all_rows(step, list, k)));
      return values;
    });
  }
}

}  // namespace plumb::test
