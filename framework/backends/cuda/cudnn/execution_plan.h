// From an operation graph to a compiled plan of cuDNN.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/cudnn/descriptor.h"

namespace plumb::cuda {

/// The device that plans are made for: one that is here, or one that is only described.
class PlanDevice {
 public:
  /// `compute_capability` 90 = sm_90.
  PlanDevice(cudnnHandle_t handle, int compute_capability);
  /// `json` as cuDNN's device properties are serialised.
  PlanDevice(const std::string& json, int compute_capability);

  const Descriptor& properties() const { return properties_; }
  int compute_capability() const { return compute_capability_; }

 private:
  Descriptor properties_;
  int compute_capability_;
};

/// One of an engine's settings.
struct KnobChoice {
  cudnnBackendKnobType_t knob;
  std::int64_t value;
};
/// An engine that is asked for by its number instead of the heuristics.
struct EngineChoice {
  std::int64_t engine;
  std::vector<KnobChoice> knobs;
};

/// A compiled plan whose result is the same in every run.
class ExecutionPlan {
 public:
  /// "engine 5, knob 24 = 31".
  const std::string& name() const { return name_; }
  std::size_t workspace() const { return workspace_; }
  const Descriptor& descriptor() const { return plan_; }

 private:
  friend class PlanSearch;
  ExecutionPlan(Descriptor config, Descriptor plan);

  Descriptor config_;  ///< the plan refers to it
  Descriptor plan_;
  std::string name_;
  std::size_t workspace_ = 0;
};

/// The first plan that compiles, and why others were passed over.
class PlanSearch {
 public:
  /// With `engine`, that one alone; else what the heuristics propose, best first, without engines that note
  /// that they are not deterministic.
  PlanSearch(const Descriptor& graph, const PlanDevice& device, const std::optional<EngineChoice>& engine);

  /// Empty when there is none.
  const std::optional<ExecutionPlan>& plan() const { return plan_; }
  std::optional<ExecutionPlan> take() && { return std::move(plan_); }
  /// In one line; empty when there is a plan.
  std::string failure() const;

 private:
  void try_heuristics(const Descriptor& graph, const PlanDevice& device, cudnnBackendHeurMode_t mode);
  void try_engine(const Descriptor& graph, const PlanDevice& device, const EngineChoice& choice);
  void try_config(Descriptor config);

  std::optional<ExecutionPlan> plan_;
  std::vector<std::string> passed_over_;
};

}  // namespace plumb::cuda
