// The text of `plumb check`.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "check_report.h"
#include "core/error.h"
#include "placement_text.h"

namespace plumb {
namespace {

std::string number(double value) {
  if (std::isnan(value)) return "n/a";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  if (value != 0 && (std::abs(value) >= 1e5 || std::abs(value) < 1e-3)) return fmt::format("{:.2e}", value);
  return fmt::format("{:.4g}", value);
}

/// The same with three digits, for tables.
std::string three_digits(double value) {
  const double size = std::abs(value);
  if (!std::isfinite(value) || value == 0 || size >= 1e5 || size < 1e-3) return number(value);
  return size >= 1000 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

/// Columns, the first to the left, the others to the right.
class Table {
 public:
  void row(std::vector<std::string> cells) {
    widths_.resize(std::max(widths_.size(), cells.size()), 0);
    for (std::size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], cells[i].size());
    rows_.push_back(std::move(cells));
  }
  std::string text() const {
    std::string out;
    for (const auto& cells : rows_) {
      std::string line = "  ";
      for (std::size_t i = 0; i < cells.size(); ++i) {
        line += i == 0 ? fmt::format("{:<{}}", cells[i], widths_[i])
                       : fmt::format("  {:>{}}", cells[i], widths_[i]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + "\n";
    }
    return out;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> widths_;
};

/// Lines of at most 98 characters after two spaces.
std::string wrapped(const std::string& text) {
  std::string out, line = " ";
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    if (line.size() + 1 + (end - begin) > 100) {
      out += line + "\n";
      line = "   ";
    }
    line += " " + text.substr(begin, end - begin);
    begin = end + 1;
  }
  return out + line + "\n";
}

std::string title(const CheckReport& report) {
  const ModelConfig& model = report.description.config.model;
  const auto sublayers = report.model.sublayers.size();
  return fmt::format(
      "plumb check {}\n{} blocks, {} sublayers of width {}; {} on {}; {} of {} sequences of {} tokens\n",
      report.config, model.blocks, sublayers, model.width, name_of(report.compute), report.backend,
      report.seeds.size() == 1 ? "1 seed" : fmt::format("{} seeds", report.seeds.size()), report.sequences,
      model.sequence_length);
}

std::string placement_section(const CheckReport& report) {
  const Placement* row = report.description.row;
  std::string out = fmt::format("\nPLACEMENT, from {}\n", report.description.config.model.placement);
  if (row != nullptr) out += wrapped(fmt::format("the row itself: {} ({})", row->formula, row->citation));
  out += equations_text(report.description);
  if (report.ends_ramps)
    out += wrapped("coefficients that rise over time are taken at the end of their ramp");
  return out;
}

/// The fit that the class is named after.
const GrowthFit& fit_of(const Growth& growth) {
  if (growth.growth_class == GrowthClass::Linear) return growth.fits[static_cast<int>(GrowthModel::Linear)];
  if (growth.growth_class == GrowthClass::Quadratic) {
    return growth.fits[static_cast<int>(GrowthModel::Quadratic)];
  }
  return growth.best();
}

/// Var_k in the words of the fitted model.
std::string constants_text(const Growth& growth, double start, double sublayers) {
  if (growth.growth_class == GrowthClass::Unknown || growth.growth_class == GrowthClass::NotFinite) return "";
  const GrowthFit& fit = fit_of(growth);
  switch (fit.model) {
    case GrowthModel::Constant:
      return fmt::format("Var_k = {}", number(start + fit.scale));
    case GrowthModel::Saturating:
      return fmt::format("Var_k goes to {}, 95 % of it by k = {}",
                         number(start + fit.scale / -std::expm1(-1 / fit.parameter)),
                         number(3 * fit.parameter * sublayers));
    case GrowthModel::Linear:
      return fmt::format("Var_k = {} + {} k", number(start), number(fit.scale / sublayers));
    case GrowthModel::Power:
      return fmt::format("Var_k = {} + {} k^{}", number(start),
                         number(fit.scale / std::pow(sublayers, fit.parameter)), number(fit.parameter));
    case GrowthModel::Quadratic:
      return fmt::format("Var_k = {} + {} k^2", number(start), number(fit.scale / (sublayers * sublayers)));
    case GrowthModel::Exponential:
      return fmt::format("Var_k grows by {} per sublayer", number(std::exp(fit.parameter / sublayers)));
  }
  return "";
}

std::string growth_section(const CheckReport& report) {
  const auto sublayers = static_cast<double>(report.model.sublayers.size());
  const DepthPrediction& p = report.prediction;
  std::string out = "\nGROWTH WITH DEPTH, at init\n";
  if (!p.available()) {
    out += wrapped("predicted  n/a: " + p.reason);
  } else {
    out += wrapped(fmt::format("predicted  {}; {}; log2(Var_K / Var_K/2) = {}; |dL/dx_0| / |dL/dx_K| = {}",
                               growth_text(p.growth), constants_text(p.growth, p.stream.front(), sublayers),
                               number(doubling_exponent(p.stream)), number(p.gradient_ratio())));
  }
  const MeanAndDeviation exponent = exponent_of(report);
  out += wrapped(fmt::format(
      "measured   {}; {}; log2(Var_K / Var_K/2) = {} +- {}; |dL/dx_0| / |dL/dx_K| = {}",
      growth_text(report.growth), constants_text(report.growth, report.mean.variance.front(), sublayers),
      number(exponent.mean), number(exponent.deviation), number(gradient_ratio(report.mean))));
  out += wrapped("chosen by  " + growth_basis(report.growth));
  return out;
}

/// 0, 1, 2 and then eighths of the depth.
std::vector<std::size_t> shown_levels(std::size_t sublayers) {
  std::vector<std::size_t> levels;
  for (std::size_t k = 0; k <= sublayers; ++k) {
    const bool is_eighth = sublayers <= 10 || k * 8 / sublayers != (k == 0 ? 9 : (k - 1) * 8 / sublayers);
    if (k <= 2 || is_eighth) levels.push_back(k);
  }
  return levels;
}

std::string profile_section(const CheckReport& report) {
  const DepthPrediction& p = report.prediction;
  const InitialPass& mean = report.mean;
  Table table;
  table.row(
      {"after", "k", "Var pred.", "Var", "data Var", "mean|x|", "max|x|", "grad pred.", "grad", "row/bound"});
  for (const std::size_t k : shown_levels(report.model.sublayers.size())) {
    const double bound = report.bound.bound[k];
    table.row({k == 0 ? "embedding" : report.model.sublayers[k - 1].name, fmt::format("{}", k),
               p.available() ? three_digits(p.stream[k]) : "n/a", three_digits(mean.variance[k]),
               three_digits(mean.data_variance[k]), three_digits(mean.mean_abs[k]),
               three_digits(mean.max_abs[k]), p.available() ? three_digits(p.gradient[k]) : "n/a",
               three_digits(mean.gradient_norm[k] / mean.gradient_norm.back()),
               three_digits(report.passes.front().max_row_norm[k] / bound)});
  }
  return "\nPROFILE (grad: |dL/dx_k| / |dL/dx_K|; row/bound: the largest row, first seed)\n" + table.text();
}

std::string bounds_section(const CheckReport& report) {
  std::string out = "\nBOUNDS\n";
  const StreamBound& bound = report.bound;
  const std::size_t last = bound.bound.size() - 1;
  if (std::isnan(bound.bound[last])) {
    out += wrapped("n/a at the top: " + bound.reason[last]);
  } else {
    const double row = report.passes.front().max_row_norm[last];
    out +=
        wrapped(fmt::format("|x_K| <= {} by {}; the largest row is {}, {} of it", number(bound.bound[last]),
                            name_of(bound.source[last]), number(row), number(row / bound.bound[last])));
    if (bound.source[last] == BoundSource::OperatorNorms) {
      out += wrapped("the bound moves with the weights: no norm stands between a branch and the stream");
    }
  }
  if (!report.tightness.matrix.empty()) {
    const NormTightness& t = report.tightness;
    out += wrapped(fmt::format("operator norms are bounds from above: {} {}, the power method reaches {}",
                               t.matrix, number(t.bound), number(t.estimate)));
  }
  for (const BoundViolation& violation : report.violations)
    out += wrapped("VIOLATED: " + message_of(violation));
  EllipsoidCheck ellipsoid;
  std::int64_t failures = 0;
  for (const InitialPass& pass : report.passes) {
    ellipsoid.rows += pass.ellipsoid.rows;
    ellipsoid.small_rows += pass.ellipsoid.small_rows;
    if (!(pass.ellipsoid.worst <= ellipsoid.worst)) ellipsoid.worst = pass.ellipsoid.worst;
    failures += pass.ellipsoid_failures;
  }
  if (ellipsoid.rows > 0) {
    out += wrapped(
        fmt::format("{} normed rows lie on their ellipsoid within {}{}; {} with variance below 10 eps",
                    ellipsoid.rows, number(ellipsoid.worst),
                    failures > 0 ? fmt::format(", {} norms do NOT", failures) : "", ellipsoid.small_rows));
  }
  return out;
}

std::string depth_text(double depth, double sublayers) {
  if (depth * sublayers > 1e6) return "at no depth that is ever built";
  return fmt::format("at {} sublayers", number(std::ceil(depth * sublayers)));
}

std::string head_room_section(const CheckReport& report) {
  const auto sublayers = static_cast<double>(report.model.sublayers.size());
  std::string out = "\nHEAD-ROOM at init, the profile extrapolated to other depths\n";
  out += wrapped(fmt::format("fp16  largest |x| is {}, {} of 65504; it would overflow {}",
                             number(report.fp16.largest), number(report.fp16.share),
                             depth_text(report.fp16.overflow_depth, sublayers)));
  out +=
      wrapped(fmt::format("bf16  rounding of x is {} of what a branch adds; branches would be lost {}",
                          number(report.bf16.rounding), depth_text(report.bf16.rounding_depth, sublayers)));
  return out;
}

/// "9.85 / 10.4": predicted, measured.
std::string both(bool is_predicted, double prediction, double measurement) {
  return (is_predicted ? three_digits(prediction) : "n/a") + " / " + three_digits(measurement);
}

std::string steps_section(const CheckReport& report) {
  Table table;
  table.row({"b", "T = K b", "growth", "Var_K/Var_0", "p", "gradient", "worst RMS"});
  for (const CheckedStep& step : report.steps) {
    const DepthPrediction& p = step.row.prediction;
    const bool known = p.available();
    const std::vector<double>& variance = step.pass.variance;
    table.row(
        {step.row.choice.name, three_digits(step.row.time),
         fmt::format("{} / {}", known ? growth_class_name(p.growth.growth_class) : "n/a",
                     growth_class_name(step.growth.growth_class)),
         both(known, known ? p.stream.back() / p.stream.front() : 0, variance.back() / variance.front()),
         both(known, known ? doubling_exponent(p.stream) : 0, doubling_exponent(variance)),
         both(known, known ? p.gradient_ratio() : 0, gradient_ratio(step.pass)),
         three_digits(step.row.worst_rms)});
  }
  return "\nSTEP SIZE: every b set to one number, predicted / measured (first seed). p: log2(Var_K / "
         "Var_K/2);\n"
         "gradient: |dL/dx_0| / |dL/dx_K|; worst RMS: of the stream if all branches point one way, under "
         "N_out\n" +
         table.text();
}

std::string verdict_section(const CheckReport& report) {
  std::string out = fmt::format("\nVERDICT: {}\n", name_of(report.judgement.verdict));
  for (const RuleOutcome* reason : report.judgement.reasons()) out += wrapped(text_of(*reason));
  if (report.judgement.verdict == Verdict::Regular) {
    out += wrapped(
        fmt::format("none of {} rules fires (docs/design/theory.md); this is about init, not about training",
                    verdict_rules().size()));
  }
  return out;
}

}  // namespace

std::string check_text(const CheckReport& report) {
  return title(report) + placement_section(report) + growth_section(report) + profile_section(report) +
         bounds_section(report) + head_room_section(report) + steps_section(report) + verdict_section(report);
}

}  // namespace plumb
