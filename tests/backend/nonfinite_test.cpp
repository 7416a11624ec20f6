// What is not finite: a maximum is NaN when one of its values is, and a masked pair contributes nothing.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <string>

#include "backend/op_test.h"

namespace plumb::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// 0.01, 0.02, ... with `value` at entry `place`; no one there when it is negative.
std::vector<double> ramp(std::int64_t elements, std::int64_t place, double value) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < elements; ++i)
    values.push_back(i == place ? value : 0.01 * static_cast<double>(1 + i % 100));
  return values;
}

class NotFinite : public testing::TestWithParam<Target> {
 protected:
  Bench bench_{shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype};

  Tensor tensor(const std::string& name, Shape shape, std::int64_t place = -1, double value = 0) {
    return bench_.constants(name, GetParam().dtype, shape, ramp(shape.elements(), place, value));
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, NotFinite, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

TEST_P(NotFinite, MomentsKeepNaN) {
  // One width that is and one that is not a multiple of a vector.
  for (const auto& [rows, cols, place] : std::vector<std::array<std::int64_t, 3>>{{5, 37, 0},
                                                                                  {5, 37, 20},
                                                                                  {5, 37, 36},
                                                                                  {5, 37, 3 * 37 + 5},
                                                                                  {5, 37, 5 * 37 - 1},
                                                                                  {9, 48, 5 * 48 + 20},
                                                                                  {9, 48, 9 * 48 - 1}}) {
    SCOPED_TRACE(fmt::format("entry {} of ({},{})", place, rows, cols));
    MomentsArguments arguments;
    arguments.x = tensor("x", Shape{rows, cols}, place, kNaN);
    arguments.moments = make_moments(bench_, "moments", cols);
    arguments.workspace = bench_.workspace(bench_.backend().moments().moments_workspace(arguments));
    bench_.backend().moments().moments(bench_.stream(), arguments);
    arguments.x = tensor("finite", Shape{rows, cols});  // what follows does not take it back
    bench_.backend().moments().moments(bench_.stream(), arguments);
    const std::vector<double> scalars = bench_.read(arguments.moments.scalars);
    EXPECT_EQ(scalars[kMomentRows], 2 * static_cast<double>(rows) + 0.25);
    EXPECT_EQ(scalars[kMomentOverflows], 1 + 0.25);
    for (int i = kMomentRows + 1; i < kMomentScalars; ++i)
      EXPECT_EQ(std::isnan(scalars[i]), i != kMomentOverflows) << i;
    const std::vector<double> column_sum = bench_.read(arguments.moments.column_sum);
    for (std::int64_t i = 0; i < cols; ++i)
      EXPECT_EQ(std::isnan(column_sum[static_cast<std::size_t>(i)]), i == place % cols) << i;
  }
}

TEST_P(NotFinite, MomentsOfInfinity) {
  MomentsArguments arguments;
  arguments.x = tensor("x", Shape{3, 20}, 25, -kInfinity);
  arguments.moments = make_moments(bench_, "moments", 0);
  arguments.workspace = bench_.workspace(bench_.backend().moments().moments_workspace(arguments));
  bench_.backend().moments().moments(bench_.stream(), arguments);
  const std::vector<double> scalars = bench_.read(arguments.moments.scalars);
  for (const int i :
       {kMomentSumAbs, kMomentSumSquares, kMomentSumFourth, kMomentMaxAbs, kMomentMaxRowSquares})
    EXPECT_EQ(scalars[static_cast<std::size_t>(i)], kInfinity) << i;
  EXPECT_EQ(scalars[kMomentSum], -kInfinity);
}

TEST_P(NotFinite, LargestEntriesHaveFiniteMoments) {
  const DType dtype = GetParam().dtype;
  if (dtype == DType::Float64) return;  // whose squares are beyond every range
  const double largest = dtype == DType::Float32    ? 0x1.fffffep127
                         : dtype == DType::BFloat16 ? 0x1.fep127
                                                    : 65504;
  const std::int64_t rows = 3, cols = 39;
  MomentsArguments arguments;
  arguments.x = bench_.constants("x", dtype, Shape{rows, cols},
                                 std::vector<double>(static_cast<std::size_t>(rows * cols), -largest));
  arguments.moments.scalars = bench_.sums("scalars", kMomentScalars);
  arguments.workspace = bench_.workspace(bench_.backend().moments().moments_workspace(arguments));
  bench_.backend().moments().moments(bench_.stream(), arguments);
  const std::vector<double> scalars = bench_.read(arguments.moments.scalars);
  const double count = static_cast<double>(rows * cols), square = largest * largest;
  const auto expect = [&](MomentScalar scalar, double unit, double value) {
    EXPECT_NEAR(scalars[static_cast<std::size_t>(scalar)] / unit, value, 1e-9 * std::abs(value)) << scalar;
  };
  expect(kMomentSumAbs, largest, count);
  expect(kMomentSum, largest, -count);
  expect(kMomentSumSquares, square, count);
  expect(kMomentSumFourth, square * square, count);
  expect(kMomentMaxAbs, largest, 1);
  expect(kMomentMaxRowSquares, square, static_cast<double>(cols));
  EXPECT_NEAR(scalars[kMomentSumRowVariance] / square, 0, 1e-12);
}

TEST_P(NotFinite, TinyEntriesHaveMoments) {
  const std::int64_t rows = 4, cols = 50;
  // 8e-25, whose square is not in fp32; fp16 ends at 6e-8.
  const double size = GetParam().dtype == DType::Float16 ? 0x1p-20 : 0x1p-80;
  const double count = static_cast<double>(rows * cols);
  std::vector<double> values;
  for (std::int64_t i = 0; i < rows * cols; ++i) values.push_back(i % 2 == 0 ? size : -size);
  MomentsArguments arguments;
  arguments.x = bench_.constants("x", GetParam().dtype, Shape{rows, cols}, values);
  arguments.moments.scalars = bench_.sums("scalars", kMomentScalars);
  arguments.workspace = bench_.workspace(bench_.backend().moments().moments_workspace(arguments));
  bench_.backend().moments().moments(bench_.stream(), arguments);
  const std::vector<double> scalars = bench_.read(arguments.moments.scalars);
  EXPECT_DOUBLE_EQ(scalars[kMomentSumAbs], count * size);
  EXPECT_DOUBLE_EQ(scalars[kMomentSumSquares], count * size * size);
  EXPECT_DOUBLE_EQ(scalars[kMomentSumRowVariance], static_cast<double>(rows) * size * size);
  EXPECT_EQ(scalars[kMomentSum], 0);
  EXPECT_DOUBLE_EQ(scalars[kMomentSumFourth] / size / size, count * size * size);
  EXPECT_DOUBLE_EQ(scalars[kMomentMaxAbs], size);
  EXPECT_DOUBLE_EQ(scalars[kMomentMaxRowSquares], static_cast<double>(cols) * size * size);
}

TEST_P(NotFinite, LargestLogitOfTheHeadKeepsNaN) {
  const std::int64_t rows = 3, width = 4, vocabulary = 70;
  for (const std::int64_t token : {0L, 33L, 69L}) {
    HeadLossForward forward;
    forward.h = tensor("h", Shape{rows, width});
    forward.weight = tensor("weight", Shape{vocabulary, width}, token * width, kNaN);
    forward.targets = bench_.constants("targets", DType::Int32, Shape{rows}, {5, 6, 7});
    forward.log_z = bench_.master_output("log_z", Shape{rows});
    forward.sums = bench_.sums("sums", kHeadLossSums);
    forward.workspace = bench_.workspace(bench_.backend().head_loss().head_loss_forward_workspace(forward));
    bench_.backend().head_loss().head_loss_forward(bench_.stream(), forward);
    EXPECT_TRUE(std::isnan(bench_.read(forward.sums)[kHeadLossMaxLogit])) << token;
  }
}

// A logit of +inf makes log Z NaN, one of -inf has no part in it; a row without target is not in the sums and
// has no gradient, whatever its logits.
TEST_P(NotFinite, HeadOfInfiniteLogits) {
  const std::int64_t rows = 3, vocabulary = 70;
  const auto run = [&](double bias, const std::vector<double>& targets) {
    std::vector<double> biases(static_cast<std::size_t>(vocabulary), 0.5);
    std::fill_n(biases.begin() + 32, 8, bias);  // all that some threads have of the row
    HeadLossForward forward;
    forward.h = tensor("h", Shape{rows, 4}), forward.weight = tensor("weight", Shape{vocabulary, 4});
    forward.bias = bench_.constants("bias", master_dtype(GetParam().dtype), Shape{vocabulary}, biases);
    forward.targets = bench_.constants("targets", DType::Int32, Shape{rows}, targets);
    forward.log_z = bench_.master_output("log_z", Shape{rows});
    forward.sums = bench_.sums("sums", kHeadLossSums, -100);
    const HeadLossOps& ops = bench_.backend().head_loss();
    forward.workspace = bench_.workspace(ops.head_loss_forward_workspace(forward));
    ops.head_loss_forward(bench_.stream(), forward);
    HeadLossBackward backward;
    backward.h = forward.h, backward.weight = forward.weight, backward.bias = forward.bias;
    backward.targets = forward.targets, backward.log_z = forward.log_z;
    backward.dh = bench_.output("dh", Shape{rows, 4});
    backward.dweight = bench_.accumulated("dweight", Shape{vocabulary, 4});
    backward.workspace = bench_.workspace(ops.head_loss_backward_workspace(backward));
    ops.head_loss_backward(bench_.stream(), backward);
    std::vector<double> both = bench_.read(forward.sums);
    for (const double value : bench_.read(backward.dh)) both.push_back(value);
    return both;
  };
  const std::vector<double> without = run(-kInfinity, {5, 6, 7}), with = run(kInfinity, {5, 6, 7});
  for (const double value : without) EXPECT_TRUE(std::isfinite(value));
  for (int i = kHeadLossCrossEntropy; i < kHeadLossSums; ++i)
    EXPECT_TRUE(std::isnan(with[static_cast<std::size_t>(i)])) << i;
  const std::vector<double> ignored = run(kInfinity, {-1, -1, -1});
  for (std::size_t i = 0; i < ignored.size(); ++i) EXPECT_EQ(ignored[i], i < kHeadLossSums ? -100 : 0) << i;
}

// The weights of a row come from that row alone, however many rows are worked on at once.
TEST_P(NotFinite, StreamWeightsOfOtherRowsAreUntouched) {
  const std::int64_t rows = 35, count = 24, bad = 17;
  const auto run = [&](std::int64_t place) {
    StreamWeightsBackward backward;
    backward.kind = StreamWeightKind::Manifold, backward.streams = 4;
    backward.raw = tensor("raw", Shape{rows, count}, place, kNaN);
    backward.base = bench_.parameter("base", Shape{count});
    backward.scales = bench_.parameter("scales", Shape{3});
    backward.dweights = bench_.parameter("dweights", Shape{rows, count});
    backward.draw = bench_.output("draw", Shape{rows, count});
    backward.dbase = bench_.accumulated("dbase", Shape{count});
    backward.dscales = bench_.accumulated("dscales", Shape{3});
    const StreamMixOps& ops = bench_.backend().stream_mix();
    backward.workspace = bench_.workspace(ops.stream_weights_backward_workspace(backward));
    ops.stream_weights_backward(bench_.stream(), backward);
    StreamWeights forward;
    forward.kind = StreamWeightKind::Manifold, forward.streams = 4;
    forward.raw = backward.raw, forward.base = backward.base, forward.scales = backward.scales;
    forward.weights = bench_.master_output("weights", Shape{rows, count});
    ops.stream_weights(bench_.stream(), forward);
    std::vector<double> both = bench_.read(forward.weights), draw = bench_.read(backward.draw);
    both.insert(both.end(), draw.begin(), draw.end());
    return both;
  };
  const std::vector<double> plain = run(-1), with = run(bad * count + 3);
  for (std::int64_t i = 0; i < 2 * rows * count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::int64_t entry = i % count;
    if (i / count % rows == bad && entry % 6 >= 2) {
      EXPECT_TRUE(std::isnan(with[at])) << i;
    } else {
      EXPECT_EQ(with[at], plain[at]) << i;
    }
  }
}

/// One run of attention, both ways, with one special value.
class NotFiniteAttention : public NotFinite {
 protected:
  static constexpr std::int64_t kTokens = 150, kHeads = 2;
  std::int64_t width_ = 20;

  struct Results {
    std::vector<double> out, log_sum_exp, max_logit, dq, dk, dv;
  };
  /// Entry `place` of each of `special`, some of "q", "k", "v" and "dout", is `value`.
  Results run(const std::set<std::string>& special, std::int64_t place, double value, double soft_cap) {
    const Shape shape{kTokens, kHeads * width_};
    const auto input = [&](const std::string& name) {
      return tensor(name, shape, special.contains(name) ? place : -1, value);
    };
    AttentionForward forward;
    forward.shape.tokens = kTokens, forward.shape.heads = kHeads, forward.shape.width = width_;
    forward.shape.scale = 0.25, forward.shape.soft_cap = soft_cap;
    forward.q = input("q"), forward.k = input("k"), forward.v = input("v");
    forward.out = bench_.output("out", shape);
    forward.log_sum_exp = bench_.master_output("log_sum_exp", Shape{1, kHeads, kTokens});
    forward.max_logit = bench_.sums("max_logit", 1, -3);
    const AttentionOps& ops = bench_.backend().attention();
    forward.workspace = bench_.workspace(ops.attention_forward_workspace(forward));
    ops.attention_forward(bench_.stream(), forward);
    AttentionBackward backward;
    backward.shape = forward.shape;
    backward.q = forward.q, backward.k = forward.k, backward.v = forward.v;
    backward.out = forward.out, backward.log_sum_exp = forward.log_sum_exp;
    backward.dout = input("dout");
    backward.dq = bench_.output("dq", shape), backward.dk = bench_.output("dk", shape);
    backward.dv = bench_.output("dv", shape);
    backward.workspace = bench_.workspace(ops.attention_backward_workspace(backward));
    ops.attention_backward(bench_.stream(), backward);
    return {bench_.read(forward.out), bench_.read(forward.log_sum_exp), bench_.read(forward.max_logit),
            bench_.read(backward.dq), bench_.read(backward.dk),         bench_.read(backward.dv)};
  }

  /// Rows [begin, end) are finite and what they are without the special value.
  void expect_untouched(const char* name, const std::vector<double>& values, const std::vector<double>& plain,
                        std::int64_t begin, std::int64_t end) const {
    for (std::int64_t i = begin * kHeads * width_; i < end * kHeads * width_; ++i) {
      const auto at = static_cast<std::size_t>(i);
      ASSERT_TRUE(std::isfinite(plain[at]));
      ASSERT_EQ(values[at], plain[at]) << name << " row " << i / (kHeads * width_);
    }
  }

  /// A value that is not finite in column 3 of a token's first head shows in that column of all rows that see
  /// the token, and in no other.
  void expect_seen(std::int64_t token, double value) {
    const std::int64_t cols = kHeads * width_, place = token * cols + 3;
    const auto finite = [&](const std::vector<double>& values, std::int64_t row) {
      return std::isfinite(values[static_cast<std::size_t>(row * cols + 3)]);
    };
    // out knows nothing of dout, nor dv of v, so one run shows both.
    const auto [out, log_sum_exp, max_logit, dq, dk, dv] = run({"v", "dout"}, place, value, 0);
    for (std::int64_t row = 0; row < kTokens; ++row) {
      EXPECT_EQ(finite(out, row), row < token) << "out, row " << row << " token " << token;
      EXPECT_EQ(finite(dv, row), row > token) << "dv, row " << row << " token " << token;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, NotFiniteAttention, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

TEST_P(NotFiniteAttention, FutureTokensDoNotReachEarlierRows) {
  const Results plain = run({}, -1, 0, 0), plain_capped = run({}, -1, 0, 2);
  for (const std::int64_t token : {6L, 40L, 131L, 149L}) {
    const std::int64_t place = token * kHeads * width_ + 3;
    for (const double value : {kInfinity, kNaN}) {
      for (const double soft_cap : {0.0, 2.0}) {
        const Results with = run({"k", "v"}, place, value, soft_cap);
        const Results& without = soft_cap > 0 ? plain_capped : plain;
        expect_untouched("out", with.out, without.out, 0, token);
        expect_untouched("dq", with.dq, without.dq, 0, token);
      }
    }
  }
}

TEST_P(NotFiniteAttention, EarlierRowsDoNotReachLaterKeys) {
  const Results plain = run({}, -1, 0, 0);
  for (const std::int64_t token : {0L, 2L, 37L, 130L}) {
    const Results with = run({"q", "dout"}, token * kHeads * width_ + 3, kInfinity, 0);
    expect_untouched("dk", with.dk, plain.dk, token + 1, kTokens);
    expect_untouched("dv", with.dv, plain.dv, token + 1, kTokens);
  }
}

TEST_P(NotFiniteAttention, WhatSeesItShowsIt) {
  for (const std::int64_t token : {0L, 6L, 40L, 131L, 149L}) expect_seen(token, kInfinity);
  for (const double value : {-kInfinity, kNaN}) expect_seen(40, value);
}

// Wider heads have kernels of their own. Tokens in the first and in later groups of 16 of a tile.
TEST_P(NotFiniteAttention, WhatSeesItShowsItInWiderHeads) {
  for (const std::int64_t width : {100L, 136L}) {
    width_ = width;
    for (const std::int64_t token : {6L, 27L, 59L, 131L}) expect_seen(token, kInfinity);
  }
}

// Whatever a tile holds beyond the last key has logit 0 and, beside these, a probability that is not finite.
TEST_P(NotFiniteAttention, VeryNegativeLogitsHaveFiniteGradients) {
  AttentionBackward backward;
  backward.shape = {.tokens = 150, .width = 16, .causal = false, .site = {}};
  const Shape shape{150, 16};
  const auto constant = [&](const char* name, double value) {
    return bench_.constants(name, GetParam().dtype, shape, std::vector<double>(150 * 16, value));
  };
  backward.q = constant("q", 8), backward.k = constant("k", -8), backward.v = tensor("v", shape);
  backward.out = constant("out", 0.5), backward.dout = tensor("dout", shape);
  const double log_sum_exp = -8.0 * 8 * 16 + std::log(150.0);
  backward.log_sum_exp = bench_.constants("log_sum_exp", bench_.master(), Shape{1, 1, 150},
                                          std::vector<double>(150, log_sum_exp));
  backward.dq = bench_.output("dq", shape), backward.dk = bench_.output("dk", shape);
  backward.dv = bench_.output("dv", shape);
  const AttentionOps& ops = bench_.backend().attention();
  backward.workspace = bench_.workspace(ops.attention_backward_workspace(backward));
  ops.attention_backward(bench_.stream(), backward);
  for (const Tensor& gradient : {backward.dq, backward.dk, backward.dv})
    for (const double value : bench_.read(gradient)) ASSERT_TRUE(std::isfinite(value));
}

TEST_P(NotFiniteAttention, LargestLogitKeepsNaN) {
  EXPECT_TRUE(std::isfinite(run({}, -1, 0, 0).max_logit[0]));
  for (const std::int64_t token : {0L, 77L, 149L}) {
    for (const std::string special : {"q", "k"})
      EXPECT_TRUE(std::isnan(run({special}, token * kHeads * width_ + 3, kNaN, 0).max_logit[0])) << token;
  }
}

}  // namespace
}  // namespace plumb::test
