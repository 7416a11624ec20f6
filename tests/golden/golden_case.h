// One golden case: the numbers that float64 PyTorch gave (make_golden.py), and the same model run by the
// engine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/safetensors.h"
#include "config/config.h"
#include "nn/engine.h"

namespace plumb::golden {

using Values = std::vector<double>;

/// Any floating tensor on the host as doubles.
Values to_values(const Tensor& tensor);
double norm_of(const Values& values);
double distance(const Values& left, const Values& right);

/// The entries [first, last) of a gradient that are zero by analysis.
struct ZeroSpan {
  std::string name;
  std::size_t first = 0, last = 0;
};

class GoldenFile {
 public:
  explicit GoldenFile(const std::filesystem::path& path) : file_(path) {}

  const SafetensorsFile& file() const { return file_; }
  std::int64_t step() const { return std::stoll(file_.metadata().at("step")); }
  std::vector<ZeroSpan> zero_spans() const;
  /// The relative error of a tensor ("loss", "stream/0", "gradient/NAME") when PyTorch rounds every
  /// activation and its gradient to bf16, at random up or down: the upper quartile of several draws.
  std::map<std::string, double> bf16_errors() const;
  Values values(const std::string& name) const { return to_values(file_.tensor(name)); }
  /// Names after "<prefix>/", in the order of the file.
  std::vector<std::string> names(const std::string& prefix) const;

 private:
  SafetensorsFile file_;
};

/// What one forward and backward pass of the engine gave, on the host.
struct EngineResult {
  double loss = 0;
  std::vector<Values> streams, branches;
  std::map<std::string, Values> gradients;
};

/// Runs the case's configuration with the file's parameters and batch at the file's step. Fails the test when
/// the model and the file do not have the same parameters with the same shapes.
EngineResult run_engine(const Config& config, const GoldenFile& golden, Backend& backend, DType compute);

}  // namespace plumb::golden
