// The whole configuration as typed structs. Loaded by load.h from TOML files and --set overrides under one
// schema (schema.h), which also generates docs/config.md and the help text.
#pragma once

#include <cstdint>
#include <string>

#include "config/model_config.h"

namespace plumb {

struct RunConfig {
  std::string name = "run";
  std::string dir;         ///< empty = runs/<name>
  bool overwrite = false;  ///< true: an earlier run in the folder is replaced
};

struct ComputeConfig {
  std::string dtype = "auto";      ///< auto | fp64 | fp32 | tf32 | bf16 | fp16
  int threads = 0;                 ///< per rank; 0 = the cores of this rank
  std::string attention = "auto";  ///< auto | own | library
  bool captured_steps = false;     ///< a step is recorded once and replayed
  std::string recompute = "none";  ///< none | ffn | block
};

/// Dynamic loss scaling of fp16.
struct LossScaleConfig {
  double initial = 65536;
  std::int64_t growth_interval = 2000;
  double floor = 1;
};

struct TrainingConfig {
  std::int64_t steps = 1000;
  std::int64_t sequences_per_step = 0;     ///< global; exactly one of this and tokens_per_step
  std::int64_t tokens_per_step = 0;        ///< global
  std::int64_t micro_batch_sequences = 0;  ///< per rank; 0 = all of the rank's share at once
  std::uint64_t seed = 1;
};

struct OptimizerConfig {
  std::string kind = "adamw";  ///< adamw | sgd
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double momentum = 0.9;
  double weight_decay = 0.1;
  double clip_norm = 1;           ///< 0 = no clipping
  std::string scaling = "none";   ///< none | depth-mup | completep: what depth does to rates, eps and decay
  double scaling_base_width = 0;  ///< completep: the width at which nothing is scaled; 0 = this one
  bool sharded = false;           ///< each rank owns an equal part of the optimiser's state (ZeRO-1)
};

struct LearningRateConfig {
  std::string kind = "cosine";  ///< cosine | linear | wsd | constant, each after a linear warm-up
  std::int64_t warmup_steps = 0;
  double final_ratio = 0.1;     ///< last learning rate / peak
  double decay_fraction = 0.2;  ///< wsd: share of the steps at the end that decay
};

struct CommunicationConfig {
  double bucket_megabytes = 4;
  double timeout_seconds = 300;
  bool shared_memory = true;
  std::string gradient_dtype = "fp32";  ///< fp32 | bf16, in which gradients cross ranks
};

struct DataConfig {
  std::string kind = "tokens";    ///< tokens | markov | copy | induction
  std::string train, validation;  ///< token files, relative to the working directory
  std::string tokenizer = "byte";
  std::int64_t synthetic_vocabulary = 32;
  std::int64_t synthetic_order = 2;
};

struct ValidationConfig {
  std::int64_t every = 0;      ///< steps; 0 = only at the end
  std::int64_t sequences = 0;  ///< 0 = the whole split
  bool at_end = true;
};

struct LogConfig {
  std::int64_t console_every = 10;
  std::int64_t stability_every = 10;
  std::int64_t ranks_every = 10;
  bool tensorboard = false;  ///< the scalars as TensorBoard events too
};

/// What is logged beside the statistics that are always there (docs/metrics.md).
struct StatisticsConfig {
  bool attention = true;
  bool kurtosis = false;
  bool updates = false;
  bool small_variance = false;
  bool saturation = false;
  bool dead_units = false;
  bool massive_activations = false;
  bool token_similarity = false;
  std::int64_t detail_every = 1;  ///< records of stability.jsonl; 0 = never
  double noise_scale_decay = 0.99;
};

/// What becomes an event of the run (docs/alarms.md).
struct AlarmsConfig {
  bool ranks = true;                  ///< ranks that differ from the others, or keep them waiting
  std::int64_t replicas_every = 100;  ///< steps between comparisons of all ranks' parameters; 0 = never
};

struct CheckpointConfig {
  std::int64_t every = 0;  ///< steps; 0 = only at the end
  std::int64_t keep = 2;   ///< newest ones that stay
  bool at_end = true;
};

/// What is done about steps that stand out.
struct SpikesConfig {
  std::string action = "log";  ///< log | skip | roll_back
  std::int64_t roll_back_limit = 3;
  double z_clip = 0;  ///< standard deviations; 0 = off
  double z_clip_decay = 0.97;
  std::int64_t z_clip_warmup_steps = 25;
  double tensor_clip = 0;  ///< times the average; 0 = off
  double tensor_clip_decay = 0.98;
  std::int64_t tensor_clip_warmup_steps = 100;
};

/// A step whose loss or gradient norm is not finite.
struct NonFiniteConfig {
  std::string action = "skip";  ///< skip | stop | roll_back
  std::int64_t reports = 3;     ///< steps that are looked into and saved
};

/// How sharp the loss is where training stands.
struct SharpnessConfig {
  std::int64_t every = 0;        ///< steps; 0 = never
  std::int64_t iterations = 10;  ///< of the power iteration; 0 = the critical step alone
};

struct Config {
  std::string device = "auto";  ///< auto | cuda | cpu | reference | cuda-emulated
  RunConfig run;
  ComputeConfig compute;
  LossScaleConfig loss_scale;
  TrainingConfig training;
  OptimizerConfig optimizer;
  LearningRateConfig learning_rate;
  CommunicationConfig communication;
  DataConfig data;
  ValidationConfig validation;
  LogConfig log;
  StatisticsConfig statistics;
  AlarmsConfig alarms;
  CheckpointConfig checkpoint;
  SpikesConfig spikes;
  NonFiniteConfig non_finite;
  SharpnessConfig sharpness;
  ModelConfig model;
};

}  // namespace plumb
