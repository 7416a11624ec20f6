// The table that definitions (definitions.h) are written into, by the file and the path of a statistic.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "definitions.h"

namespace plumb::test {

double mean_of(const std::vector<double>& values);
double variance_of(const std::vector<double>& values);
double largest_of(const std::vector<double>& values);
double smallest_of(const std::vector<double>& values);

class DefinitionTable {
 public:
  using Values = std::vector<double>;
  using OfRows = std::function<double(const Matrix&)>;
  /// `tensor` -1: of the whole gradient.
  using OfTensor = std::function<double(const StepTensors&, std::ptrdiff_t tensor)>;

  void metric(const std::string& name, std::function<double(const StepTensors&)> value,
              std::function<double(const StepTensors&)> scale = {});
  /// A metric of the whole gradient.
  void of_gradient(const std::string& name, const OfTensor& value, const OfTensor& scale = {});
  void tensors(const std::string& name, const OfTensor& value, const OfTensor& scale = {});
  /// Of stream and branch over all rows of all ranks.
  void profile(const std::string& name, const OfRows& of_rows);
  void gradient_profile(const std::string& name, const OfRows& of_rows);
  /// The smallest and the largest of what each rank has on its own rows.
  void extremes(const std::string& name, const OfRows& of_rows);
  void ranks(const std::string& name, std::function<double(const RankTensors&)> value);
  void all_ranks(const std::string& name, std::function<Values(const StepTensors&)> values);
  void stability(const std::string& name, std::function<Values(const StepTensors&)> values);

  std::map<std::string, Definition> take() { return std::move(table_); }

 private:
  using Listing = std::function<Values(const StepTensors&)>;
  void add(const std::string& name, Listing values, Listing scales = {});
  void activations(const std::string& pattern, std::vector<Matrix> RankTensors::*stream,
                   std::vector<Matrix> RankTensors::*branch, const OfRows& of_rows);

  std::map<std::string, Definition> table_;
};

}  // namespace plumb::test
