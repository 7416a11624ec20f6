// plumb dump: what is in the file, and that two backends agree on it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "checkpoint/safetensors.h"
#include "tiny_run.h"

namespace plumb::test {
namespace {
using ::testing::HasSubstr;

SafetensorsFile dump(const Folder& folder, const std::string& name, std::vector<std::string> more) {
  std::vector<std::string> arguments = {"dump", folder / "config.toml", "--output", folder / name};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Outcome outcome = run_plumb(folder, 1, arguments);
  EXPECT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr(folder / name));
  return SafetensorsFile(folder / name);
}

std::vector<double> values(const SafetensorsFile& file, const std::string& name) {
  const Tensor tensor = file.tensor(name);
  const auto count = static_cast<std::size_t>(tensor.elements());
  if (tensor.dtype == DType::Float64) return {tensor.as<double>(), tensor.as<double>() + count};
  EXPECT_EQ(tensor.dtype, DType::Float32) << name;
  return {tensor.as<float>(), tensor.as<float>() + count};
}

double norm(const std::vector<double>& list) {
  double sum = 0;
  for (const double value : list) sum += value * value;
  return std::sqrt(sum);
}

std::vector<double> difference(std::vector<double> x, const std::vector<double>& y) {
  EXPECT_EQ(x.size(), y.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] -= y[i];
  return x;
}

bool starts_with(const std::string& text, const std::string& start) { return text.rfind(start, 0) == 0; }

TEST(Dump, HoldsEverythingThatAnOutsideCheckNeeds) {
  const Folder folder;
  write_tiny_run(folder);
  const SafetensorsFile file = dump(folder, "dump.safetensors", {});
  EXPECT_EQ(file.tensor("inputs").shape, (Shape{4, 16}));
  EXPECT_EQ(file.tensor("targets").shape, (Shape{4, 16}));
  EXPECT_EQ(file.tensor("loss").shape, (Shape{1}));
  EXPECT_EQ(file.tensor("parameter/embedding.token").shape, (Shape{256, 16}));
  for (int k = 0; k <= 4; ++k)
    EXPECT_EQ(file.tensor("stream/" + std::to_string(k)).shape, (Shape{4, 16, 16}));
  for (int k = 0; k < 4; ++k) EXPECT_EQ(file.tensor("branch/" + std::to_string(k)).shape, (Shape{4, 16, 16}));
  EXPECT_FALSE(file.contains("stream/5"));
  EXPECT_EQ(file.metadata().at("compute_dtype"), "fp32");
  EXPECT_EQ(file.metadata().at("step"), "0");
  EXPECT_THAT(file.metadata().at("config"), HasSubstr("width = 16"));
  std::set<std::string> parameters, gradients;
  for (const std::string& name : file.names()) {
    if (starts_with(name, "parameter/")) parameters.insert(name.substr(10));
    if (starts_with(name, "gradient/")) gradients.insert(name.substr(9));
  }
  EXPECT_EQ(parameters, gradients) << "every parameter of this model is trained";
  for (const std::string& name : gradients)
    EXPECT_EQ(file.tensor("gradient/" + name).shape, file.tensor("parameter/" + name).shape) << name;
  // The targets are the inputs, one token later.
  const Tensor inputs = file.tensor("inputs"), targets = file.tensor("targets");
  for (int t = 0; t < 64; ++t) {
    if (t % 16 == 15) continue;
    EXPECT_EQ(targets.as<std::int32_t>()[t], inputs.as<std::int32_t>()[t + 1]);
  }
  // x' = x + z in the peri placement.
  for (int k = 0; k < 4; ++k) {
    const std::vector<double> step = difference(values(file, "stream/" + std::to_string(k + 1)),
                                                values(file, "stream/" + std::to_string(k)));
    const std::vector<double> branch = values(file, "branch/" + std::to_string(k));
    EXPECT_LT(norm(difference(step, branch)), 1e-5 * norm(branch)) << k;
  }
}

TEST(Dump, CpuAgreesWithTheReference) {
  const Folder folder;
  write_tiny_run(folder);
  const SafetensorsFile fast = dump(folder, "cpu.safetensors", {"--step", "1"});
  const SafetensorsFile oracle =
      dump(folder, "reference.safetensors", {"--step", "1", "--set", "device=reference"});
  EXPECT_EQ(oracle.metadata().at("compute_dtype"), "fp64");
  ASSERT_EQ(std::set<std::string>(fast.names().begin(), fast.names().end()),
            std::set<std::string>(oracle.names().begin(), oracle.names().end()));
  double squares = 0;
  for (const std::string& name : oracle.names()) {
    if (starts_with(name, "gradient/")) squares += std::pow(norm(values(oracle, name)), 2);
  }
  ASSERT_GT(squares, 0);
  for (const std::string& name : oracle.names()) {
    if (name == "inputs" || name == "targets") continue;
    const std::vector<double> expected = values(oracle, name);
    const double error = norm(difference(values(fast, name), expected));
    const double floor = starts_with(name, "gradient/") ? 1e-4 * std::sqrt(squares) : 0;
    EXPECT_LE(error, 1e-5 * std::max(norm(expected), floor)) << name;
  }
}

TEST(Dump, StepDecidesTheData) {
  const Folder folder;
  write_tiny_run(folder);
  const SafetensorsFile first = dump(folder, "0.safetensors", {}),
                        second = dump(folder, "1.safetensors", {"--step", "1"});
  EXPECT_EQ(values(first, "parameter/embedding.token"), values(second, "parameter/embedding.token"));
  EXPECT_NE(values(first, "loss"), values(second, "loss"));
  // Training's first loss is the dump's: the same data and the same initial values.
  ASSERT_EQ(train_tiny(folder, 1).status, 0);
  const std::string metrics = read_file(folder / "run/metrics.jsonl");
  const double loss = std::strtod(metrics.c_str() + metrics.find("\"loss\":") + 7, nullptr);
  EXPECT_NEAR(values(first, "loss")[0], loss, 1e-9 * loss);
}

}  // namespace
}  // namespace plumb::test
