// plumb plan --json.
#include <nlohmann/json.hpp>

#include "plan_report.h"

namespace plumb {
namespace {
using Json = nlohmann::ordered_json;

Json json_of(const std::vector<MemoryShare>& shares) {
  Json json = Json::object();
  for (const MemoryShare& share : shares) json[share.name] = share.bytes;
  return json;
}

Json json_of(const RankMemory& memory) {
  return {{"in_every_step", json_of(memory.steps)},
          {"while", json_of(memory.peaks)},
          {"step_bytes", memory.step_bytes()},
          {"peak_bytes", memory.peak_bytes()},
          {"device_bytes", memory.device_bytes()}};
}

Json json_of(const LogBytes& log) {
  return {{"metrics.jsonl", log.metrics}, {"stability.jsonl", log.stability}, {"ranks.jsonl", log.ranks}};
}

Json step_of(const PlanRow& row) {
  if (!row.step) return nullptr;
  return {{"seconds", row.step->seconds},
          {"computing_seconds", row.step->computing},
          {"exposed_seconds", row.step->exposed},
          {"waiting_seconds", row.step->waiting},
          {"tokens_per_second", row.tokens_per_second},
          {"efficiency", row.efficiency},
          {"algorithm", row.algorithm},
          {"extrapolated", row.extrapolated}};
}

}  // namespace

std::string plan_json(const PlanReport& report) {
  Json json;
  json["device"] = report.device;
  json["parameters"] = report.parameters;
  json["micro_batch_sequences"] = report.micro_batch;
  json["sequence_length"] = report.sequence_length;
  json["threads_per_rank"] = report.threads;
  json["ranks_per_host"] = report.ranks_per_host;
  json["process_base_bytes"] = report.process_base;
  json["flops_per_step"] = report.flops;
  json["gradient_bytes"] = report.gradient_bytes;
  if (report.fabric) {
    json["computing"] = {{"source", report.computing.source},
                         {"seconds", report.computing.seconds},
                         {"variation", report.computing.variation}};
  }
  json["worlds"] = Json::array();
  for (const PlanRow& row : report.rows) {
    Json world = {{"ranks", row.ranks},
                  {"hosts", row.hosts},
                  {"sequences_per_step", row.sequences},
                  {"memory", json_of(row.memory)},
                  {"log_bytes_per_step", json_of(row.log)}};
    if (report.fabric) {
      world["step"] = step_of(row);
      if (!row.step) world["no_step"] = row.no_step;
    }
    json["worlds"].push_back(std::move(world));
  }
  return json.dump(2) + "\n";
}

}  // namespace plumb
