#include "backend/op_test.h"

namespace plumb::test {
namespace {

constexpr Limits kSums{1e-12, 5e-6, 5e-6};
/// Rounded once, but the terms of the few streams may cancel.
constexpr Limits kMixed{1e-12, 1e-5, 4e-3};

struct StreamCase {
  std::string name = {};
  std::int64_t rows = 1, streams = 1, cols = 1;
  bool shared = false, in_place = false;
};
void PrintTo(const StreamCase& shape, std::ostream* out) { *out << shape.name; }

std::vector<StreamCase> cases() {
  std::vector<StreamCase> list;
  for (const std::int64_t streams : {1, 2, 3, 4, 8, 16}) {
    for (const bool shared : {false, true}) {
      const std::string name = std::to_string(streams) + (shared ? "_shared_" : "_own_");
      list.push_back({name + "1x1", 1, streams, 1, shared, true});
      list.push_back({name + "7x65", 7, streams, 65, shared, shared});
      list.push_back({name + "33x80", 33, streams, 80, shared, !shared});
    }
  }
  // Several segments of rows, and more columns than one block.
  list.push_back({"4_own_331x300", 331, 4, 300, false, true});
  list.push_back({"4_shared_331x300", 331, 4, 300, true, true});
  list.push_back({"2_shared_1500x33", 1500, 2, 33, true, false});
  return list;
}

class StreamMixOp : public testing::TestWithParam<std::tuple<Target, StreamCase>> {};
INSTANTIATE_TEST_SUITE_P(Backends, StreamMixOp,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(cases())),
                         case_name<StreamCase>);

/// Tensors of a case; the rows of the streams stand in wider ones.
struct StreamShapes {
  std::int64_t width;
  Shape wide, branch, weights;

  explicit StreamShapes(const StreamCase& one)
      : width(one.streams * one.cols),
        wide{one.rows, width + 6},
        branch{one.rows, one.cols},
        weights{one.shared ? 1 : one.rows, one.streams * (one.streams + 2)} {}
  Tensor inside(const Tensor& tensor) const { return tensor.columns(2, width); }
};

void run_read(Bench& bench, const StreamCase& one) {
  const StreamMixOps& ops = bench.backend().stream_mix();
  const StreamShapes shapes(one);
  StreamRead forward;
  forward.streams = one.streams;
  forward.x = shapes.inside(bench.input("x", shapes.wide));
  forward.weights = bench.parameter("weights", shapes.weights);
  forward.h = bench.output("h", shapes.branch, kMixed);
  ops.stream_read(bench.stream(), forward);

  StreamReadBackward backward;
  backward.streams = one.streams;
  backward.x = forward.x, backward.weights = forward.weights;
  backward.dh = bench.input("dh", shapes.branch, {0.2, 1});
  backward.dx = shapes.inside(bench.in_place("dx", shapes.wide, kMixed));
  backward.dweights = bench.accumulated("dweights", shapes.weights, kSums);
  backward.workspace = bench.workspace(ops.stream_read_backward_workspace(backward));
  ops.stream_read_backward(bench.stream(), backward);
}

TEST_P(StreamMixOp, Read) {
  const auto& [target, one] = GetParam();
  const auto run = [&one = one](Bench& bench) { run_read(bench, one); };
  expect_matches_reference(target, run);
  expect_same_for_any_threads(target, run);
}

void run_write(Bench& bench, const StreamCase& one) {
  const StreamMixOps& ops = bench.backend().stream_mix();
  const StreamShapes shapes(one);
  StreamWrite forward;
  forward.streams = one.streams;
  forward.x = shapes.inside(bench.input("x", shapes.wide));
  forward.o = bench.input("o", shapes.branch);
  forward.weights = bench.parameter("weights", shapes.weights);
  forward.out = shapes.inside(bench.output("out", shapes.wide, kMixed));
  ops.stream_write(bench.stream(), forward);

  StreamWriteBackward backward;
  backward.streams = one.streams;
  backward.x = forward.x, backward.o = forward.o, backward.weights = forward.weights;
  const Tensor dout = one.in_place ? bench.in_place("dout_dx", shapes.wide, kMixed, {0.2, 1})
                                   : bench.input("dout", shapes.wide, {0.2, 1});
  backward.dout = shapes.inside(dout);
  backward.dx = one.in_place ? backward.dout : shapes.inside(bench.output("dx", shapes.wide, kMixed));
  backward.do_ = bench.output("do", shapes.branch, kMixed);
  backward.dweights = bench.accumulated("dweights", shapes.weights, kSums);
  backward.workspace = bench.workspace(ops.stream_write_backward_workspace(backward));
  ops.stream_write_backward(bench.stream(), backward);
}

TEST_P(StreamMixOp, Write) {
  const auto& [target, one] = GetParam();
  const auto run = [&one = one](Bench& bench) { run_write(bench, one); };
  expect_matches_reference(target, run);
  expect_same_for_any_threads(target, run);
}

}  // namespace
}  // namespace plumb::test
