// The JSON of `plumb check`. What is not known or not finite is null.
#include <cmath>
#include <nlohmann/json.hpp>

#include "check_report.h"

namespace plumb {
namespace {
using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (double value : values) list.push_back(number(value));
  return list;
}

Json growth_json(const Growth& growth) {
  Json json;
  json["class"] = growth_class_name(growth.growth_class);
  json["exponent"] = number(growth.exponent);
  json["exponent_low"] = number(growth.exponent_low);
  json["exponent_high"] = number(growth.exponent_high);
  json["total"] = number(growth.total);
  json["text"] = growth_text(growth);
  json["basis"] = growth_basis(growth);
  return json;
}

Json prediction_json(const DepthPrediction& p) {
  if (!p.available()) return {{"reason", p.reason}};
  Json json;
  json["growth"] = growth_json(p.growth);
  json["doubling_exponent"] = number(doubling_exponent(p.stream));
  json["gradient_ratio"] = number(p.gradient_ratio());
  json["variance"] = numbers(p.stream);
  json["branch_variance"] = numbers(p.branch);
  json["variance_before_out"] = numbers(p.before_out);
  json["alignment"] = numbers(p.alignment);
  json["backward_factor"] = numbers(p.backward_factor);
  json["gradient"] = numbers(p.gradient);
  return json;
}

/// |dL/dx_k|^2 / |dL/dx_{k+1}|^2, what DepthPrediction::backward_factor predicts.
std::vector<double> backward_factors(const InitialPass& pass) {
  std::vector<double> factors;
  for (std::size_t k = 0; k + 1 < pass.gradient_norm.size(); ++k) {
    factors.push_back(std::pow(pass.gradient_norm[k] / pass.gradient_norm[k + 1], 2));
  }
  return factors;
}

Json measured_json(const CheckReport& report) {
  const InitialPass& mean = report.mean;
  const MeanAndDeviation exponent = exponent_of(report);
  Json json;
  json["growth"] = growth_json(report.growth);
  json["doubling_exponent"] = number(exponent.mean);
  json["doubling_exponent_deviation"] = number(exponent.deviation);
  json["gradient_ratio"] = number(gradient_ratio(mean));
  json["loss"] = number(mean.loss);
  json["token_similarity"] = number(mean.similarity);
  json["gradient_token_similarity"] = number(mean.gradient_similarity);
  json["variance"] = numbers(mean.variance);
  json["data_variance"] = numbers(mean.data_variance);
  json["mean_abs"] = numbers(mean.mean_abs);
  json["max_abs"] = numbers(mean.max_abs);
  json["rms"] = numbers(mean.rms);
  json["branch_rms"] = numbers(mean.branch_rms);
  json["gradient_norm"] = numbers(mean.gradient_norm);
  json["backward_factor"] = numbers(backward_factors(mean));
  return json;
}

Json bound_json(const CheckReport& report) {
  Json json;
  json["row_norm"] = numbers(report.passes.front().max_row_norm);
  json["bound"] = numbers(report.bound.bound);
  json["source"] = Json::array();
  for (const BoundSource source : report.bound.source) json["source"].push_back(name_of(source));
  json["reason"] = report.bound.reason;
  json["violations"] = Json::array();
  for (const BoundViolation& violation : report.violations) {
    json["violations"].push_back({{"level", violation.level},
                                  {"sublayer", violation.sublayer},
                                  {"measured", number(violation.measured)},
                                  {"bound", number(violation.bound)},
                                  {"message", message_of(violation)}});
  }
  if (!report.tightness.matrix.empty()) {
    json["tightness"] = {{"matrix", report.tightness.matrix},
                         {"bound", number(report.tightness.bound)},
                         {"power_method_estimate", number(report.tightness.estimate)}};
  }
  return json;
}

Json head_room_json(const HeadRoom& room) {
  return {{"largest", number(room.largest)},
          {"share", number(room.share)},
          {"overflow_depth", number(room.overflow_depth)},
          {"rounding", number(room.rounding)},
          {"rounding_depth", number(room.rounding_depth)}};
}

Json steps_json(const CheckReport& report) {
  Json list = Json::array();
  for (const CheckedStep& step : report.steps) {
    Json json;
    json["name"] = step.row.choice.name;
    json["b"] = step.row.choice.step;
    json["time"] = step.row.time;
    json["worst_rms"] = number(step.row.worst_rms);
    json["predicted"] = prediction_json(step.row.prediction);
    json["measured"] = {{"growth", growth_json(step.growth)},
                        {"doubling_exponent", number(doubling_exponent(step.pass.variance))},
                        {"gradient_ratio", number(gradient_ratio(step.pass))},
                        {"variance", numbers(step.pass.variance)}};
    list.push_back(std::move(json));
  }
  return list;
}

Json verdict_json(const Judgement& judgement) {
  Json json;
  json["verdict"] = name_of(judgement.verdict);
  json["reasons"] = Json::array();
  for (const RuleOutcome* reason : judgement.reasons()) json["reasons"].push_back(text_of(*reason));
  json["rules"] = Json::array();
  for (const RuleOutcome& outcome : judgement.outcomes) {
    json["rules"].push_back({{"name", outcome.rule->name},
                             {"quantity", outcome.rule->quantity},
                             {"value", number(outcome.value)},
                             {"borderline", number(outcome.rule->borderline)},
                             {"pathological", number(outcome.rule->pathological)},
                             {"verdict", name_of(outcome.verdict)},
                             {"citation", outcome.rule->citation}});
  }
  return json;
}

}  // namespace

std::string check_json(const CheckReport& report) {
  const ModelConfig& model = report.description.config.model;
  Json json;
  json["config"] = report.config;
  json["placement"] = model.placement;
  json["blocks"] = model.blocks;
  json["sublayers"] = report.model.sublayers.size();
  json["width"] = model.width;
  json["backend"] = report.backend;
  json["compute_dtype"] = name_of(report.compute);
  json["seeds"] = report.seeds;
  json["sequences"] = report.sequences;
  json["ends_ramps"] = report.ends_ramps;
  json["equations"] = Json::array();
  for (const SublayerGroup& group : report.description.equations) {
    json["equations"].push_back({{"where", group.where}, {"lines", group.lines}});
  }
  json["verdict"] = verdict_json(report.judgement);
  json["predicted"] = prediction_json(report.prediction);
  json["measured"] = measured_json(report);
  json["bounds"] = bound_json(report);
  json["head_room"] = {{"fp16", head_room_json(report.fp16)}, {"bf16", head_room_json(report.bf16)}};
  json["steps"] = steps_json(report);
  return json.dump(2) + "\n";
}

}  // namespace plumb
