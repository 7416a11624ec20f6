#include <cmath>
#include <limits>

#include "backend/op_test.h"

namespace plumb::test {
namespace {

struct ResidualCase {
  std::string name = {};
  std::int64_t rows = 1, cols = 1;
  Knob a = {}, b = {}, e = {}, p = {};
  bool block_skip = false;  ///< with the e term
  bool tie_skip = false;
  bool in_place = false;  ///< out is z, dx is dout
  bool moments = true, alignment = true, frozen = false;
};
void PrintTo(const ResidualCase& shape, std::ostream* out) { *out << shape.name; }

std::vector<ResidualCase> cases() {
  std::vector<ResidualCase> list;
  const Knob scalar{true, false, 0, false}, vector{false, false, 2, false}, all{true, true, 2, false};
  list.push_back({.name = "plain_1x8", .rows = 1, .cols = 8});
  list.push_back({.name = "plain_7x65", .rows = 7, .cols = 65, .in_place = true});
  list.push_back({.name = "step_33x80", .rows = 33, .cols = 80, .b = scalar, .in_place = true});
  list.push_back({.name = "step_130x257", .rows = 130, .cols = 257, .b = scalar});
  list.push_back({.name = "no_moments_64x128",
                  .rows = 64,
                  .cols = 128,
                  .b = scalar,
                  .moments = false,
                  .alignment = false});
  list.push_back({.name = "only_alignment_9x64", .rows = 9, .cols = 64, .in_place = true, .moments = false});
  list.push_back({.name = "no_alignment_300x33", .rows = 300, .cols = 33, .alignment = false});
  list.push_back({.name = "gain_17x33", .rows = 17, .cols = 33, .b = vector});
  list.push_back(
      {.name = "block_33x80", .rows = 33, .cols = 80, .a = all, .b = all, .e = all, .block_skip = true});
  list.push_back({.name = "everything_7x65",
                  .rows = 7,
                  .cols = 65,
                  .a = all,
                  .b = all,
                  .e = all,
                  .p = all,
                  .block_skip = true,
                  .in_place = true});
  list.push_back({.name = "frozen_7x65",
                  .rows = 7,
                  .cols = 65,
                  .a = all,
                  .b = all,
                  .e = all,
                  .p = all,
                  .block_skip = true,
                  .frozen = true});
  list.push_back({.name = "everything_331x257",  // shared by several threads
                  .rows = 331,
                  .cols = 257,
                  .a = all,
                  .b = all,
                  .e = all,
                  .p = all,
                  .block_skip = true});
  list.push_back({.name = "everything_1x80",
                  .rows = 1,
                  .cols = 80,
                  .a = all,
                  .b = all,
                  .e = all,
                  .p = all,
                  .block_skip = true});
  list.push_back({.name = "gain_3x12288", .rows = 3, .cols = 12288, .b = vector, .in_place = true});
  int n = 0;
  for (const Knob& knob : all_knobs()) {
    const std::string index = std::to_string(n++);
    const Knob other{n % 2 == 0, n % 3 == 0, n % 3, false};
    const ResidualCase shape{
        .rows = 13, .cols = 40, .in_place = n % 2 == 0, .moments = n % 4 == 0, .alignment = n % 3 != 0};
    const auto add = [&](const char* what, const Knob& a, const Knob& b, const Knob& e, const Knob& p,
                         bool tied) {
      ResidualCase one = shape;
      one.name = what + index;
      one.a = a, one.b = b, one.e = e, one.p = p;
      one.tie_skip = tied;
      one.block_skip = std::string(what) == "e" || (n % 2 == 0);
      list.push_back(one);
    };
    add("a", knob, other, {}, other, false);
    add("b", other, knob, other, {}, false);
    add("e", {}, other, knob, other, false);
    add("p", other, {}, other, knob, false);
    if (!knob.stop_gradient) add("tied", {}, knob, other, other, true);
  }
  return list;
}

void run_residual(Bench& bench, const ResidualCase& shape) {
  const Shape full{shape.rows, shape.cols};
  const std::int64_t rows_per_sequence = 5;
  const auto coefficient = [&](const char* name, const Knob& knob) {
    return make_coefficient(bench, name, knob, shape.rows, shape.cols, rows_per_sequence);
  };
  ResidualForward forward;
  forward.rows_per_sequence = rows_per_sequence;
  forward.x = bench.input("x", full, {0.2, 2});
  forward.z = shape.in_place ? bench.in_place("z_out", full, kRoundedOnce) : bench.input("z", full, {0.5, 1});
  forward.out = shape.in_place ? forward.z : bench.output("out", full, kRoundedOnce);
  if (shape.block_skip) forward.x_block = bench.input("x_block", full, {0.5, 1});
  forward.a = coefficient("a", shape.a);
  forward.b = coefficient("b", shape.b);
  forward.e = coefficient("e", shape.block_skip ? shape.e : Knob{});
  forward.p = coefficient("p", shape.p);
  forward.tie_skip = shape.tie_skip;
  if (shape.moments) {
    forward.stream_moments = make_moments(bench, "stream", shape.cols);
    forward.branch_moments = make_moments(bench, "branch", shape.rows % 2 == 0 ? 0 : shape.cols);
  }
  if (shape.alignment) forward.alignment.scalars = bench.sums("alignment", kAlignmentScalars, 0.25);
  const ResidualOps& ops = bench.backend().residual();
  forward.workspace = bench.workspace(ops.residual_forward_workspace(forward));
  ops.residual_forward(bench.stream(), forward);

  ResidualBackward backward;
  backward.rows_per_sequence = rows_per_sequence;
  backward.a = forward.a;
  backward.b = forward.b;
  backward.e = forward.e;
  backward.p = forward.p;
  backward.tie_skip = shape.tie_skip;
  backward.dout = shape.in_place ? bench.in_place("dout_dx", full, kRoundedOnce, {0.5, 1})
                                 : bench.input("dout", full, {0.5, 1});
  backward.dx = shape.in_place ? backward.dout : bench.output("dx", full, kRoundedOnce);
  backward.dz = bench.output("dz", full, kRoundedOnce);
  if (shape.block_skip) backward.dx_block = bench.in_place("dx_block", full, kRoundedOnce);
  if (!shape.frozen) {  // frozen: no coefficient gradient is asked for, so x, z and x_block may be missing
    backward.x = forward.x;
    backward.z = bench.input("z_of_backward", full, {0.5, 1});
    backward.x_block = forward.x_block;
    const Limits sums{1e-12, 5e-6, 5e-6};
    backward.da = make_gradient(bench, "da", shape.tie_skip ? Knob{} : shape.a, shape.cols, sums);
    backward.db = make_gradient(bench, "db", shape.b, shape.cols, sums);
    backward.de = make_gradient(bench, "de", shape.block_skip ? shape.e : Knob{}, shape.cols, sums);
    backward.dp = make_gradient(bench, "dp", shape.p, shape.cols, sums);
  }
  backward.workspace = bench.workspace(ops.residual_backward_workspace(backward));
  ops.residual_backward(bench.stream(), backward);
}

class ResidualOp : public testing::TestWithParam<std::tuple<Target, ResidualCase>> {};

TEST_P(ResidualOp, MatchesReference) {
  const auto& [target, shape] = GetParam();
  expect_matches_reference(target, [&shape = shape](Bench& bench) { run_residual(bench, shape); });
}
INSTANTIATE_TEST_SUITE_P(Backends, ResidualOp,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(cases())),
                         case_name<ResidualCase>);

// Statistics must not change what is trained, not even where they take another kernel.
TEST_P(ResidualOp, StatisticsChangeNoBit) {
  const auto& [target, shape] = GetParam();
  Bench bench(shared_backend(target.backend), target.dtype, target.dtype);
  const auto out = [&](const std::string& run, bool observed) {
    const Shape full{shape.rows, shape.cols};
    ResidualForward forward;
    forward.rows_per_sequence = 5;
    forward.x = bench.input("x", full, {0.2, 2}), forward.z = bench.input("z", full, {0.5, 1});
    if (shape.block_skip) forward.x_block = bench.input("x_block", full, {0.5, 1});
    const auto coefficient = [&](const char* name, const Knob& knob) {
      return make_coefficient(bench, name, knob, shape.rows, shape.cols, forward.rows_per_sequence);
    };
    forward.a = coefficient("a", shape.a), forward.b = coefficient("b", shape.b);
    forward.e = coefficient("e", shape.block_skip ? shape.e : Knob{}), forward.p = coefficient("p", shape.p);
    forward.tie_skip = shape.tie_skip;
    forward.out = bench.output("out" + run, full);
    if (observed) {
      forward.stream_moments = make_moments(bench, "stream", 0);
      forward.branch_moments = make_moments(bench, "branch", shape.cols);
      forward.alignment.scalars = bench.sums("alignment", kAlignmentScalars);
    }
    const ResidualOps& ops = bench.backend().residual();
    forward.workspace = bench.workspace(ops.residual_forward_workspace(forward));
    ops.residual_forward(bench.stream(), forward);
    return bench.read(forward.out);
  };
  EXPECT_EQ(out("plain", false), out("observed", true));
}

/// The alignment of rows that are special, by their formulas.
class ResidualAlignment : public testing::TestWithParam<Target> {
 protected:
  Bench bench_{shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype};

  /// Of rows whose entries are all x[r] and all z[r].
  std::vector<double> of_rows(const std::vector<double>& x, const std::vector<double>& z, std::int64_t cols) {
    const auto rows = static_cast<std::int64_t>(x.size());
    const auto spread = [&](const std::string& name, const std::vector<double>& values) {
      std::vector<double> entries;
      for (const double value : values) entries.insert(entries.end(), static_cast<std::size_t>(cols), value);
      return bench_.constants(name, GetParam().dtype, Shape{rows, cols}, entries);
    };
    ResidualForward forward;
    forward.x = spread("x", x), forward.z = spread("z", z);
    forward.out = bench_.output("out", Shape{rows, cols});
    forward.alignment.scalars = bench_.sums("alignment", kAlignmentScalars);
    const ResidualOps& ops = bench_.backend().residual();
    forward.workspace = bench_.workspace(ops.residual_forward_workspace(forward));
    ops.residual_forward(bench_.stream(), forward);
    return bench_.read(forward.alignment.scalars);
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, ResidualAlignment, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

TEST_P(ResidualAlignment, RowsOfZeroHaveNoAngle) {
  for (const std::int64_t cols : {1, 16, 67}) {
    const auto width = static_cast<double>(cols);
    const std::vector<double> sums = of_rows({0, 2, 0, 4, -1}, {3, 0, 0, 1, 0.5}, cols);
    EXPECT_NEAR(sums[kAlignmentCosine], 1 - 1, 1e-6) << cols;
    EXPECT_NEAR(sums[kAlignmentRatio], 0.25 + 0.5, 1e-6) << cols;
    EXPECT_NEAR(sums[kAlignmentProduct], 4 * width - 0.5 * width, 1e-6 * width) << cols;
    EXPECT_EQ(sums[kAlignmentZeroRows], 3) << cols;
  }
}

TEST_P(ResidualAlignment, HugeAndTinyRowsHaveAnAngle) {
  if (GetParam().dtype == DType::Float16) return;
  for (const std::int64_t cols : {1, 40}) {
    const std::vector<double> sums = of_rows({0x1p100, 0x1p-90, 0x1p-90}, {-0x1p90, 0x1p100, 0x1p-100}, cols);
    EXPECT_NEAR(sums[kAlignmentCosine], 1, 1e-12);
    EXPECT_DOUBLE_EQ(sums[kAlignmentRatio], 0x1p-10 + 0x1p190 + 0x1p-10);
    EXPECT_DOUBLE_EQ(sums[kAlignmentProduct], -0x1p190 * static_cast<double>(cols));
    EXPECT_EQ(sums[kAlignmentZeroRows], 0);
  }
}

TEST_P(ResidualAlignment, WhatIsNotFiniteShows) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const std::int64_t cols : {1, 40}) {
    for (const bool in_stream : {true, false}) {
      const double nan = std::nan("");
      const std::vector<double> sums = of_rows({1, in_stream ? nan : 2}, {1, in_stream ? 2 : nan}, cols);
      for (const int i : {kAlignmentCosine, kAlignmentRatio, kAlignmentProduct})
        EXPECT_TRUE(std::isnan(sums[static_cast<std::size_t>(i)])) << i;
      EXPECT_EQ(sums[kAlignmentZeroRows], 0);
    }
    const std::vector<double> branch = of_rows({1, 2}, {1, -infinity}, cols);
    EXPECT_TRUE(std::isnan(branch[kAlignmentCosine]));
    EXPECT_EQ(branch[kAlignmentRatio], infinity);
    EXPECT_EQ(branch[kAlignmentProduct], -infinity);
    const std::vector<double> stream = of_rows({1, infinity}, {1, 2}, cols);
    EXPECT_TRUE(std::isnan(stream[kAlignmentCosine]));
    EXPECT_NEAR(stream[kAlignmentRatio], 1, 1e-6);
    EXPECT_EQ(stream[kAlignmentProduct], infinity);
  }
}

}  // namespace
}  // namespace plumb::test
