#include "theory/stream_bound.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "theory/norm_size.h"

namespace plumb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

std::optional<double> slot_size(const ResolvedSublayer& sublayer, const ModelConfig& model,
                                const NormConfig& norm, const char* slot, const HostParameters& parameters) {
  return norm_size(norm, norm_kind_of(norm, model),
                   {.name = sublayer.name + ".norm_" + slot, .width = model.width}, parameters);
}

double dropout_factor(const ResolvedModel& model, bool training) {
  return training ? 1 / (1 - model.config.dropout_branch) : 1;
}

/// The bound of a sublayer's branch before dropout, given those of the stream it reads.
struct BranchSize {
  double value = kNaN;
  std::string reason{};
};

BranchSize branch_size(const ResolvedSublayer& sublayer, const SublayerTerms& terms,
                       const StreamBound& bound) {
  if (terms.out) return {*terms.out};
  if (!terms.branch.proved) return {kNaN, sublayer.name + ": " + terms.branch.reason};
  if (terms.in) return {terms.branch.at(terms.sizes.c * *terms.in)};
  const std::size_t read =
      index(sublayer.reads_block_input() ? sublayer.block_start : sublayer.position.sublayer);
  return {terms.branch.at(terms.sizes.c * bound.bound[read]), bound.reason[read]};
}

}  // namespace

std::vector<SublayerTerms> bound_terms(const ResolvedModel& model, const HostParameters& parameters,
                                       const CoefficientTime& time, bool with_operator_norms) {
  std::vector<SublayerTerms> list;
  for (const ResolvedSublayer& sublayer : model.sublayers) {
    const SublayerNorms& norms = sublayer.config.norm;
    SublayerTerms terms;
    terms.sizes = coefficient_sizes(sublayer, model.width(), parameters, time);
    terms.in = slot_size(sublayer, model.config, norms.in, "in", parameters);
    terms.out = slot_size(sublayer, model.config, norms.out, "out", parameters);
    terms.post = slot_size(sublayer, model.config, norms.post, "post", parameters);
    if (!terms.out && with_operator_norms) {
      terms.branch = branch_bound(sublayer, model.config, parameters, time);
    } else if (!terms.out) {
      terms.branch.reason = "no N_out, and operator norms were not asked for";
    }
    list.push_back(std::move(terms));
  }
  return list;
}

std::string_view name_of(BoundSource source) {
  switch (source) {
    case BoundSource::Start:
      return "x_0";
    case BoundSource::OutNorm:
      return "N_out";
    case BoundSource::PostNorm:
      return "N_post";
    case BoundSource::OperatorNorms:
      return "operator norms";
    case BoundSource::None:
      return "n/a";
  }
  return "";
}

double next_level(const SublayerTerms& terms, double stream, double block, double branch) {
  if (terms.post) return terms.sizes.p * *terms.post;
  const auto term = [](double coefficient, double bound) {
    return coefficient == 0 ? 0 : coefficient * bound;
  };
  return terms.sizes.p *
         (term(terms.sizes.a, stream) + term(terms.sizes.b, branch) + term(terms.sizes.e, block));
}

StreamBound stream_bound(const ResolvedModel& model, const std::vector<SublayerTerms>& terms, double start,
                         bool training, double allowance) {
  StreamBound result{{start}, {BoundSource::Start}, {""}};
  const std::string other = model.other_streams();
  const double dropout = dropout_factor(model, training);
  for (const ResolvedSublayer& sublayer : model.sublayers) {
    const SublayerTerms& term = terms[index(sublayer.position.sublayer)];
    const BranchSize branch = branch_size(sublayer, term, result);
    const std::size_t block = index(sublayer.block_start);
    const double next =
        other.empty() ? next_level(term, result.bound.back(), result.bound[block], branch.value * dropout)
                      : kNaN;
    BoundSource source = result.source.back();
    std::string reason = result.reason.back();
    if (!other.empty()) {
      reason = other;
    } else if (term.post) {
      source = BoundSource::PostNorm;
      reason.clear();
    } else {
      if (reason.empty() && std::isnan(next)) {
        const bool by_block = term.sizes.e != 0 && std::isnan(result.bound[block]);
        reason = by_block ? result.reason[block] : branch.reason;
      }
      if (!term.out && source != BoundSource::None) source = BoundSource::OperatorNorms;
      if (term.out && (source == BoundSource::Start || source == BoundSource::PostNorm)) {
        source = BoundSource::OutNorm;
      }
    }
    result.bound.push_back(next * (1 + allowance));
    result.source.push_back(std::isnan(next) ? BoundSource::None : source);
    result.reason.push_back(reason);
  }
  return result;
}

double rounding_allowance(DType compute) {
  switch (compute) {
    case DType::BFloat16:
      return 0x1p-7;
    case DType::Float16:
      return 0x1p-10;
    case DType::Float32:
      return 0x1p-20;
    default:
      return 0x1p-45;
  }
}

std::vector<double> exponential_envelope(const ResolvedModel& model, const std::vector<SublayerTerms>& terms,
                                         double start, bool training) {
  std::vector<double> envelope = {start};
  const double dropout = dropout_factor(model, training);
  for (const SublayerTerms& term : terms) {
    double constant = kNaN;  // K: |z| <= K (1 + |x|)
    if (term.out) {
      constant = *term.out;
    } else if (term.branch.proved && term.in) {
      constant = term.branch.at(term.sizes.c * *term.in);
    } else if (term.branch.proved && term.branch.quadratic == 0) {
      constant = std::max(term.branch.constant, term.branch.linear * term.sizes.c);
    }
    const bool plain = !term.post && term.sizes.e == 0 && model.other_streams().empty();
    const double factor =
        std::max(term.sizes.a, 1.0) + (term.sizes.b == 0 ? 0 : term.sizes.b * constant * dropout);
    const double next = (1 + envelope.back()) * std::max(term.sizes.p, 1.0) * factor - 1;
    envelope.push_back(plain ? next : kNaN);
  }
  return envelope;
}

std::vector<BoundViolation> violations(const ResolvedModel& model, std::span<const double> bound,
                                       std::span<const double> measured, std::int64_t step) {
  PLUMB_CHECK(measured.size() == bound.size(), "{} levels measured, {} bounded", measured.size(),
              bound.size());
  std::vector<BoundViolation> list;
  for (std::size_t k = 0; k < measured.size(); ++k) {
    if (!(measured[k] > bound[k])) continue;
    list.push_back({.level = static_cast<std::int64_t>(k),
                    .step = step,
                    .sublayer = k == 0 ? "embedding" : model.sublayers[k - 1].name,
                    .measured = measured[k],
                    .bound = bound[k]});
  }
  return list;
}

std::string message_of(const BoundViolation& violation) {
  return fmt::format("step {}: |x_{}| = {:.6g} after {} exceeds its bound {:.6g}", violation.step,
                     violation.level, violation.measured, violation.sublayer, violation.bound);
}

}  // namespace plumb
