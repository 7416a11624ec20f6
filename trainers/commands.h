// The subcommands of `plumb`: options as the command line gives them, and one function each. Every function
// returns the exit status; faults are thrown (InputError: status 2, anything else: status 1).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plumb {

struct TrainOptions {
  std::vector<std::string> configs;
  std::vector<std::string> overrides;  ///< a.b.c=value
  std::string resume;                  ///< "" | auto | path of a checkpoint
  std::string trace;                   ///< "" = none | auto | steps, "3-5"
};
int run_train(const TrainOptions& options);

struct EvalOptions {
  std::string checkpoint;
  std::string split = "validation";  ///< train | validation | path of a token file
  std::int64_t sequences = 0;        ///< 0 = the whole split
  std::string device = "auto";
  std::string dtype;  ///< "" = that of training
};
int run_eval(const EvalOptions& options);

struct GenerateOptions {
  std::string checkpoint;
  std::string prompt = "\n";
  std::int64_t tokens = 256;
  double temperature = 1;
  std::int64_t top_k = 0;  ///< 0 = all
  std::uint64_t seed = 1;
  std::string device = "auto";
  std::string dtype;  ///< "" = that of training
};
int run_generate(const GenerateOptions& options);

struct DataPrepareOptions {
  std::vector<std::string> inputs;
  std::string output;
  std::string tokenizer = "byte";
  double validation_fraction = 0.05;
  std::string layout = "llm.c";  ///< raw | llm.c (with a header)
};
int run_data_prepare(const DataPrepareOptions& options);

struct DataDescribeOptions {
  std::string train, validation;
  bool json = false;
};
int run_data_describe(const DataDescribeOptions& options);

struct DataSynthesizeOptions {
  std::string output;
  std::int64_t bytes = 4'000'000;
  std::uint64_t seed = 1;
};
int run_data_synthesize(const DataSynthesizeOptions& options);

struct DumpOptions {
  std::vector<std::string> configs;
  std::vector<std::string> overrides;
  std::string output = "dump.safetensors";
  std::int64_t step = 0;
};
int run_dump(const DumpOptions& options);

struct PlacementsOptions {
  std::string name;  ///< "" = the table of all
  std::int64_t layers = 12;
  bool json = false;
};
int run_placements(const PlacementsOptions& options);

struct MetricsOptions {
  bool json = false;
};
int run_metrics(const MetricsOptions& options);

struct ReportCommandOptions {
  std::vector<std::string> runs;  ///< folders
  std::string output;             ///< "" = report.html in the folder of the one run, or here for several
};
int run_report(const ReportCommandOptions& options);

struct TraceOptions {
  std::string run;  ///< folder
};
int run_trace(const TraceOptions& options);

struct CheckOptions {
  std::vector<std::string> configs;
  std::vector<std::string> overrides;
  std::int64_t seeds = 3;
  bool json = false;
};
/// 0 regular or borderline, 1 pathological, 2 could not be run.
int run_check(const CheckOptions& options);

struct PlanOptions {
  std::vector<std::string> configs;
  std::vector<std::string> overrides;
  std::vector<int> ranks;  ///< worlds to plan for; empty: some
  int ranks_per_host = 0;  ///< 0: as many as this launch has, or as the fabric was measured with
  std::string fabric;      ///< "" = memory alone; or a file of `plumb doctor --bandwidth --output`
  int steps = 5;           ///< to time; 0: none, time from the fabric's FLOP/s
  bool strong = false;     ///< the global batch stays; else that of a rank does
  bool json = false;
};
int run_plan(const PlanOptions& options);

struct ExportOptions {
  std::string run;     ///< folder of a run; for weights also of a checkpoint
  std::string format;  ///< netcdf | csv | huggingface
  std::string output;  ///< "" = in the folder export/ of the run
};
int run_export(const ExportOptions& options);

struct SweepOptions {
  std::string config;
  std::vector<std::string> overrides;  ///< a.b.c=value, of all cells
  std::string output;                  ///< "" = runs/<name of the file>
  std::string launcher;                ///< put before `plumb train`: "mpirun -np 2"
  int jobs = 1;
  bool dry_run = false;
  bool slurm = false;
};
int run_sweep(const SweepOptions& options);

int run_doctor();

struct BandwidthOptions {
  std::string output;  ///< "" = no file
  std::string inside;  ///< "" or a file whose speed inside a host is taken
  std::string device = "auto";
  int threads = 0;  ///< of a rank; 0 = those that training would take
  int rounds = 11;  ///< of every measurement
};
int run_doctor_bandwidth(const BandwidthOptions& options);

/// The number of GPUs that the driver shows this process, on one line: for scripts.
int run_gpu_count();

}  // namespace plumb
