// Keys of everything but the model.
#include "config/schema.h"

namespace plumb::detail {
namespace {

constexpr double kMostSteps = 1e12;
constexpr double kMostSequences = 1e9;

std::vector<FieldSpec<Config>> top_fields() {
  return {{"device", &Config::device, one_of({"auto", "cuda", "cpu", "reference", "cuda-emulated"}), "",
           "Backend that runs the model: auto takes the fastest one there is, reference is the slow float64 "
           "oracle, cuda-emulated runs the code of cuda on the host, for tests."}};
}

std::vector<FieldSpec<RunConfig>> run_fields() {
  return {
      {"name", &RunConfig::name, anything(), "",
       "Name of the run; its folder is `runs/<run.name>` unless run.dir is set."},
      {"dir", &RunConfig::dir, anything(), "", "Folder of the run; empty: `runs/<run.name>`."},
      {"overwrite", &RunConfig::overwrite, anything(), "", "Replace an earlier run that is in the folder."},
  };
}

std::vector<FieldSpec<ComputeConfig>> compute_fields() {
  return {
      {"dtype", &ComputeConfig::dtype, one_of({"auto", "fp64", "fp32", "tf32", "bf16", "fp16"}), "",
       "Type of activations and matrix products; auto takes what the backend does best. tf32: fp32, whose "
       "matrix products round their factors to 10 bits of fraction. fp16: with a loss scale."},
      {"threads", &ComputeConfig::threads, between(0, 4096), "threads per rank",
       "Threads of each rank; 0: as many as the rank has cores."},
      {"attention", &ComputeConfig::attention, one_of({"auto", "own", "library"}), "",
       "CUDA devices: attention by Plumb's own kernels or by cuDNN; auto takes cuDNN where it can do what is "
       "asked. Other devices have one attention and take auto alone."},
      {"captured_steps", &ComputeConfig::captured_steps, anything(), "",
       "Record the kernels of a step once and replay them as one CUDA graph, which spares the host's part; "
       "only the cuda backend can."},
      {"recompute", &ComputeConfig::recompute, one_of({"none", "ffn", "block"}), "",
       "What backward computes again instead of keeping it from forward, to save memory: nothing, what "
       "feed-forward sublayers keep inside, or all but the stream at the start of every block. The numbers "
       "of "
       "the run stay the same to the bit."},
  };
}

std::vector<FieldSpec<LossScaleConfig>> loss_scale_fields() {
  const ReadWhen fp16 = {{"compute.dtype", {"fp16"}}};
  return {
      {"initial", &LossScaleConfig::initial, above(0), "",
       "What the loss is multiplied by at first, so that small gradients survive fp16 (arXiv 1710.03740).",
       fp16},
      {"growth_interval", &LossScaleConfig::growth_interval, between(1, kMostSteps), "updates",
       "The scale doubles after so many updates in a row without an overflow; an overflow halves it and "
       "skips "
       "the update.",
       fp16},
      {"floor", &LossScaleConfig::floor, above(0), "",
       "Training ends with an error when the scale falls below: then it is not the gradients' scale that "
       "overflows.",
       fp16},
  };
}

std::vector<FieldSpec<TrainingConfig>> training_fields() {
  return {
      {"steps", &TrainingConfig::steps, between(1, kMostSteps), "optimiser steps", "Length of the training."},
      {"sequences_per_step", &TrainingConfig::sequences_per_step, between(0, kMostSequences), "sequences",
       "Global batch of one optimiser step, over all ranks; exactly one of this and tokens_per_step is set."},
      {"tokens_per_step", &TrainingConfig::tokens_per_step, between(0, 1e15), "tokens",
       "The global batch in tokens; a multiple of model.sequence_length."},
      {"micro_batch_sequences", &TrainingConfig::micro_batch_sequences, between(0, kMostSequences),
       "sequences per rank",
       "Sequences that a rank runs at once, gradients being accumulated; 0: its whole share of the step."},
      {"seed", &TrainingConfig::seed, at_least(0), "",
       "Seed of initial values, data order, dropout and stochastic depth."},
  };
}

std::vector<FieldSpec<OptimizerConfig>> optimizer_fields() {
  const ReadWhen adamw = {{"kind", {"adamw"}}};
  return {
      {"kind", &OptimizerConfig::kind, one_of({"adamw", "sgd"}), "", "Optimiser; sgd has momentum."},
      {"learning_rate", &OptimizerConfig::learning_rate, at_least(0), "",
       "Peak learning rate, reached after the warm-up."},
      {"beta1", &OptimizerConfig::beta1, from_to_below(0, 1), "", "Decay of the first moment.", adamw},
      {"beta2", &OptimizerConfig::beta2, from_to_below(0, 1), "", "Decay of the second moment.", adamw},
      {"epsilon", &OptimizerConfig::epsilon, above(0), "", "Added to the square root of the second moment.",
       adamw},
      {"momentum", &OptimizerConfig::momentum, from_to_below(0, 1), "", "Momentum.", {{"kind", {"sgd"}}}},
      {"weight_decay", &OptimizerConfig::weight_decay, at_least(0), "",
       "Decoupled weight decay, multiplied by the learning rate; matrices and embeddings have it, gains and "
       "biases only "
       "where their slot says so."},
      {"clip_norm", &OptimizerConfig::clip_norm, at_least(0), "",
       "Limit of the global 2-norm of the reduced gradient; 0: no clipping."},
      {"scaling",
       &OptimizerConfig::scaling,
       one_of({"none", "depth-mup", "completep"}),
       "",
       "What depth does to learning rates, eps and weight decay, to go with the depth schedule of the same "
       "name in model.residual.b ([companions](placements.md#companions)).",
       {{"kind", {"adamw"}}}},
      {"scaling_base_width",
       &OptimizerConfig::scaling_base_width,
       at_least(0),
       "",
       "completep: the width at which rates, eps and decay are as given; 0: the model's own.",
       {{"scaling", {"completep"}}}},
      {"sharded", &OptimizerConfig::sharded, anything(), "",
       "Each rank keeps and updates an equal part of the optimiser's state and sends the others its new "
       "parameters (ZeRO-1, arXiv 1910.02054); with one rank nothing changes."},
  };
}

std::vector<FieldSpec<LearningRateConfig>> learning_rate_fields() {
  return {
      {"kind", &LearningRateConfig::kind, one_of({"cosine", "linear", "wsd", "constant"}), "",
       "Shape after the linear warm-up; wsd stays at the peak and decays at the end."},
      {"warmup_steps", &LearningRateConfig::warmup_steps, between(0, kMostSteps), "optimiser steps",
       "Steps from 0 to the peak."},
      {"final_ratio",
       &LearningRateConfig::final_ratio,
       between(0, 1),
       "",
       "Last learning rate / peak.",
       {{"kind", {"cosine", "linear", "wsd"}}}},
      {"decay_fraction",
       &LearningRateConfig::decay_fraction,
       above_up_to(0, 1),
       "share of training.steps",
       "Length of the decay at the end.",
       {{"kind", {"wsd"}}}},
  };
}

std::vector<FieldSpec<CommunicationConfig>> communication_fields() {
  return {
      {"bucket_megabytes", &CommunicationConfig::bucket_megabytes, above_up_to(0, 65536), "MiB",
       "Size of the gradient buckets that are reduced while backward runs."},
      {"timeout_seconds", &CommunicationConfig::timeout_seconds, above_up_to(0, 1e6), "seconds",
       "A collective that takes longer ends the run with a line that names it."},
      {"shared_memory", &CommunicationConfig::shared_memory, anything(), "",
       "Ranks of a host sum gradients through memory that they share, where device is cpu or reference; "
       "false: by messages, as between hosts. GPUs have NCCL."},
      {"gradient_dtype", &CommunicationConfig::gradient_dtype, one_of({"fp32", "bf16"}), "",
       "In which gradients cross ranks; bf16 halves the traffic. On GPUs every addition then rounds; over "
       "host "
       "memory only what goes from host to host is rounded, each host's sum and the whole sum once. "
       "fp32 means fp64 where compute.dtype is fp64."},
  };
}

std::vector<FieldSpec<DataConfig>> data_fields() {
  const ReadWhen files = {{"kind", {"tokens"}}};
  return {
      {"kind", &DataConfig::kind, one_of({"tokens", "markov", "copy", "induction"}), "",
       "Source: token files, a Markov language of known entropy rate, or a copy or induction task."},
      {"train", &DataConfig::train, anything(), "",
       "Token file to train on, relative to the working directory.", files},
      {"validation", &DataConfig::validation, anything(), "",
       "Token file to validate on; empty: no validation.", files},
      {"tokenizer", &DataConfig::tokenizer, one_of({"byte"}), "", "How text becomes tokens.", files},
      {"synthetic_vocabulary",
       &DataConfig::synthetic_vocabulary,
       between(2, 65536),
       "tokens",
       "Vocabulary of a synthetic source.",
       {{"kind", {"markov", "copy", "induction"}}}},
      {"synthetic_order",
       &DataConfig::synthetic_order,
       between(1, 16),
       "tokens",
       "How many tokens the next one depends on.",
       {{"kind", {"markov"}}}},
  };
}

std::vector<FieldSpec<ValidationConfig>> validation_fields() {
  return {
      {"every", &ValidationConfig::every, between(0, kMostSteps), "optimiser steps",
       "Cadence of the validation loss; 0: only at the end."},
      {"sequences",
       &ValidationConfig::sequences,
       between(0, kMostSequences),
       "sequences",
       "Sequences of a validation on the way, from the start of the split; 0: the whole split, as at the "
       "end.",
       {{"every", {}}}},
      {"at_end", &ValidationConfig::at_end, anything(), "", "Validate after the last step."},
  };
}

std::vector<FieldSpec<LogConfig>> log_fields() {
  return {
      {"console_every", &LogConfig::console_every, between(0, kMostSteps), "optimiser steps",
       "Cadence of the progress line; 0: never."},
      {"stability_every", &LogConfig::stability_every, between(0, kMostSteps), "optimiser steps",
       "Cadence of stability.jsonl; 0: never."},
      {"ranks_every", &LogConfig::ranks_every, between(0, kMostSteps), "optimiser steps",
       "Cadence of ranks.jsonl; 0: never."},
      {"tensorboard", &LogConfig::tensorboard, anything(), "",
       "Also write the scalars as TensorBoard events, into tensorboard/ of the run's folder."},
  };
}

std::vector<FieldSpec<StatisticsConfig>> statistics_fields() {
  return {
      {"attention", &StatisticsConfig::attention, anything(), "",
       "Largest logit and entropy of every attention sublayer, at detailed records."},
      {"kurtosis", &StatisticsConfig::kurtosis, anything(), "", "Kurtosis of stream and branches."},
      {"updates", &StatisticsConfig::updates, anything(), "",
       "Norm of every tensor's update, and the share of its entries where eps outweighs Adam's second "
       "moment."},
      {"small_variance", &StatisticsConfig::small_variance, anything(), "",
       "Share of rows at every norm whose variance is not far above its eps."},
      {"saturation", &StatisticsConfig::saturation, anything(), "",
       "Share of entries where dyt and derf are flat, at detailed records."},
      {"dead_units", &StatisticsConfig::dead_units, anything(), "",
       "Share of hidden units of every FFN that no token switches on, at detailed records."},
      {"massive_activations", &StatisticsConfig::massive_activations, anything(), "",
       "Largest over median magnitude of stream and branches, at detailed records."},
      {"token_similarity", &StatisticsConfig::token_similarity, anything(), "",
       "Mean cosine of two tokens of a sequence in stream and branches, at detailed records."},
      {"detail_every", &StatisticsConfig::detail_every, between(0, kMostSteps), "records of stability.jsonl",
       "Every so-manieth record is a detailed one: it has the statistics that read activations once more. 0: "
       "none is."},
      {"noise_scale_decay", &StatisticsConfig::noise_scale_decay, from_to_below(0, 1), "",
       "What a step's gradient noise weighs one step later in the moving averages behind the noise scale."},
  };
}

std::vector<FieldSpec<AlarmsConfig>> alarms_fields() {
  return {
      {"ranks", &AlarmsConfig::ranks, anything(), "",
       "Events for ranks whose loss or gradient leaves that of the others, is not finite, or that keep the "
       "others waiting (docs/alarms.md)."},
      {"replicas_every", &AlarmsConfig::replicas_every, between(0, kMostSteps), "optimiser steps",
       "Cadence of the comparison of all ranks' parameters and optimiser state, bit by bit; 0: never."},
  };
}

std::vector<FieldSpec<CheckpointConfig>> checkpoint_fields() {
  return {
      {"every", &CheckpointConfig::every, between(0, kMostSteps), "optimiser steps",
       "Cadence of checkpoints; 0: only at the end."},
      {"keep", &CheckpointConfig::keep, between(1, 1e6), "checkpoints", "How many of the newest ones stay."},
      {"at_end", &CheckpointConfig::at_end, anything(), "", "Save after the last step."},
  };
}

std::vector<FieldSpec<SpikesConfig>> spikes_fields() {
  const ReadWhen z_clip = {{"z_clip", {}}}, tensor_clip = {{"tensor_clip", {}}};
  return {
      {"action", &SpikesConfig::action, one_of({"log", "skip", "roll_back"}), "",
       "What a spike of the loss or of the gradient norm does (6 standard deviations above the last 128 "
       "values that were none): nothing but an event; the update is skipped; training goes back to the last "
       "checkpoint and on with the data after the spike ([spikes](design/spikes.md))."},
      {"roll_back_limit", &SpikesConfig::roll_back_limit, between(1, 1e6), "roll-backs",
       "One more to the same checkpoint ends the run with an error; non_finite.action = \"roll_back\" counts "
       "too. Only with one of the two actions."},
      {"z_clip", &SpikesConfig::z_clip, at_least(0), "standard deviations",
       "Clip the global gradient norm where it lies further than this above its exponential average (ZClip, "
       "arXiv 2504.02507, which takes 2.5), beside optimizer.clip_norm; 0: off."},
      {"z_clip_decay", &SpikesConfig::z_clip_decay, from_to_below(0, 1), "",
       "What a norm weighs one step later in the average and the variance of z_clip.", z_clip},
      {"z_clip_warmup_steps", &SpikesConfig::z_clip_warmup_steps, between(1, kMostSteps), "updates",
       "The first norms, from which average and variance start.", z_clip},
      {"tensor_clip", &SpikesConfig::tensor_clip, at_least(0), "",
       "Clip the gradient of every tensor to so many times, at least 1, the exponential average of its norm, "
       "in the place of optimizer.clip_norm (AdaGC, arXiv 2502.11034, which takes 1.05); 0: off."},
      {"tensor_clip_decay", &SpikesConfig::tensor_clip_decay, from_to_below(0, 1), "",
       "What a norm weighs one step later in the averages of tensor_clip.", tensor_clip},
      {"tensor_clip_warmup_steps", &SpikesConfig::tensor_clip_warmup_steps, between(1, kMostSteps), "updates",
       "In the first steps optimizer.clip_norm clips, and the averages are the smallest norms.", tensor_clip},
  };
}

std::vector<FieldSpec<NonFiniteConfig>> non_finite_fields() {
  return {
      {"action", &NonFiniteConfig::action, one_of({"skip", "stop", "roll_back"}), "",
       "What follows a step whose loss or gradient norm is not finite (where it is the norm, the step "
       "updates nothing): the next step; the end of the run; the last checkpoint, with the data after that "
       "step (spikes.roll_back_limit holds for it too). An overflow of fp16 that the loss scale deals with "
       "is no such step."},
      {"reports", &NonFiniteConfig::reports, between(0, 1e6), "steps",
       "So many such steps of a run are made again with a look at the result of every op, to name the first "
       "bad tensor; report, batch and parameters go to `nan/` in the run's folder "
       "([non-finite steps](design/non_finite.md))."},
  };
}

std::vector<FieldSpec<SharpnessConfig>> sharpness_fields() {
  return {
      {"every", &SharpnessConfig::every, between(0, kMostSteps), "optimiser steps",
       "Cadence of critical sharpness and of the Hessian's largest eigenvalue, on the batch of that step "
       "([sharpness](design/sharpness.md)); 0: never."},
      {"iterations",
       &SharpnessConfig::iterations,
       between(0, 1e4),
       "Hessian-vector products",
       "Of the power iteration that finds the eigenvalue; each costs two forward and backward passes. 0: "
       "critical sharpness alone.",
       {{"every", {}}}},
  };
}

}  // namespace

void append_run_fields(std::vector<Field>& fields) {
  const auto append = [&](const std::string& table, const auto& specs, auto find) {
    append_fields(fields, table, table, specs, find);
  };
  append("", top_fields(), [](Config& c) -> Config& { return c; });
  append("run", run_fields(), [](Config& c) -> RunConfig& { return c.run; });
  append("compute", compute_fields(), [](Config& c) -> ComputeConfig& { return c.compute; });
  append("loss_scale", loss_scale_fields(), [](Config& c) -> LossScaleConfig& { return c.loss_scale; });
  append("training", training_fields(), [](Config& c) -> TrainingConfig& { return c.training; });
  append("optimizer", optimizer_fields(), [](Config& c) -> OptimizerConfig& { return c.optimizer; });
  append("learning_rate", learning_rate_fields(),
         [](Config& c) -> LearningRateConfig& { return c.learning_rate; });
  append("communication", communication_fields(),
         [](Config& c) -> CommunicationConfig& { return c.communication; });
  append("data", data_fields(), [](Config& c) -> DataConfig& { return c.data; });
  append("validation", validation_fields(), [](Config& c) -> ValidationConfig& { return c.validation; });
  append("log", log_fields(), [](Config& c) -> LogConfig& { return c.log; });
  append("statistics", statistics_fields(), [](Config& c) -> StatisticsConfig& { return c.statistics; });
  append("alarms", alarms_fields(), [](Config& c) -> AlarmsConfig& { return c.alarms; });
  append("checkpoint", checkpoint_fields(), [](Config& c) -> CheckpointConfig& { return c.checkpoint; });
  append("spikes", spikes_fields(), [](Config& c) -> SpikesConfig& { return c.spikes; });
  append("non_finite", non_finite_fields(), [](Config& c) -> NonFiniteConfig& { return c.non_finite; });
  append("sharpness", sharpness_fields(), [](Config& c) -> SharpnessConfig& { return c.sharpness; });
}

}  // namespace plumb::detail
