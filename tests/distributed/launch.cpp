#include "distributed/launch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>

#include "checkpoint/checkpoint.h"
#include "checkpoint/temporary_folder.h"
#include "comm/launcher_crash.h"
#include "core/error.h"

namespace plumb::distributed {

Outcome shell(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen(("{ " + command + "\n} 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> part{};
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), pipe)) {
    outcome.output.append(part.data(), got);
  }
  const int status = pclose(pipe);
  outcome.status =
      test::status_of_ranks(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), outcome.output);
  return outcome;
}

std::string mpirun(int ranks, const std::string& program, const std::string& options) {
  return fmt::format("{} -np {} --oversubscribe --bind-to none {} {}", PLUMB_MPIEXEC, ranks, options,
                     program);
}

std::filesystem::path write_config(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "config.toml";
  testing::write_bytes(file, R"(device = "cpu"
compute = { dtype = "fp32", threads = 1 }
model = { blocks = 2, width = 16, heads = 2, sequence_length = 16, placement = "peri" }
data = { kind = "markov", synthetic_vocabulary = 24, synthetic_order = 1 }
training = { steps = 20, sequences_per_step = 12, seed = 7 }
optimizer.learning_rate = 1e-3
learning_rate = { kind = "cosine", warmup_steps = 10 }
communication = { bucket_megabytes = 0.004, timeout_seconds = 120 }
validation.at_end = false
log = { console_every = 0, stability_every = 3, ranks_every = 2 }
checkpoint = { at_end = false, keep = 100 }
)");
  return file;
}

std::string set_options(const std::vector<std::string>& settings) {
  std::string options;
  for (const std::string& setting : settings) options += " --set '" + setting + "'";
  return options;
}

void train(int ranks, const std::filesystem::path& config, const std::filesystem::path& run_folder,
           const std::vector<std::string>& settings, const std::string& further_options) {
  const Outcome outcome =
      shell(mpirun(ranks, fmt::format("{} train {} --set run.dir={}{} {}", PLUMB_PROGRAM, config.string(),
                                      run_folder.string(), set_options(settings), further_options)));
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

Outcome faulty_run(int ranks, const std::filesystem::path& config, const std::filesystem::path& run_folder,
                   const std::string& fault, const std::vector<std::string>& settings, bool resume) {
  std::string options;
  for (const std::string& setting : settings) options += fmt::format(" '{}'", setting);
  return shell(
      mpirun(ranks, fmt::format("{} {} {} {} run.dir={}{}", PLUMB_FAULTY_RUN, resume ? "resume" : "new",
                                config.string(), fault, run_folder.string(), options)));
}

std::vector<Json> read_records(const std::filesystem::path& file) {
  std::vector<Json> records;
  std::ifstream stream(file);
  EXPECT_TRUE(stream) << "there is no " << file;
  for (std::string line; std::getline(stream, line);) records.push_back(Json::parse(line));
  return records;
}

std::vector<std::string> lines_without_times(const std::filesystem::path& file) {
  std::vector<std::string> lines;
  for (Json& record : read_records(file)) {
    for (const char* time : {"step_seconds", "wait_seconds", "preempted_seconds", "tokens_per_s"})
      record.erase(time);
    lines.push_back(record.dump());
  }
  return lines;
}

std::vector<double> loss_curve(const std::filesystem::path& run_folder) {
  std::vector<double> losses;
  for (const Json& record : read_records(run_folder / "metrics.jsonl")) {
    losses.push_back(record.at("loss").get<double>());
    EXPECT_EQ(record.at("step").get<std::size_t>(), losses.size());
  }
  return losses;
}

double curve_distance(const std::vector<double>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double distance = std::abs(a[i] - b[i]) / std::abs(b[i]);
    if (!(distance <= worst)) worst = distance;  // NaN counts as worst
  }
  return worst;
}

void expect_same_logs(const std::filesystem::path& run, const std::filesystem::path& reference) {
  for (const char* name : {"metrics.jsonl", "stability.jsonl", "ranks.jsonl"}) {
    const std::vector<std::string> lines = lines_without_times(run / name),
                                   expected = lines_without_times(reference / name);
    ASSERT_EQ(lines.size(), expected.size()) << name;
    ASSERT_FALSE(lines.empty()) << name;
    for (std::size_t i = 0; i < lines.size(); ++i) ASSERT_EQ(lines[i], expected[i]) << name << ", line " << i;
  }
}

std::filesystem::path checkpoint_folder(const std::filesystem::path& run, int step) {
  return run / "checkpoints" / fmt::format("step_{:08}", step);
}

void expect_same_checkpoint(const std::filesystem::path& run, const std::filesystem::path& reference,
                            int step) {
  const auto folder = checkpoint_folder(run, step), expected = checkpoint_folder(reference, step);
  ASSERT_TRUE(std::filesystem::exists(folder)) << folder;
  ASSERT_TRUE(std::filesystem::exists(expected)) << expected;
  EXPECT_EQ(verify_checkpoint(folder).step, step);
  for (const char* name : {"model.safetensors", "optimizer.safetensors"}) {
    EXPECT_TRUE(testing::read_bytes(folder / name) == testing::read_bytes(expected / name))
        << name << " of " << folder << " and " << expected << " differ";
  }
}

}  // namespace plumb::distributed
