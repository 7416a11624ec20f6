#include "initial_pass.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "config/batch.h"
#include "core/error.h"
#include "core/maximum.h"
#include "stability/statistics_table.h"
#include "training_loop.h"

namespace plumb {
namespace {

constexpr std::int64_t kSampledRows = 64;
constexpr int kLossScaleTries = 40;

template <class T>
void widen(const std::vector<char>& bytes, std::vector<double>& values) {
  const auto* source = reinterpret_cast<const T*>(bytes.data());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if constexpr (std::is_same_v<T, double>) {
      values[i] = source[i];
    } else {
      values[i] = static_cast<double>(static_cast<float>(source[i]));
    }
  }
}

/// The first `rows` rows of a tensor on the device, in float64.
std::vector<double> host_rows(Engine& engine, const Tensor& tensor, std::int64_t rows) {
  const Tensor part = tensor.row_range(0, std::min(rows, tensor.rows()));
  PLUMB_CHECK(part.contiguous(), "rows of {} are not contiguous", to_string(tensor.shape));
  std::vector<char> bytes(part.bytes());
  engine.backend().download(engine.stream(), part.data, bytes.data(), bytes.size());
  engine.stream().synchronize();
  std::vector<double> values(static_cast<std::size_t>(part.elements()));
  switch (tensor.dtype) {
    case DType::Float64:
      widen<double>(bytes, values);
      break;
    case DType::Float32:
      widen<float>(bytes, values);
      break;
    case DType::BFloat16:
      widen<bfloat16>(bytes, values);
      break;
    case DType::Float16:
      widen<float16>(bytes, values);
      break;
    default:
      fail("activations of {}", name_of(tensor.dtype));
  }
  return values;
}

/// (|sum_t x_t / |x_t||^2 - T) / (T (T - 1)), averaged over sequences.
double token_similarity(Engine& engine) {
  const ModelShape shape = engine.model().shape();
  const Context context = engine.context(nullptr, true);
  const std::vector<double> x = host_rows(engine, engine.model().stream(context, 0), shape.rows());
  const auto width = x.size() / static_cast<std::size_t>(shape.rows());
  const auto tokens = static_cast<std::size_t>(shape.tokens);
  if (tokens < 2) return 0;
  double similarity = 0;
  for (std::size_t sequence = 0; sequence < x.size() / (width * tokens); ++sequence) {
    std::vector<double> sum(width, 0.0);
    for (std::size_t t = 0; t < tokens; ++t) {
      const auto row = std::span(x).subspan((sequence * tokens + t) * width, width);
      const double size = norm_of(row);
      for (std::size_t i = 0; i < width; ++i) sum[i] += size > 0 ? row[i] / size : 0;
    }
    const auto count = static_cast<double>(tokens);
    similarity +=
        (std::pow(norm_of(sum), 2) - count) / (count * (count - 1)) / static_cast<double>(shape.batch);
  }
  return similarity;
}

/// From how often two targets of a sequence are equal, over the first sequences.
double target_similarity(const SequenceSource& source, std::int64_t sequences, double vocabulary) {
  const std::int64_t rows = std::min(sequences, kSampledRows);
  Batch batch;
  fill_batch(source, 0, rows, batch);
  const std::size_t tokens = batch.targets.size() / static_cast<std::size_t>(rows);
  double equal = 0, pairs = 0;
  for (std::size_t first = 0; first < batch.targets.size(); first += tokens) {
    std::map<std::int32_t, double> counts;
    for (std::size_t t = 0; t < tokens; ++t) counts[batch.targets[first + t]] += 1;
    for (const auto& [token, count] : counts) equal += count * (count - 1);
    pairs += static_cast<double>(tokens) * static_cast<double>(tokens - 1);
  }
  if (pairs == 0 || vocabulary < 2) return 0;
  return std::max(0.0, (equal / pairs - 1 / vocabulary) / (1 - 1 / vocabulary));
}

/// What the row statistics of a norm are kept in explains this much of an error of |x_hat|^2, besides what
/// the entries' own mean and variance lose in the forward pass.
double ellipsoid_tolerance(DType master) { return master == DType::Float64 ? 1e-9 : 1e-3; }

void check_norm(Engine& engine, const NormLayer& norm, const Tensor& entered, InitialPass& pass) {
  const bool divides =
      norm.kind() == NormKind::LayerNorm || norm.kind() == NormKind::RmsNorm || norm.kind() == NormKind::L2;
  if (!norm.present() || !divides) return;
  const Context context = engine.context(nullptr, true);
  const std::vector<double> x = host_rows(engine, entered, kSampledRows);
  const EllipsoidCheck check = check_ellipsoid(norm.kind(), norm.epsilon(), entered.cols(), x,
                                               host_rows(engine, norm.row_mean(context), kSampledRows),
                                               host_rows(engine, norm.row_rstd(context), kSampledRows));
  pass.ellipsoid.rows += check.rows;
  pass.ellipsoid.small_rows += check.small_rows;
  pass.ellipsoid.worst = maximum_or_nan(pass.ellipsoid.worst, check.worst);
  const DType master = norm.row_rstd(context).dtype;
  pass.ellipsoid_failures += check.worst <= ellipsoid_tolerance(master) ? 0 : 1;
}

void check_norms(Engine& engine, InitialPass& pass) {
  if (engine.model().config().streams.kind != "single") return;
  const Context context = engine.context(nullptr, true);
  const auto per_block = static_cast<std::int64_t>(engine.model().config().block.size());
  for (std::int64_t k = 0; k < engine.model().sublayers(); ++k) {
    const Sublayer& sublayer = engine.model().sublayer(k);
    const std::int64_t read = sublayer.reads_block_input() ? k - k % per_block : k;
    check_norm(engine, sublayer.norm_in(), engine.model().stream(context, read), pass);
    if (sublayer.norm_out().present()) {
      check_norm(engine, sublayer.norm_out(), sublayer.norm_out_input(context), pass);
    }
  }
}

InitialPass profiles_of(const StepRecord& record) {
  const auto profile = [&record](std::string_view name) {
    const auto values = record.of(log_file::kStability, fmt::format("profiles.{}", name));
    return std::vector<double>(values.begin(), values.end());
  };
  InitialPass pass;
  pass.loss = record.loss;
  pass.variance = profile("stream.entry_variance");
  pass.mean_abs = profile("stream.mean_abs");
  pass.data_variance = profile("stream.data_variance");
  pass.max_abs = profile("stream.max_abs");
  pass.rms = profile("stream.rms");
  pass.max_row_norm = profile("stream.max_row_norm");
  pass.gradient_norm = profile("stream.gradient_norm");
  pass.branch_rms = profile("branch.rms");
  return pass;
}

double mean(const std::vector<InitialPass>& passes, const auto& value, bool geometric) {
  double sum = 0;
  for (const InitialPass& pass : passes) sum += geometric ? std::log(value(pass)) : value(pass);
  sum /= static_cast<double>(passes.size());
  return geometric ? std::exp(sum) : sum;
}

}  // namespace

double InitialPass::not_finite() const {
  double count = std::isfinite(loss) ? 0 : 1;
  for (const auto* profile :
       {&variance, &mean_abs, &data_variance, &max_abs, &rms, &max_row_norm, &gradient_norm, &branch_rms}) {
    count += static_cast<double>(
        std::count_if(profile->begin(), profile->end(), [](double value) { return !std::isfinite(value); }));
  }
  return count;
}

InitialPass run_initial_pass(Session& session, const InitialModel& model, HostParameters* parameters) {
  const BatchShare share = check_batch(model.loaded, session.world());
  LoadedConfig loaded = model.loaded;
  loaded.config.compute.recompute = "none";  // the activations of the whole pass are looked at after it
  TrainingLoop loop(session, loaded, share, model.task, model.backend, model.compute);
  loop.start();
  Engine& engine = loop.engine();
  if (parameters != nullptr) {
    *parameters = download_parameters(model.backend, engine.stream(), engine.parameters());
  }
  const StepRecord* record = &loop.single_step();
  for (int tries = 0;
       record->skipped && record->next_loss_scale < record->loss_scale && tries < kLossScaleTries; ++tries) {
    record = &loop.single_step();
  }
  InitialPass pass = profiles_of(*record);
  if (model.loaded.config.model.streams.kind == "single") pass.similarity = token_similarity(engine);
  pass.gradient_similarity = target_similarity(*model.task.train, share.global_sequences,
                                               static_cast<double>(model.task.vocabulary));
  check_norms(engine, pass);
  return pass;
}

InitialPass mean_of(const std::vector<InitialPass>& passes) {
  InitialPass result = passes.front();
  const auto average = [&](std::vector<double> InitialPass::*profile, bool geometric) {
    for (std::size_t k = 0; k < (result.*profile).size(); ++k) {
      (result.*profile)[k] = mean(
          passes, [&](const InitialPass& pass) { return (pass.*profile)[k]; }, geometric);
    }
  };
  for (const auto profile : {&InitialPass::variance, &InitialPass::mean_abs, &InitialPass::data_variance,
                             &InitialPass::rms, &InitialPass::gradient_norm, &InitialPass::branch_rms}) {
    average(profile, true);
  }
  for (const InitialPass& pass : passes) {
    for (const auto profile : {&InitialPass::max_abs, &InitialPass::max_row_norm}) {
      for (std::size_t k = 0; k < (result.*profile).size(); ++k) {
        (result.*profile)[k] = maximum_or_nan((result.*profile)[k], (pass.*profile)[k]);
      }
    }
  }
  result.loss = mean(
      passes, [](const InitialPass& pass) { return pass.loss; }, false);
  result.similarity = mean(
      passes, [](const InitialPass& pass) { return pass.similarity; }, false);
  result.gradient_similarity = mean(
      passes, [](const InitialPass& pass) { return pass.gradient_similarity; }, false);
  return result;
}

}  // namespace plumb
