// Runs of the engine as child processes under mpirun, and their logs.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace plumb::distributed {

struct Outcome {
  int status = -1;
  std::string output;  ///< stdout and stderr
};

/// Runs a command line of the shell and waits for it.
Outcome shell(const std::string& command);

/// "mpirun -np <ranks> ... <program>", to be followed by the program's arguments.
std::string mpirun(int ranks, const std::string& program, const std::string& options = "");

/// The smallest model that has every kind of sublayer, on a Markov language, with the settings that all of
/// these tests share: 12 sequences a step (for 1, 2, 3, 4, 6 and 12 ranks), one thread, many gradient
/// buckets. Writes it to folder/config.toml.
std::filesystem::path write_config(const std::filesystem::path& folder);

/// " --set 'key=value'" for each.
std::string set_options(const std::vector<std::string>& settings);

/// `plumb train` on so many ranks; fails the test, with the output, unless it returns 0.
void train(int ranks, const std::filesystem::path& config, const std::filesystem::path& run_folder,
           const std::vector<std::string>& settings, const std::string& further_options = "");

/// "faulty_run" (faulty_run.cpp) on so many ranks. `fault`: "noise 200 200 0" and the like.
Outcome faulty_run(int ranks, const std::filesystem::path& config, const std::filesystem::path& run_folder,
                   const std::string& fault, const std::vector<std::string>& settings, bool resume = false);

using Json = nlohmann::json;

/// The records of a JSON-lines file. A missing file fails the test.
std::vector<Json> read_records(const std::filesystem::path& file);
/// The file's lines without the fields that are times, which alone may differ between equal runs.
std::vector<std::string> lines_without_times(const std::filesystem::path& file);
/// `loss` of every step in a run's metrics.jsonl, which must hold steps 1, 2, ... in order.
std::vector<double> loss_curve(const std::filesystem::path& run_folder);

/// Largest |a_i - b_i| / |b_i|. Curves of unlike length fail the test.
double curve_distance(const std::vector<double>& a, const std::vector<double>& b);

/// Fails the test unless both runs logged the same, times aside.
void expect_same_logs(const std::filesystem::path& run, const std::filesystem::path& reference);
/// Fails the test unless both runs hold a whole checkpoint of this step, with the same bytes of parameters,
/// optimiser and statistics.
void expect_same_checkpoint(const std::filesystem::path& run, const std::filesystem::path& reference,
                            int step);

/// Folder of a run's checkpoint.
std::filesystem::path checkpoint_folder(const std::filesystem::path& run, int step);

}  // namespace plumb::distributed
