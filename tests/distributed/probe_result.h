// What the probe program wrote, and how far two of its files are apart.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace plumb::distributed {

enum class When { First, Later };

class ProbeResult {
 public:
  ProbeResult(const std::filesystem::path& file, std::vector<double> losses)
      : file_(file), losses_(std::move(losses)) {}

  /// Of every step.
  const std::vector<double>& losses() const { return losses_; }
  /// Names of the trainable tensors.
  std::vector<std::string> tensors() const;
  /// Reduced gradient of the first step, or of a later one (the fifth).
  std::vector<double> gradient(const std::string& tensor, When when = When::First) const;
  int bucket(const std::string& tensor) const;
  int buckets() const;
  /// Of each rank's parameters after the last step.
  std::vector<std::int64_t> hashes() const;

 private:
  SafetensorsFile file_;
  std::vector<double> losses_;
};

/// By tensor: |g - g*| / max(|g*|, 1e-4 |G*|) in Frobenius norms, g* of the reference and G* its whole
/// gradient.
std::map<std::string, double> gradient_distances(const ProbeResult& result, const ProbeResult& reference,
                                                 When when = When::First);
/// The largest of them; NaN when there is a NaN.
double gradient_distance(const ProbeResult& result, const ProbeResult& reference, When when = When::First);

/// Runs the probe with `settings` (key=value) in folder/<name>; fails the test when it does not return 0.
ProbeResult run_probe(const std::filesystem::path& folder, const std::string& name, int ranks,
                      const std::vector<std::string>& settings, int dropped_bucket = -1);

}  // namespace plumb::distributed
