#include "stability/record_json.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace plumb {
namespace {

using Json = nlohmann::ordered_json;

/// Numbers of one record: JSON has no NaN and no infinity, so these become null and are listed.
class Numbers {
 public:
  Json number(const std::string& path, double value) {
    if (std::isfinite(value)) return value;
    nonfinite_.push_back({{"path", path}, {"kind", std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf"}});
    return nullptr;
  }
  Json array(const std::string& path, const std::vector<double>& values) {
    Json list = Json::array();
    for (std::size_t i = 0; i < values.size(); ++i) {
      list.push_back(number(fmt::format("{}[{}]", path, i), values[i]));
    }
    return list;
  }
  std::string line(Json record) {
    if (!nonfinite_.empty()) record["nonfinite"] = std::move(nonfinite_);
    return record.dump() + "\n";
  }

 private:
  Json nonfinite_ = Json::array();
};

Json extremes_json(Numbers& numbers, const std::string& path, const ProfileStatistics::Extremes& extremes) {
  return {{"mean_abs", numbers.array(path + ".mean_abs", extremes.mean_abs)},
          {"entry_variance", numbers.array(path + ".entry_variance", extremes.entry_variance)},
          {"max_abs", numbers.array(path + ".max_abs", extremes.max_abs)}};
}

Json profile_json(Numbers& numbers, const std::string& path, const ProfileStatistics& profile) {
  return {{"mean_abs", numbers.array(path + ".mean_abs", profile.mean_abs)},
          {"entry_variance", numbers.array(path + ".entry_variance", profile.entry_variance)},
          {"data_variance", numbers.array(path + ".data_variance", profile.data_variance)},
          {"max_abs", numbers.array(path + ".max_abs", profile.max_abs)},
          {"rms", numbers.array(path + ".rms", profile.rms)},
          {"max_row_norm", numbers.array(path + ".max_row_norm", profile.max_row_norm)},
          {"gradient_norm", numbers.array(path + ".gradient_norm", profile.gradient_norm)},
          {"overflows", numbers.array(path + ".overflows", profile.overflows)},
          {"interval_min", extremes_json(numbers, path + ".interval_min", profile.interval_min)},
          {"interval_max", extremes_json(numbers, path + ".interval_max", profile.interval_max)}};
}

/// A parameter that is still zero has no ratio: null, and nothing to report.
Json update_ratio_json(Numbers& numbers, const TensorStatistics& tensors) {
  Json list = Json::array();
  for (std::size_t i = 0; i < tensors.update_ratio.size(); ++i) {
    if (tensors.parameter_norm[i] == 0) {
      list.push_back(nullptr);
    } else {
      list.push_back(numbers.number(fmt::format("tensors.update_ratio[{}]", i), tensors.update_ratio[i]));
    }
  }
  return list;
}

Json tensors_json(Numbers& numbers, const TensorStatistics& tensors) {
  Json json = {{"grad_norm", numbers.array("tensors.grad_norm", tensors.gradient_norm)}};
  if (!tensors.local_min.empty()) {
    const std::string path = "tensors.grad_norm_local";
    json["grad_norm_local"] = {{"min", numbers.array(path + ".min", tensors.local_min)},
                               {"mean", numbers.array(path + ".mean", tensors.local_mean)},
                               {"max", numbers.array(path + ".max", tensors.local_max)},
                               {"std", numbers.array(path + ".std", tensors.local_std)},
                               {"argmax_rank", tensors.local_argmax_rank}};
  }
  json["update_ratio"] = update_ratio_json(numbers, tensors);
  json["parameter_norm"] = numbers.array("tensors.parameter_norm", tensors.parameter_norm);
  return json;
}

}  // namespace

std::string metrics_line(const StepRecord& record) {
  Numbers numbers;
  Json json = {{"step", record.step},
               {"tokens", record.tokens},
               {"data_cursor", record.data_cursor},
               {"loss", numbers.number("loss", record.loss)},
               {"lr", numbers.number("lr", record.learning_rate)},
               {"grad_norm", numbers.number("grad_norm", record.gradient_norm)},
               {"clip_coef", numbers.number("clip_coef", record.clip_coefficient)},
               {"skipped", record.skipped},
               {"tokens_per_s", numbers.number("tokens_per_s", record.tokens_per_second)},
               {"step_seconds", numbers.number("step_seconds", record.step_seconds)},
               {"log_z", numbers.number("log_z", record.log_z_mean)},
               {"log_z_squared", numbers.number("log_z_squared", record.log_z_mean_square)},
               {"max_logit", numbers.number("max_logit", record.max_logit)},
               {"max_abs", numbers.number("max_abs", record.max_abs)},
               {"overflows", numbers.number("overflows", record.overflows)},
               {"loss_scale", numbers.number("loss_scale", record.loss_scale)}};
  if (record.validation_loss) json["val_loss"] = numbers.number("val_loss", *record.validation_loss);
  if (record.validation_bits_per_byte) {
    json["val_bits_per_byte"] = numbers.number("val_bits_per_byte", *record.validation_bits_per_byte);
  }
  return numbers.line(std::move(json));
}

std::string stability_line(const StepRecord& record) {
  Numbers numbers;
  Json json = {{"step", record.step},
               {"profiles",
                {{"stream", profile_json(numbers, "profiles.stream", record.stream)},
                 {"branch", profile_json(numbers, "profiles.branch", record.branch)}}},
               {"tensors", tensors_json(numbers, record.tensors)}};
  return numbers.line(std::move(json));
}

std::string ranks_line(const StepRecord& record) {
  Numbers numbers;
  Json json = {{"step", record.step},
               {"loss", numbers.array("loss", record.rank_loss)},
               {"grad_norm", numbers.array("grad_norm", record.rank_gradient_norm)},
               {"step_seconds", numbers.array("step_seconds", record.rank_step_seconds)},
               {"wait_seconds", numbers.array("wait_seconds", record.rank_wait_seconds)}};
  return numbers.line(std::move(json));
}

std::string stability_header(const std::vector<std::string>& tensors,
                             const std::vector<std::string>& sublayers) {
  return Json{{"kind", "header"}, {"tensors", tensors}, {"sublayers", sublayers}}.dump() + "\n";
}

std::string event_line(std::string_view kind, std::int64_t step, std::string_view text,
                       std::string_view time) {
  // Text from outside (paths, system messages) may not be UTF-8: such bytes are replaced, not thrown at.
  return Json{{"step", step}, {"kind", kind}, {"text", text}, {"time", time}}.dump(
             -1, ' ', false, Json::error_handler_t::replace) +
         "\n";
}

}  // namespace plumb
