#include "backend/op_test.h"

namespace plumb::test {
namespace {

struct NormCase {
  std::string name = {};
  NormKind kind = NormKind::LayerNorm;
  std::int64_t rows = 1, groups = 1, width = 1;
  double epsilon = 1e-5;
  bool gain = true, bias = true;
  bool own_parameters = false;  ///< gain and bias of groups * D instead of D entries
  bool strided = false;         ///< x, y, dx are columns of a wider buffer
  bool dx_is_dy = false, accumulate = false, frozen = false, moments = true;
  Knob scale = {};
};
void PrintTo(const NormCase& shape, std::ostream* out) { *out << shape.name << " " << shape.scale; }

const char* text(NormKind kind) {
  switch (kind) {
    case NormKind::None:
      return "none";
    case NormKind::LayerNorm:
      return "layernorm";
    case NormKind::RmsNorm:
      return "rmsnorm";
    case NormKind::DyT:
      return "dyt";
    case NormKind::Derf:
      return "derf";
    case NormKind::L2:
      return "l2";
  }
  return "unknown";
}

constexpr NormKind kKinds[] = {NormKind::None, NormKind::LayerNorm, NormKind::RmsNorm,
                               NormKind::DyT,  NormKind::Derf,      NormKind::L2};

std::vector<NormCase> cases() {
  std::vector<NormCase> list;
  for (NormKind kind : kKinds) {
    const bool parameters = kind != NormKind::None;
    const auto add = [&](const char* what, NormCase shape) {
      shape.kind = kind;
      shape.gain = shape.gain && parameters;
      shape.bias = shape.bias && parameters;
      shape.name = std::string(text(kind)) + "_" + what;
      list.push_back(shape);
    };
    add("1x8", {.rows = 1, .width = 8});
    add("7x65", {.rows = 7, .width = 65});
    add("33x80_in_place", {.rows = 33, .width = 80, .dx_is_dy = true, .scale = {true, false, 2, false}});
    add("130x257_accumulate", {.rows = 130, .width = 257, .accumulate = true});
    add("64x128_no_bias", {.rows = 64, .width = 128, .bias = false});
    add("9x33_bare", {.rows = 9, .width = 33, .gain = false, .bias = false, .moments = false});
    add("9x48_bias_only", {.rows = 9, .width = 48, .gain = false});
    add("17x64_frozen", {.rows = 17, .width = 64, .frozen = true});
    add("5x1024_strided", {.rows = 5, .width = 1024, .strided = true, .accumulate = true});
    add("17x3x33_heads", {.rows = 17, .groups = 3, .width = 33, .strided = true});
    add("33x5x16_heads", {.rows = 33, .groups = 5, .width = 16, .own_parameters = true, .strided = true});
    add("6x80_eps0", {.rows = 6, .width = 80, .epsilon = 0});
    add("1x65x80_heads", {.rows = 1, .groups = 65, .width = 80, .scale = {false, false, 2, false}});
    // So many groups that a block of threads goes over several rows.
    add("400x65x8_heads", {.rows = 400, .groups = 65, .width = 8, .moments = false});
    add("70x65x4_heads", {.rows = 70, .groups = 65, .width = 4, .dx_is_dy = true, .moments = false});
    // Rows that registers and shared memory hold, or do not.
    add("5x8192", {.rows = 5, .width = 8192, .moments = false});
    add("2x12288", {.rows = 2, .width = 12288, .accumulate = true, .scale = {true, true, 1, false}});
    add("3x2049", {.rows = 3, .width = 2049, .dx_is_dy = true});
    if (kind == NormKind::LayerNorm || kind == NormKind::Derf)
      add("2x20000", {.rows = 2, .width = 20000, .moments = false, .scale = {false, false, 2, false}});
    int n = 0;
    for (const Knob& knob : all_knobs()) {
      const std::string what = "scale" + std::to_string(n++);
      add(what.c_str(),
          {.rows = 13, .width = 40, .dx_is_dy = n % 2 == 0, .moments = n % 3 == 0, .scale = knob});
    }
  }
  return list;
}

void run_norm(Bench& bench, const NormCase& shape) {
  const std::int64_t cols = shape.groups * shape.width, rows_per_sequence = 4;
  const std::int64_t around = shape.strided ? 5 : 0;
  const auto inside = [&](const Tensor& wide) { return wide.columns(around, cols); };
  const Shape wide{shape.rows, cols + 2 * around};
  const std::int64_t features = shape.own_parameters ? cols : shape.width;
  const bool bends = shape.kind == NormKind::DyT || shape.kind == NormKind::Derf;
  const bool centred = shape.kind == NormKind::LayerNorm;
  const bool divides = centred || shape.kind == NormKind::RmsNorm || shape.kind == NormKind::L2;

  NormForward forward;
  forward.kind = shape.kind;
  forward.epsilon = shape.epsilon;
  forward.groups = shape.groups;
  forward.rows_per_sequence = rows_per_sequence;
  forward.x = inside(bench.input("x", wide, {0.3, 1.5}));
  forward.y = inside(bench.output("y", wide, kRoundedOnce));
  if (shape.gain) forward.gain = bench.parameter("gain", Shape{features}, {1, 0.3});
  if (shape.bias) forward.bias = bench.parameter("bias", Shape{features}, {0, 0.3});
  if (bends) forward.alpha = bench.parameter("alpha", Shape{1}, {0.8, 0.1});
  if (shape.kind == NormKind::Derf) forward.offset = bench.parameter("offset", Shape{1}, {0.1, 0.1});
  forward.scale = make_coefficient(bench, "scale", shape.scale, shape.rows, cols, rows_per_sequence);
  const Shape per_group{shape.rows, shape.groups};
  if (centred) forward.mean = bench.master_output("mean", per_group, {1e-12, 1e-5, 1e-5});
  if (divides) forward.rstd = bench.master_output("rstd", per_group, kMasterOnly);
  if (shape.moments) forward.moments = make_moments(bench, "moments", cols);
  forward.workspace = bench.workspace(bench.backend().norm().norm_forward_workspace(forward));
  bench.backend().norm().norm_forward(bench.stream(), forward);

  NormBackward backward;
  backward.kind = shape.kind;
  backward.epsilon = shape.epsilon;
  backward.groups = shape.groups;
  backward.rows_per_sequence = rows_per_sequence;
  backward.x = forward.x;
  backward.gain = forward.gain;
  backward.bias = forward.bias;
  backward.alpha = forward.alpha;
  backward.offset = forward.offset;
  backward.mean = forward.mean;
  backward.rstd = forward.rstd;
  backward.scale = forward.scale;
  const Limits sums{1e-12, 5e-6, 5e-6};
  if (shape.dx_is_dy) {
    backward.dy = backward.dx = inside(bench.in_place("dy_dx", wide, {1e-12, 2e-6, 4e-3}));
  } else {
    backward.dy = inside(bench.input("dy", wide));
    backward.dx = inside(shape.accumulate ? bench.in_place("dx", wide, {1e-12, 2e-6, 4e-3})
                                          : bench.output("dx", wide, {1e-12, 2e-6, 4e-3}));
    backward.accumulate_dx = shape.accumulate;
  }
  if (!shape.frozen) {
    if (shape.gain) backward.dgain = bench.accumulated("dgain", Shape{features}, sums);
    if (shape.bias) backward.dbias = bench.accumulated("dbias", Shape{features}, sums);
    if (bends) backward.dalpha = bench.accumulated("dalpha", Shape{1}, kCancellingSum);
    if (shape.kind == NormKind::Derf)
      backward.doffset = bench.accumulated("doffset", Shape{1}, kCancellingSum);
    backward.dscale = make_gradient(bench, "dscale", shape.scale, cols,
                                    shape.scale.feature == 1 ? kCancellingSum : Limits{});
  }
  backward.workspace = bench.workspace(bench.backend().norm().norm_backward_workspace(backward));
  bench.backend().norm().norm_backward(bench.stream(), backward);
}

class NormOp : public testing::TestWithParam<std::tuple<Target, NormCase>> {};

TEST_P(NormOp, MatchesReference) {
  const auto& [target, shape] = GetParam();
  expect_matches_reference(target, [&shape = shape](Bench& bench) { run_norm(bench, shape); });
}
INSTANTIATE_TEST_SUITE_P(Backends, NormOp,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(cases())),
                         case_name<NormCase>);

class NormBits : public testing::TestWithParam<std::tuple<Target, NormCase>> {};

TEST_P(NormBits, SameInEveryRun) {
  const auto& [target, shape] = GetParam();
  expect_same_for_any_threads(target, [&shape = shape](Bench& bench) { run_norm(bench, shape); });
}
/// So many rows that threads share them, cut where no group of rows ends, of a width that fills no vector.
/// Sums over rows are left out: theirs is the order of the threads.
std::vector<NormCase> shared_rows() {
  std::vector<NormCase> list;
  const auto add = [&](NormKind kind, const char* what, NormCase shape) {
    shape.kind = kind;
    shape.name = std::string(text(kind)) + "_" + what;
    shape.frozen = true;
    shape.moments = false;
    list.push_back(shape);
  };
  for (const NormKind kind : {NormKind::LayerNorm, NormKind::RmsNorm, NormKind::L2}) {
    add(kind, "603x65", {.rows = 603, .width = 65});
    add(kind, "403x3x47", {.rows = 403, .groups = 3, .width = 47});
  }
  return list;
}
INSTANTIATE_TEST_SUITE_P(Backends, NormBits,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(shared_rows())),
                         case_name<NormCase>);

}  // namespace
}  // namespace plumb::test
