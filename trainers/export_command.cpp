// plumb export: a run's logs as NetCDF or CSV, its weights as Hugging Face has GPT-2.
#include <fmt/format.h>

#include <filesystem>

#include "checkpointed_model.h"
#include "commands.h"
#include "config/load.h"
#include "core/error.h"
#include "export/csv.h"
#include "export/gpt2.h"
#include "export/gpt2_requirements.h"
#include "export/netcdf.h"
#include "session.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;

fs::path output_of(const ExportOptions& options, const fs::path& run, const char* name) {
  return options.output.empty() ? run / "export" / name : fs::path(options.output);
}

void export_netcdf(const ExportOptions& options) {
  require_netcdf();
  const RunLogs logs = read_run_logs(options.run);
  const fs::path file = output_of(options, options.run, "logs.nc");
  write_netcdf(logs, file);
  fmt::print("{} (steps {}, records of stability {})\n", file.string(), logs.metrics.steps.size(),
             logs.stability.steps.size());
}

void export_csv(const ExportOptions& options) {
  const RunLogs logs = read_run_logs(options.run);
  const fs::path folder = output_of(options, options.run, "csv");
  write_csv(logs, folder);
  fmt::print("{}: metrics.csv stability_profiles.csv tensors.csv ranks.csv events.csv fields.csv\n",
             folder.string());
}

void export_weights(const ExportOptions& options) {
  const Checkpoint checkpoint = load_checkpoint_at(options.run);
  const std::string manifest = (checkpoint.path / "manifest.json").string();
  const std::vector<ConfigSource> source = {{manifest, checkpoint.manifest.config_text}};
  const Config config = load_config(source, {}, placement_presets()).config;
  check_gpt2_expresses(config, checkpoint.path.string());
  const fs::path run = fs::absolute(checkpoint.path).lexically_normal().parent_path().parent_path();
  const fs::path folder = output_of(options, run, "huggingface");
  write_gpt2(config, checkpoint.model, folder);
  fmt::print("{}: GPT-2 of step {}, model.safetensors and config.json\n", folder.string(),
             checkpoint.manifest.step);
}

}  // namespace

int run_export(const ExportOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb export")) return 2;
  if (options.format == "netcdf") {
    export_netcdf(options);
  } else if (options.format == "csv") {
    export_csv(options);
  } else {
    export_weights(options);
  }
  return 0;
}

}  // namespace plumb
