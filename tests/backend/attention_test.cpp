#include "backend/op_test.h"

namespace plumb::test {
namespace {

struct AttentionCase {
  std::string name = {};
  std::int64_t batch = 1, tokens = 1, heads = 1, width = 1;
  bool causal = true;
  double soft_cap = 0, dropout = 0;
  bool packed = false;  ///< q, k, v and their gradients are column slices of one (B*T, 3*H*D) buffer
  bool max_logit = true;
  bool entropy = true;
  bool one_view = false;  ///< q, k and v are the same view
  bool negative = false;  ///< every logit is negative: a row of zeros beyond the last would be the largest
};
void PrintTo(const AttentionCase& shape, std::ostream* out) { *out << shape.name; }

std::vector<AttentionCase> cases() {
  return {{.name = "t1", .batch = 2, .tokens = 1, .heads = 3, .width = 16, .packed = true},
          {.name = "t17_h1_d16", .batch = 1, .tokens = 17, .heads = 1, .width = 16, .entropy = false},
          {.name = "t17_h3_d33", .batch = 2, .tokens = 17, .heads = 3, .width = 33, .packed = true},
          {.name = "t17_h5_d80_full", .batch = 2, .tokens = 17, .heads = 5, .width = 80, .causal = false},
          {.name = "t65_h3_d16_full",
           .batch = 3,
           .tokens = 65,
           .heads = 3,
           .width = 16,
           .causal = false,
           .packed = true},
          {.name = "t65_h5_d33", .batch = 1, .tokens = 65, .heads = 5, .width = 33, .max_logit = false},
          {.name = "t65_h1_d80_cap", .batch = 2, .tokens = 65, .heads = 1, .width = 80, .soft_cap = 1.5},
          {.name = "t130_h1_d16", .batch = 2, .tokens = 130, .heads = 1, .width = 16, .packed = true},
          {.name = "t130_h3_d33_full", .batch = 1, .tokens = 130, .heads = 3, .width = 33, .causal = false},
          {.name = "t130_h3_d64", .batch = 1, .tokens = 130, .heads = 3, .width = 64, .packed = true},
          {.name = "t150_h1_d16", .batch = 1, .tokens = 150, .heads = 1, .width = 16},
          {.name = "t17_dropout", .batch = 2, .tokens = 17, .heads = 3, .width = 16, .dropout = 0.2},
          {.name = "t65_dropout_full",
           .batch = 2,
           .tokens = 65,
           .heads = 3,
           .width = 33,
           .causal = false,
           .dropout = 0.1,
           .packed = true},
          {.name = "t130_dropout_cap",
           .batch = 1,
           .tokens = 130,
           .heads = 1,
           .width = 16,
           .soft_cap = 2,
           .dropout = 0.5,
           .packed = true},
          {.name = "t1_d1", .batch = 1, .tokens = 1, .heads = 1, .width = 1, .packed = true},
          {.name = "t70_d1", .batch = 1, .tokens = 70, .heads = 2, .width = 1, .packed = true},
          {.name = "t9_h65_d8", .batch = 2, .tokens = 9, .heads = 65, .width = 8},
          {.name = "t40_d72_dropout_cap",
           .batch = 2,
           .tokens = 40,
           .heads = 2,
           .width = 72,
           .soft_cap = 3,
           .dropout = 0.25,
           .packed = true},
          {.name = "t100_d128", .batch = 1, .tokens = 100, .heads = 1, .width = 128, .packed = true},
          {.name = "t70_d128_full", .batch = 1, .tokens = 70, .heads = 2, .width = 128, .causal = false},
          {.name = "t70_d256", .batch = 1, .tokens = 70, .heads = 1, .width = 256, .packed = true},
          {.name = "t33_d200_dropout_full",
           .batch = 1,
           .tokens = 33,
           .heads = 2,
           .width = 200,
           .causal = false,
           .dropout = 0.1},
          {.name = "t45_negative", .batch = 1, .tokens = 45, .heads = 2, .width = 16, .negative = true},
          {.name = "t45_negative_full",
           .batch = 2,
           .tokens = 45,
           .heads = 1,
           .width = 16,
           .causal = false,
           .negative = true},
          {.name = "t70_one_view", .batch = 1, .tokens = 70, .heads = 2, .width = 24, .one_view = true}};
}

void run_attention(Bench& bench, const AttentionCase& one) {
  const std::int64_t rows = one.batch * one.tokens, cols = one.heads * one.width;
  AttentionForward forward;
  AttentionShape& shape = forward.shape;
  shape = {one.batch,    one.tokens,  one.heads, one.width, one.causal, 1 / std::sqrt(double(one.width)),
           one.soft_cap, one.dropout, {}};
  if (one.dropout > 0) shape.site = {1234, 7, bench.constants("counters", DType::Int64, Shape{2}, {5, 11})};
  const auto split = [&](const Tensor& packed, Tensor& q, Tensor& k, Tensor& v) {
    q = packed.columns(0, cols), k = packed.columns(cols, cols), v = packed.columns(2 * cols, cols);
  };
  if (one.packed) {
    split(bench.input("qkv", Shape{rows, 3 * cols}, {0, 1.2}), forward.q, forward.k, forward.v);
  } else if (one.one_view) {
    forward.q = forward.k = forward.v = bench.input("qkv", Shape{rows, cols});
  } else {
    forward.q = bench.input("q", Shape{rows, cols}, one.negative ? Values{2, 0.3} : Values{0, 1.5});
    forward.k = bench.input("k", Shape{rows, cols}, one.negative ? Values{-1, 0.6} : Values{});
    forward.v = bench.input("v", Shape{rows, cols}, {0.5, 1});
  }
  forward.out = bench.output("out", Shape{rows, cols}, {1e-12, 5e-6, 1e-2});
  forward.log_sum_exp =
      bench.master_output("log_sum_exp", Shape{one.batch, one.heads, one.tokens}, {1e-12, 2e-6, 5e-3});
  if (one.max_logit) forward.max_logit = bench.sums("max_logit", 1, -3, {1e-12, 1e-5, 5e-3});
  // A single key has entropy 0, which fp32 meets only as far as it knows the logit.
  if (one.entropy && one.tokens > 1)
    forward.entropy_sums = bench.sums("entropy_sums", one.heads, 0.25, {1e-9, 1e-5, 1e-5});
  const AttentionOps& ops = bench.backend().attention();
  forward.workspace = bench.workspace(ops.attention_forward_workspace(forward));
  ops.attention_forward(bench.stream(), forward);

  AttentionBackward backward;
  backward.shape = shape;
  backward.q = forward.q;
  backward.k = forward.k;
  backward.v = forward.v;
  backward.out = forward.out;
  backward.log_sum_exp = forward.log_sum_exp;
  backward.dout = bench.input("dout", Shape{rows, cols});
  if (one.packed) {
    split(bench.output("dqkv", Shape{rows, 3 * cols}), backward.dq, backward.dk, backward.dv);
  } else {
    backward.dq = bench.output("dq", Shape{rows, cols});
    backward.dk = bench.output("dk", Shape{rows, cols});
    backward.dv = bench.output("dv", Shape{rows, cols});
  }
  backward.workspace = bench.workspace(ops.attention_backward_workspace(backward));
  ops.attention_backward(bench.stream(), backward);
}

class AttentionOp : public testing::TestWithParam<std::tuple<Target, AttentionCase>> {};

TEST_P(AttentionOp, MatchesReference) {
  const auto& [target, shape] = GetParam();
  expect_matches_reference(target, [&shape = shape](Bench& bench) { run_attention(bench, shape); });
}
INSTANTIATE_TEST_SUITE_P(Backends, AttentionOp,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(cases())),
                         case_name<AttentionCase>);

class AttentionBits : public testing::TestWithParam<std::tuple<Target, AttentionCase>> {};

TEST_P(AttentionBits, SameInEveryRun) {
  const auto& [target, shape] = GetParam();
  expect_same_for_any_threads(target, [&shape = shape](Bench& bench) { run_attention(bench, shape); });
}
INSTANTIATE_TEST_SUITE_P(
    Backends, AttentionBits,
    testing::Combine(testing::ValuesIn(targets()),
                     testing::Values(AttentionCase{.name = "t130", .tokens = 130, .heads = 3, .width = 64},
                                     AttentionCase{.name = "t150", .tokens = 150, .heads = 3, .width = 64},
                                     AttentionCase{.name = "t70_dropout_full",
                                                   .batch = 2,
                                                   .tokens = 70,
                                                   .heads = 1,
                                                   .width = 72,
                                                   .causal = false,
                                                   .dropout = 0.2})),
    case_name<AttentionCase>);

struct RotaryCase {
  std::string name = {};
  std::int64_t batch = 1, tokens = 1, heads = 1, width = 2;
  bool strided = false, inverse = false;
};
void PrintTo(const RotaryCase& shape, std::ostream* out) { *out << shape.name; }

class RotaryAngles : public testing::TestWithParam<Target> {};
INSTANTIATE_TEST_SUITE_P(Backends, RotaryAngles, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

class RotaryOp : public testing::TestWithParam<std::tuple<Target, RotaryCase>> {};

TEST_P(RotaryOp, MatchesReference) {
  const auto& [target, one] = GetParam();
  expect_matches_reference(target, [&one = one](Bench& bench) {
    const std::int64_t cols = one.heads * one.width, around = one.strided ? cols : 0;
    const Tensor x = bench.in_place("x", Shape{one.batch * one.tokens, cols + 2 * around}, kRoundedOnce);
    bench.backend().attention().rotary(
        bench.stream(), {one.tokens, one.heads, one.width, 10000, one.inverse, x.columns(around, cols)});
  });
}
INSTANTIATE_TEST_SUITE_P(
    Backends, RotaryOp,
    testing::Combine(testing::ValuesIn(targets()),
                     testing::Values(RotaryCase{"t1_d2", 1, 1, 1, 2, false, false},
                                     RotaryCase{"t17_h3_d16", 2, 17, 3, 16, true, false},
                                     RotaryCase{"t65_h5_d80_inverse", 1, 65, 5, 80, true, true},
                                     RotaryCase{"t130_h1_d34", 2, 130, 1, 34, false, false},
                                     RotaryCase{"t130_h5_d64", 2, 130, 5, 64, true, false},
                                     RotaryCase{"t4096_h1_d16", 1, 4096, 1, 16, false, false},
                                     RotaryCase{"t4096_h2_d12_inverse", 1, 4096, 2, 12, true, true})),
    case_name<RotaryCase>);

// Late positions on their own: among all of a sequence's their error would not be seen.
TEST_P(RotaryAngles, AreRightAtLatePositions) {
  const Target& target = GetParam();
  Bench bench(shared_backend(target.backend), target.dtype, target.dtype);
  const std::int64_t tokens = 4096, width = 16;
  std::vector<double> ones(static_cast<std::size_t>(tokens * width), 1);
  const Tensor x = bench.variables("x", target.dtype, Shape{tokens, width}, ones);
  bench.backend().attention().rotary(bench.stream(), {tokens, 1, width, 10000, false, x});
  const std::vector<double> turned = bench.read(x);
  const double limit = target.dtype == DType::Float32 ? 5e-7 : target.dtype == DType::Float64 ? 1e-12 : 8e-3;
  for (const std::int64_t t : {1L, 1000L, 4000L, 4095L}) {
    for (std::int64_t i = 0; i < width / 2; ++i) {
      const double angle = static_cast<double>(t) * std::pow(10000.0, -2.0 * static_cast<double>(i) / 16);
      const auto at = static_cast<std::size_t>(t * width + i);
      EXPECT_NEAR(turned[at], std::cos(angle) - std::sin(angle), limit) << t << " " << i;
      EXPECT_NEAR(turned[at + width / 2], std::cos(angle) + std::sin(angle), limit) << t << " " << i;
    }
  }
}

}  // namespace
}  // namespace plumb::test
