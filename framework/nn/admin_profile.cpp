#include "nn/admin_profile.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/error.h"

namespace plumb {
namespace {

/// Count, sum and sum of squares of all entries of tensors.
class Spread {
 public:
  Spread(Engine& engine, std::int64_t width)
      : engine_(engine), width_(width), memory_(engine.backend().allocate(bytes())) {
    auto* base = static_cast<double*>(memory_.data());
    const auto column = [&](std::int64_t place) {
      return Tensor(base + kMomentScalars + place * width_, DType::Float64, {width_});
    };
    view_ = {Tensor(base, DType::Float64, {kMomentScalars}), column(0), column(1), column(2)};
  }

  void clear() {
    Tensor all(memory_.data(), DType::Float64, {kMomentScalars + 3 * width_});
    engine_.backend().elementwise().fill(engine_.stream(), all, 0);
  }
  void add(const Tensor& x) {
    engine_.backend().moments().moments(
        engine_.stream(),
        {.x = x, .moments = view_, .workspace = engine_.context(nullptr, true).workspace()});
  }
  std::array<double, 3> sums() {
    std::vector<double> host(bytes() / sizeof(double));
    engine_.backend().download(engine_.stream(), memory_.data(), host.data(), bytes());
    engine_.stream().synchronize();
    double sum = 0;
    for (std::int64_t i = 0; i < width_; ++i) sum += host[static_cast<std::size_t>(kMomentScalars + i)];
    return {host[kMomentRows] * static_cast<double>(width_), sum, host[kMomentSumSquares]};
  }

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(kMomentScalars + 3 * width_) * sizeof(double); }

  Engine& engine_;
  std::int64_t width_;
  Buffer memory_;
  MomentsView view_;
};

double variance(double count, double sum, double square) {
  const double mean = sum / count;
  return square / count - mean * mean;
}

void set_all_entries(Engine& engine, const Parameter& parameter, double value) {
  engine.backend().elementwise().fill(engine.stream(), parameter.value, value);
}

}  // namespace

void profile_admin_skips(Engine& engine, const ProfileBatches& batches) {
  const Transformer& model = engine.model();
  Spread stream(engine, model.config().width), branch(engine, model.config().width);
  double omega = 1;
  for (std::int64_t k = 0; k < model.sublayers(); ++k) {
    Parameter* skip = model.sublayer(k).skip_parameter();
    PLUMB_CHECK(skip != nullptr, "sublayer {} has no trained skip of its own", k);
    set_all_entries(engine, *skip, omega);
    stream.clear();
    branch.clear();
    for (std::int64_t batch = 0; batch < batches.count; ++batch) {
      // With one micro-batch the state before sublayer k is still there.
      if (batches.count > 1 || k == 0) {
        batches.load(batch);
        engine.forward_embedding(/*training=*/true);
        for (std::int64_t below = 0; below < k; ++below) engine.forward_sublayer(below, /*training=*/true);
      }
      engine.forward_sublayer(k, /*training=*/true);
      const Context context = engine.context(nullptr, true);
      stream.add(model.stream(context, k));
      branch.add(model.sublayer(k).branch_output(context));
    }
    std::array<double, 6> sums{};
    const auto x = stream.sums(), z = branch.sums();
    std::copy(x.begin(), x.end(), sums.begin());
    std::copy(z.begin(), z.end(), sums.begin() + 3);
    batches.sum_over_ranks(sums);
    const double b = model.sublayer(k).step_start();
    omega = std::sqrt(omega * omega * variance(sums[0], sums[1], sums[2]) +
                      b * b * variance(sums[3], sums[4], sums[5]));
  }
  engine.parameters().refresh_compute(engine.stream());
}

}  // namespace plumb
