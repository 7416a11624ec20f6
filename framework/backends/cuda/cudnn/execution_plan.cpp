#include "backends/cuda/cudnn/execution_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "backends/cuda/cudnn/cudnn_check.h"

namespace plumb::cuda {
namespace {

constexpr int kMostConfigs = 16;  ///< what the heuristics propose beyond is not looked at

Descriptor engine_of(const Descriptor& config) {
  std::vector<Descriptor> engines =
      config.children(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1);
  return std::move(engines.at(0));
}

std::string name_of_config(const Descriptor& config) {
  std::string name = fmt::format("engine {}", engine_of(config).integer(CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
  for (const Descriptor& choice : config.children(
           CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS)) {
    name += fmt::format(
        ", knob {} = {}",
        static_cast<int>(choice.list<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE).at(0)),
        choice.integer(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE));
  }
  return name;
}

bool is_deterministic(const Descriptor& config) {
  const auto notes = engine_of(config).list<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
  return std::find(notes.begin(), notes.end(), CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) == notes.end();
}

}  // namespace

PlanDevice::PlanDevice(cudnnHandle_t handle, int compute_capability)
    : properties_(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR), compute_capability_(compute_capability) {
  properties_.set(CUDNN_ATTR_DEVICEPROP_HANDLE, handle);
  properties_.finalize();
}

PlanDevice::PlanDevice(const std::string& json, int compute_capability)
    : properties_(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR), compute_capability_(compute_capability) {
  properties_.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::span<const char>(json));
  properties_.finalize();
}

ExecutionPlan::ExecutionPlan(Descriptor config, Descriptor plan)
    : config_(std::move(config)),
      plan_(std::move(plan)),
      name_(name_of_config(config_)),
      workspace_(static_cast<std::size_t>(plan_.integer(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE))) {}

PlanSearch::PlanSearch(const Descriptor& graph, const PlanDevice& device,
                       const std::optional<EngineChoice>& engine) {
  if (engine) {
    try_engine(graph, device, *engine);
    return;
  }
  try_heuristics(graph, device, CUDNN_HEUR_MODE_A);
  if (!plan_) try_heuristics(graph, device, CUDNN_HEUR_MODE_FALLBACK);
}

void PlanSearch::try_heuristics(const Descriptor& graph, const PlanDevice& device,
                                cudnnBackendHeurMode_t mode) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device.properties());
  const std::string failure = heuristics.try_finalize();
  if (!failure.empty()) {
    passed_over_.push_back(fmt::format("heuristics {}: {}", static_cast<int>(mode), failure));
    return;
  }
  for (Descriptor& config :
       heuristics.children(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, kMostConfigs)) {
    try_config(std::move(config));
    if (plan_) return;
  }
}

void PlanSearch::try_engine(const Descriptor& graph, const PlanDevice& device, const EngineChoice& choice) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  engine.set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
  engine.set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice.engine);
  engine.set(CUDNN_ATTR_ENGINE_DEVICEPROP, device.properties());
  const std::string failure = engine.try_finalize();
  if (!failure.empty()) {
    passed_over_.push_back(fmt::format("engine {}: {}", choice.engine, failure));
    return;
  }
  std::vector<Descriptor> knobs;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (const KnobChoice& one : choice.knobs) {
    Descriptor& knob = knobs.emplace_back(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    knob.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, one.knob);
    knob.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, one.value);
    knob.finalize();
    raw.push_back(knob.get());
  }
  Descriptor config(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  config.set(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
  config.set_descriptors(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, raw);
  const std::string refused = config.try_finalize();
  if (refused.empty()) {
    try_config(std::move(config));
  } else {
    passed_over_.push_back(fmt::format("engine {}: {}", choice.engine, refused));
  }
}

void PlanSearch::try_config(Descriptor config) {
  if (!is_deterministic(config)) {
    passed_over_.push_back(name_of_config(config) + ": not deterministic");
    return;
  }
  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
  const std::string failure = plan.try_finalize();
  if (failure.empty()) {
    plan_ = ExecutionPlan(std::move(config), std::move(plan));
  } else {
    passed_over_.push_back(fmt::format("{}: {}", name_of_config(config), failure));
  }
}

std::string PlanSearch::failure() const {
  if (plan_) return "";
  return passed_over_.empty() ? "no engine takes the graph"
                              : fmt::format("{}", fmt::join(passed_over_, "; "));
}

}  // namespace plumb::cuda
