#include "theory/depth_prediction.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "nn/knob.h"
#include "theory/branch_moments.h"
#include "theory/random_span.h"

namespace plumb {
namespace {

constexpr double kSamePower = 0.02;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Coefficients at init; E of a Bernoulli factor is 1, of its square 1/keep.
struct Coefficients {
  double a = 1, b = 1, c = 1, e = 0, p = 1;
  double back_p = 1;         ///< of the gradient
  double branch_square = 1;  ///< E of the square of what else multiplies z: Bernoulli, dropout
};

Coefficients coefficients_of(const ResolvedSublayer& sublayer, const ModelConfig& model, bool training) {
  const SublayerKnobs& knobs = sublayer.config.residual;
  const auto start = [&](const KnobConfig& knob) { return knob_start(knob, sublayer.position, model.width); };
  Coefficients at{.a = start(knobs.a),
                  .b = start(knobs.b),
                  .c = start(knobs.c),
                  .e = start(knobs.e),
                  .p = start(knobs.p)};
  if (knobs.a.tie_to_branch) at.a = 1 - at.b;
  at.back_p = knobs.p.stop_gradient ? 1 : at.p;
  if (training) {
    at.branch_square = 1 / keep_probability(knobs.b, sublayer.position) / (1 - model.dropout_branch);
  }
  return at;
}

NormMoments slot(const NormConfig& norm, const ModelConfig& model, double square) {
  return norm_moments(norm, norm_kind_of(norm, model), model.width, square);
}

/// Correlation of the weights of two sublayers under W_k = rho W_0 + sqrt(1 - rho^2) E_k.
double weight_correlation(const ModelConfig& model, std::int64_t j, std::int64_t k) {
  const double rho = model.init.depth_correlation;
  const auto per_block = static_cast<std::int64_t>(model.block.size());
  if (rho == 0 || j % per_block != k % per_block) return 0;
  return j < per_block || k < per_block ? rho : rho * rho;
}

/// One pass up and one pass down.
class Recursion {
 public:
  Recursion(const ResolvedModel& model, const PredictionStart& start)
      : model_(model), training_(start.training) {
    const double variance = start.variance.value_or(embedding_variance(model.config, training_));
    stream_.push_back(span_.add(variance));
    result_.stream.push_back(variance);
    result_.similarity.push_back(start.similarity);
    gradient_similarity_ = start.gradient_similarity;
  }

  DepthPrediction run() {
    for (const ResolvedSublayer& sublayer : model_.sublayers) up(sublayer);
    Combination gradient = back_.add(1);
    result_.gradient.assign(result_.stream.size(), 1.0);
    result_.backward_factor.assign(model_.sublayers.size(), 1.0);
    for (auto sublayer = model_.sublayers.rbegin(); sublayer != model_.sublayers.rend(); ++sublayer) {
      gradient = down(*sublayer, gradient);
    }
    return std::move(result_);
  }

 private:
  /// What is kept of a sublayer for the way down and for later sublayers.
  struct Site {
    Coefficients at;
    BranchMoments branch;
    std::size_t read = 0;       ///< level of the stream that the branch reads
    double z_square = 0;        ///< before dropout and Bernoulli factors
    double outer_gain = 0;      ///< mean-square gain of what lies around the branch, from ds on
    double gradient_gain = 0;   ///< times that of the branch
    double post_gain = 1;       ///< amplitude gain of N_post and p, backward
    Combination gradient_read;  ///< ds
  };

  void up(const ResolvedSublayer& sublayer) {
    const ModelConfig& model = model_.config;
    const std::int64_t k = sublayer.position.sublayer;
    Site site;
    site.at = coefficients_of(sublayer, model, training_);
    site.read = index(sublayer.reads_block_input() ? sublayer.block_start : k);
    const Coefficients& at = site.at;

    const double read_square = result_.stream[site.read];
    const NormMoments in = slot(sublayer.config.norm.in, model, read_square);
    const TokenMoments entering{at.c * at.c * in.square, result_.similarity[site.read]};
    if (sublayer.kind == "attention" && first_values_ == 0) {
      first_values_ = value_square(sublayer, model, entering);
    }
    site.branch = branch_moments(sublayer, model, entering, first_values_, training_);
    const double y_square = site.branch.out.square;
    const NormMoments out = slot(sublayer.config.norm.out, model, y_square);
    site.z_square = out.square;
    site.outer_gain = at.b * at.b * at.branch_square * out.backward * at.c * at.c * in.backward;

    const Combination z = span_.add(site.z_square * at.branch_square, forward_products(site, k));
    const Combination& x = stream_.back();
    Combination s = scaled(x, at.a);
    add_scaled(s, at.b, z);
    if (at.e != 0) add_scaled(s, at.e, stream_[index(sublayer.block_start)]);
    const double s_square = span_.square(s);
    const NormMoments post = slot(sublayer.config.norm.post, model, s_square);
    const double next_square = at.p * at.p * post.square;
    site.post_gain = std::abs(at.back_p) * std::sqrt(post.backward);

    const double x_square = result_.stream.back();
    result_.branch.push_back(site.z_square);
    result_.before_out.push_back(y_square);
    result_.alignment.push_back(span_.product(x, z) /
                                std::sqrt(std::max(x_square * span_.square(z), 1e-300)));
    result_.stream.push_back(next_square);
    result_.similarity.push_back(next_similarity(sublayer, site, s_square));
    stream_.push_back(scaled(s, s_square > 0 ? std::sqrt(next_square / s_square) : 0));
    sites_.push_back(std::move(site));
  }

  /// E <z_j, z_k> of the new branch with the earlier ones: (basis vectors are x_0, z_0, z_1, ...).
  std::vector<double> forward_products(const Site& site, std::int64_t k) const {
    if (model_.config.init.depth_correlation == 0) return {};
    std::vector<double> products(span_.size(), 0.0);
    const std::vector<double> read_products = span_.products_with_basis(stream_[site.read]);
    for (std::int64_t j = 0; j < k; ++j) {
      const double weights = weight_correlation(model_.config, j, k);
      const Site& other = sites_[index(j)];
      const double squares = result_.stream[site.read] * result_.stream[other.read];
      if (weights == 0 || squares == 0) continue;
      const double cosine = dot(stream_[other.read], read_products) / std::sqrt(squares);
      products[index(j) + 1] =
          output_correlation(site, other, weights, cosine) * std::sqrt(site.z_square * other.z_square);
    }
    return products;
  }

  /// Of z_j and z_k whose inputs have this cosine.
  static double output_correlation(const Site& x, const Site& y, double weights, double cosine) {
    if (!x.branch.hidden.hermite.empty()) {
      return weights * x.branch.hidden.correlation(y.branch.hidden, weights * cosine);
    }
    return std::pow(weights, x.branch.matrices) * cosine;
  }

  /// Covariances between tokens go the way of variances, branch and stream being as correlated as they are.
  double next_similarity(const ResolvedSublayer& sublayer, const Site& site, double s_square) const {
    if (s_square <= 0) return 0;
    const Coefficients& at = site.at;
    const double own = at.b * at.b * site.z_square, own_pairs = own * site.branch.out.similarity;
    const double kept = result_.similarity[index(sublayer.position.sublayer)];
    const double rest = s_square - own * at.branch_square;
    return std::min(1.0, std::max(0.0, (rest * kept + own_pairs) / s_square));
  }

  Combination down(const ResolvedSublayer& sublayer, const Combination& gradient) {
    const std::int64_t k = sublayer.position.sublayer;
    Site& site = sites_[index(k)];
    site.gradient_read = scaled(gradient, site.post_gain);
    const double read_square = back_.square(site.gradient_read);
    site.gradient_gain = site.outer_gain * site.branch.backward.own(gradient_similarity_);
    const Combination branch = back_.add(site.gradient_gain * read_square, backward_products(site, k));
    order_.push_back(k);
    Combination next = scaled(site.gradient_read, site.at.a);
    if (site.at.e != 0) add_scaled(block_gradient_, site.at.e, site.gradient_read);
    add_scaled(sublayer.reads_block_input() ? block_gradient_ : next, 1, branch);
    if (k == sublayer.block_start) {
      add_scaled(next, 1, block_gradient_);
      block_gradient_.clear();
    }
    const double below = back_.square(next), above = back_.square(gradient);
    // The branch's share with its own similarity, the rest with that from above.
    const double share = site.gradient_gain * read_square;
    const double pairs = site.outer_gain * read_square * site.branch.backward.pairs(gradient_similarity_);
    if (below > 0) {
      gradient_similarity_ = std::clamp(((below - share) * gradient_similarity_ + pairs) / below, 0.0, 1.0);
    }
    result_.gradient[index(k)] = std::sqrt(below);
    result_.backward_factor[index(k)] = above > 0 ? below / above : kNaN;
    return next;
  }

  std::vector<double> backward_products(const Site& site, std::int64_t k) const {
    if (model_.config.init.depth_correlation == 0) return {};
    std::vector<double> products(back_.size(), 0.0);
    const std::vector<double> read_products = back_.products_with_basis(site.gradient_read);
    const double own = back_.square(site.gradient_read);
    for (std::size_t i = 0; i < order_.size(); ++i) {
      const double weights = weight_correlation(model_.config, order_[i], k);
      const Site& other = sites_[index(order_[i])];
      const double gains = site.gradient_gain * other.gradient_gain;
      if (weights == 0 || gains == 0 || own == 0) continue;
      products[i + 1] = std::pow(weights, site.branch.matrices) * std::sqrt(gains) *
                        dot(other.gradient_read, read_products);
    }
    return products;
  }

  const ResolvedModel& model_;
  bool training_;
  RandomSpan span_, back_;
  std::vector<Combination> stream_;
  std::vector<Site> sites_;
  std::vector<std::int64_t> order_;  ///< sublayers in the order in which their gradients joined back_
  Combination block_gradient_;
  double first_values_ = 0;
  double gradient_similarity_ = 0;
  DepthPrediction result_;
};

}  // namespace

DepthPrediction predict_depth(const ResolvedModel& model, const PredictionStart& start) {
  DepthPrediction prediction;
  prediction.reason = model.other_streams();
  if (!prediction.available()) return prediction;
  prediction = Recursion(model, start).run();
  prediction.growth = classify_growth(prediction.stream);
  // A prediction has no noise: what is left of eps makes a power of 0.999 better than a line.
  Growth& growth = prediction.growth;
  if (growth.growth_class == GrowthClass::Power && std::abs(growth.exponent - 1) < kSamePower) {
    growth.growth_class = GrowthClass::Linear;
  } else if (growth.growth_class == GrowthClass::Power && std::abs(growth.exponent - 2) < kSamePower) {
    growth.growth_class = GrowthClass::Quadratic;
  }
  return prediction;
}

double doubling_exponent(const std::vector<double>& variance) {
  if (variance.size() < 3) return kNaN;
  return std::log2(variance.back() / variance[(variance.size() - 1) / 2]);
}

double backward_factor(const ResolvedSublayer& sublayer, const ModelConfig& model, double stream,
                       double before_out, double sum, double branch_gain, bool training) {
  const Coefficients at = coefficients_of(sublayer, model, training);
  const double in = slot(sublayer.config.norm.in, model, stream).backward;
  const double out = slot(sublayer.config.norm.out, model, before_out).backward;
  const double post = slot(sublayer.config.norm.post, model, sum).backward;
  return at.back_p * at.back_p * post *
         (at.a * at.a + at.b * at.b * at.branch_square * out * branch_gain * at.c * at.c * in);
}

}  // namespace plumb
