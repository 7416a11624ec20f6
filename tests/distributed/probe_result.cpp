#include "distributed/probe_result.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "distributed/launch.h"

namespace plumb::distributed {
namespace {

constexpr std::string_view kGradient = "gradient/";

double norm(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares);
}

}  // namespace

std::vector<std::string> ProbeResult::tensors() const {
  std::vector<std::string> names;
  for (const std::string& name : file_.names()) {
    if (name.starts_with(kGradient)) names.push_back(name.substr(kGradient.size()));
  }
  return names;
}

std::vector<double> ProbeResult::gradient(const std::string& tensor, When when) const {
  const Tensor stored = file_.tensor(std::string(when == When::First ? kGradient : "later/") + tensor);
  const auto count = static_cast<std::size_t>(stored.elements());
  if (stored.dtype == DType::Float64) return {stored.as<double>(), stored.as<double>() + count};
  return {stored.as<float>(), stored.as<float>() + count};
}

int ProbeResult::bucket(const std::string& tensor) const {
  return static_cast<int>(*file_.tensor("bucket/" + tensor).as<std::int64_t>());
}

int ProbeResult::buckets() const {
  int last = -1;
  for (const std::string& name : tensors()) last = std::max(last, bucket(name));
  return last + 1;
}

std::vector<std::int64_t> ProbeResult::hashes() const {
  const Tensor stored = file_.tensor("hashes");
  return {stored.as<std::int64_t>(), stored.as<std::int64_t>() + stored.elements()};
}

std::map<std::string, double> gradient_distances(const ProbeResult& result, const ProbeResult& reference,
                                                 When when) {
  double whole = 0;
  for (const std::string& name : reference.tensors())
    whole = std::hypot(whole, norm(reference.gradient(name, when)));
  std::map<std::string, double> distances;
  for (const std::string& name : reference.tensors()) {
    const std::vector<double> expected = reference.gradient(name, when);
    std::vector<double> difference = result.gradient(name, when);
    EXPECT_EQ(difference.size(), expected.size()) << name;
    for (std::size_t i = 0; i < expected.size(); ++i) difference[i] -= expected[i];
    distances[name] = norm(difference) / std::max(norm(expected), 1e-4 * whole);
  }
  EXPECT_FALSE(distances.empty());
  EXPECT_EQ(result.tensors().size(), distances.size());
  return distances;
}

double gradient_distance(const ProbeResult& result, const ProbeResult& reference, When when) {
  double worst = 0;
  for (const auto& [name, distance] : gradient_distances(result, reference, when)) {
    if (!(distance <= worst)) worst = distance;
  }
  return worst;
}

ProbeResult run_probe(const std::filesystem::path& folder, const std::string& name, int ranks,
                      const std::vector<std::string>& settings, int dropped_bucket) {
  const std::filesystem::path output = folder / (name + ".safetensors"), run = folder / name;
  std::string command = fmt::format("{} {} {} run.dir={}", PLUMB_DISTRIBUTED_PROBE,
                                    write_config(folder).string(), output.string(), run.string());
  if (dropped_bucket >= 0) command += fmt::format(" --drop-bucket {}", dropped_bucket);
  for (const std::string& setting : settings) command += " '" + setting + "'";
  const Outcome outcome = shell(mpirun(ranks, command));
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  return ProbeResult(output, loss_curve(run));
}

}  // namespace plumb::distributed
