// What a run says of itself on a device that works behind the host's back, with memory of its own.
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "tiny_run.h"

namespace plumb::test {
namespace {

// Lazy streams do nothing before somebody waits for them: all the work of a step lies in that wait, as it
// nearly does on a GPU with captured steps.
TEST(StepTimes, HoldTheWorkOfTheDevice) {
  const Folder folder;
  write_tiny_run(folder);
  const auto start = std::chrono::steady_clock::now();
  const Outcome outcome = train_tiny(folder, 1,
                                     {"--set", "device=cuda-emulated", "--set", "validation.at_end=false",
                                      "--set", "checkpoint.at_end=false", "--set", "training.steps=12"});
  const double whole = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  double steps = 0;
  for (const std::string& line : lines_of(read_file(folder / "run/metrics.jsonl")))
    steps += nlohmann::json::parse(line).at("step_seconds").get<double>();
  EXPECT_GT(steps, 0.4 * whole) << "of " << whole << " s";
  EXPECT_LT(steps, whole);
}

TEST(DeviceMemory, IsAllocatedAsPlanned) {
  for (const int ranks : {1, 2}) {
    const Folder folder;
    write_tiny_run(folder);
    const Outcome outcome =
        train_tiny(folder, ranks,
                   {"--set", "device=cuda-emulated", "--set", "communication.gradient_dtype=bf16", "--set",
                    "training.steps=2", "--set", "spikes.action=skip", "--set", "sharpness.every=2"});
    ASSERT_EQ(outcome.status, 0) << outcome.text();
    const auto memory = nlohmann::json::parse(read_file(folder / "run/manifest.json")).at("memory");
    std::size_t planned = 0;
    for (const auto& share : memory.at("planned")) planned += share.get<std::size_t>();
    EXPECT_EQ(memory.at("allocated").get<std::size_t>(), planned) << memory;
    EXPECT_GE(memory.at("device_in_use").get<std::size_t>(), planned);
    EXPECT_EQ(memory.at("planned").contains("gradients on the wire"), ranks > 1);
  }
}

}  // namespace
}  // namespace plumb::test
