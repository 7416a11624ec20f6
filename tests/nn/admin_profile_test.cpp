// Admin's profiling pass: the recurrence written out with plain loops, and its independence of how the batch
// is split over micro-batches and ranks.
#include "nn/admin_profile.h"

#include <gtest/gtest.h>

#include <barrier>
#include <cmath>
#include <thread>

#include "backend/loader.h"
#include "core/error.h"
#include "core/rng.h"
#include "nn/placed_config.h"

namespace plumb::test {
namespace {

constexpr std::int64_t kSequences = 4, kTokens = 5, kWidth = 12;
constexpr int kVocabulary = 9;

ModelConfig admin_config(const std::vector<std::string>& more = {}) {
  std::vector<std::string> settings = {"model.blocks=3", "model.width=12", "model.heads=2",
                                       "model.sequence_length=5"};
  settings.insert(settings.end(), more.begin(), more.end());
  return load_placed("admin", settings).config.model;
}

/// An engine that takes `batch` of the sequences at a time.
struct Profiled {
  std::unique_ptr<Backend> backend = make_backend("reference");
  Engine engine;
  std::vector<std::int32_t> tokens;
  std::int64_t batch;

  Profiled(const ModelConfig& config, std::int64_t micro_batch)
      : engine(config, kVocabulary,
               {.batch = micro_batch, .tokens = kTokens, .compute = DType::Float64, .keep_branches = true}, 7,
               *backend),
        batch(micro_batch) {
    const RandomStream random{5, 0, 1};
    for (std::uint64_t i = 0; i < kSequences * kTokens; ++i) {
      tokens.push_back(static_cast<std::int32_t>(random.word(i) % kVocabulary));
    }
    engine.initialize();
    engine.begin_step(0);
  }
  void load(std::int64_t first_sequence) {
    const std::span<const std::int32_t> part(tokens.data() + first_sequence * kTokens,
                                             static_cast<std::size_t>(batch * kTokens));
    engine.upload_batch(part, part, static_cast<std::uint64_t>(first_sequence));
  }
  /// Profiles `count` micro-batches from a sequence on.
  void profile(
      std::int64_t count, std::int64_t first_sequence = 0,
      const std::function<void(std::span<double>)>& sum = [](std::span<double>) {}) {
    profile_admin_skips(engine, {.count = count,
                                 .load = [&](std::int64_t micro) { load(first_sequence + micro * batch); },
                                 .sum_over_ranks = sum});
  }
  double* value(const std::string& name) { return engine.parameters().find(name)->value.as<double>(); }
  /// One per sublayer; all entries of each must be the same.
  std::vector<double> omegas() {
    std::vector<double> list;
    for (std::int64_t k = 0; k < engine.model().sublayers(); ++k) {
      const double* omega = value(engine.model().sublayer(k).name() + ".a");
      for (std::int64_t i = 0; i < kWidth; ++i) EXPECT_EQ(omega[i], omega[0]) << "sublayer " << k;
      list.push_back(omega[0]);
    }
    return list;
  }
};

double variance(const std::vector<double>& x) {
  double mean = 0, square = 0;
  for (double v : x) mean += v / static_cast<double>(x.size());
  for (double v : x) square += (v - mean) * (v - mean) / static_cast<double>(x.size());
  return square;
}

std::vector<double> values_of(const Tensor& x) { return {x.as<double>(), x.as<double>() + x.elements()}; }

void expect_near(const std::vector<double>& measured, const std::vector<double>& expected) {
  ASSERT_EQ(measured.size(), expected.size());
  for (std::size_t k = 0; k < expected.size(); ++k) {
    EXPECT_NEAR(measured[k], expected[k], 1e-12) << "omega of sublayer " << k;
  }
}

// Linear sublayers, so that everything can be said in plain loops: z = W x + b, x' = LN(omega x + z),
// omega_{k+1}^2 = omega_k^2 Var(x_k) + Var(z_k) from omega_0 = 1 on, Var over all entries of the batch.
TEST(AdminProfile, OmegasFollowTheRecurrence) {
  ModelConfig config = admin_config();
  config.block = {"linear", "linear"};
  Profiled run(config, kSequences);
  run.profile(1);
  std::vector<double> x = values_of(run.engine.model().stream(run.engine.context(nullptr, true), 0));
  std::vector<double> expected;
  double omega = 1;
  for (std::int64_t k = 0; k < 6; ++k) {
    expected.push_back(omega);
    const std::string name = sublayer_name(config, k);
    const double *w = run.value(name + ".matrix.weight"), *b = run.value(name + ".matrix.bias");
    std::vector<double> z(x.size()), next(x.size());
    for (std::size_t row = 0; row < x.size() / kWidth; ++row) {
      double mean = 0, square = 0;
      for (std::size_t o = 0; o < kWidth; ++o) {
        double& out = z[row * kWidth + o];
        out = b[o];
        for (std::size_t i = 0; i < kWidth; ++i) out += w[o * kWidth + i] * x[row * kWidth + i];
        next[row * kWidth + o] = omega * x[row * kWidth + o] + out;
        mean += next[row * kWidth + o] / kWidth;
      }
      for (std::size_t o = 0; o < kWidth; ++o) square += std::pow(next[row * kWidth + o] - mean, 2) / kWidth;
      for (std::size_t o = 0; o < kWidth; ++o) {
        double& out = next[row * kWidth + o];
        out = (out - mean) / std::sqrt(square + 1e-5);
      }
    }
    omega = std::sqrt(omega * omega * variance(x) + variance(z));
    x = next;
  }
  EXPECT_GT(expected.back(), 1.5) << "the branches must add up";
  expect_near(run.omegas(), expected);
}

// Real branches: with the omegas in place, one pass has exactly the variances that made them.
TEST(AdminProfile, OmegasAreThoseOfThePassThatUsesThem) {
  for (const double step : {1.0, 0.3}) {
    SCOPED_TRACE(step);
    Profiled run(admin_config({fmt::format("model.residual.b.value={}", step)}), kSequences);
    run.profile(1);
    run.load(0);
    run.engine.forward_embedding(true);
    std::vector<double> expected = {1};
    for (std::int64_t k = 0; k < 6; ++k) {
      run.engine.forward_sublayer(k, true);
      const Context context = run.engine.context(nullptr, true);
      const double omega = expected.back();
      const double branch = variance(values_of(run.engine.model().sublayer(k).branch_output(context)));
      expected.push_back(std::sqrt(
          omega * omega * variance(values_of(run.engine.model().stream(context, k))) + step * step * branch));
    }
    expected.pop_back();
    expect_near(run.omegas(), expected);
  }
}

// A step that grows from 0 counts with what it grows to.
TEST(AdminProfile, LeavesTheFactorOverTimeOut) {
  Profiled ramp(admin_config({"model.residual.b.time=branchnorm", "model.residual.b.ramp_steps=10"}),
                kSequences);
  Profiled plain(admin_config(), kSequences);
  ramp.profile(1);
  plain.profile(1);
  EXPECT_EQ(ramp.omegas()[1], plain.omegas()[1]);
  EXPECT_GT(ramp.omegas()[5], 1.2);
}

TEST(AdminProfile, DoesNotDependOnTheMicroBatches) {
  for (const char* dropout : {"model.dropout.branch=0.0", "model.dropout.branch=0.3"}) {
    const ModelConfig config = admin_config({dropout});
    Profiled whole(config, 4), halves(config, 2), single(config, 1);
    whole.profile(1);
    halves.profile(2);
    single.profile(4);
    expect_near(halves.omegas(), whole.omegas());
    expect_near(single.omegas(), whole.omegas());
    Profiled part(config, 2);
    part.profile(1);
    EXPECT_GT(std::abs(part.omegas()[5] - whole.omegas()[5]), 1e-9)
        << "half of the batch has other variances";
  }
}

// Two ranks with half of the batch each, as threads that meet in every sum.
TEST(AdminProfile, DoesNotDependOnTheRanks) {
  const ModelConfig config = admin_config();
  Profiled whole(config, 4), ranks[] = {{config, 1}, {config, 1}};
  whole.profile(1);
  std::vector<double> sums[2];
  std::barrier meeting(2);
  const auto work = [&](std::size_t rank) {
    ranks[rank].profile(2, 2 * static_cast<std::int64_t>(rank), [&, rank](std::span<double> own) {
      sums[rank].assign(own.begin(), own.end());
      meeting.arrive_and_wait();
      for (std::size_t i = 0; i < own.size(); ++i) own[i] = sums[0][i] + sums[1][i];
      meeting.arrive_and_wait();
    });
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  EXPECT_EQ(ranks[0].omegas(), ranks[1].omegas());
  expect_near(ranks[0].omegas(), whole.omegas());
}

TEST(AdminProfile, ScalarSkipsAndNothingElse) {
  Profiled vector(admin_config(), 4), scalar(admin_config({"model.residual.a.trainable=scalar"}), 4);
  const auto before = values_of(scalar.engine.parameters().find("blocks.1.ffn.expand.weight")->value);
  vector.profile(1);
  scalar.profile(1);
  for (std::int64_t k = 0; k < 6; ++k) {
    EXPECT_NEAR(scalar.value(sublayer_name(admin_config(), k) + ".a")[0],
                vector.omegas()[static_cast<std::size_t>(k)], 1e-13);
  }
  EXPECT_EQ(values_of(scalar.engine.parameters().find("blocks.1.ffn.expand.weight")->value), before);
  EXPECT_EQ(scalar.value("blocks.1.ffn.norm_post.gain")[0], 1);
}

}  // namespace
}  // namespace plumb::test
