// The ops on several streams of the reference backend: closed forms, central differences, what is added to
// and what may alias.
#include "backend/finite_difference.h"

namespace plumb::test {
namespace {

class StreamValues : public testing::Test {
 protected:
  const StreamMixOps& ops_ = shared_backend("reference").stream_mix();
  std::unique_ptr<Stream> stream_ = shared_backend("reference").create_stream();
  HostTensors tensors_;

  void expect_values(const Tensor& tensor, const std::vector<double>& expected) {
    ASSERT_EQ(tensor.elements(), static_cast<std::int64_t>(expected.size()));
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(at(tensor, static_cast<std::int64_t>(i)), expected[i], 1e-13) << i;
  }
  void run(StreamReadBackward& backward) {
    backward.workspace = tensors_.workspace(ops_.stream_read_backward_workspace(backward));
    ops_.stream_read_backward(*stream_, backward);
  }
  void run(StreamWriteBackward& backward) {
    backward.workspace = tensors_.workspace(ops_.stream_write_backward_workspace(backward));
    ops_.stream_write_backward(*stream_, backward);
  }
  void run(StreamWeightsBackward& backward) {
    backward.workspace = tensors_.workspace(ops_.stream_weights_backward_workspace(backward));
    ops_.stream_weights_backward(*stream_, backward);
  }
  /// The mixing matrix of two streams that starts as [[1, 3], [1, 1]].
  Tensor mixing_matrix(int iterations) {
    StreamWeights weights;
    weights.kind = StreamWeightKind::Manifold, weights.streams = 2, weights.iterations = iterations;
    weights.raw = tensors_.zeros(Shape{1, 8}), weights.weights = tensors_.zeros(Shape{1, 8});
    weights.base = tensors_.of(Shape{8}, {0, 0, 0, std::log(3.0), 0, 0, 0, 0});
    weights.scales = tensors_.of(Shape{3}, {1, 1, 1});
    ops_.stream_weights(*stream_, weights);
    return weights.weights;
  }
  void check_read(std::int64_t rows, std::int64_t streams, bool shared);
  void check_write(std::int64_t rows, std::int64_t streams, bool shared);
  void check_weights(StreamWeightKind kind, std::int64_t streams, int iterations);
};

TEST_F(StreamValues, ReadByHand) {
  StreamRead read;
  read.streams = 2;
  read.x = tensors_.of(Shape{2, 4}, {1, 2, 10, 20, 3, 4, 30, 40}), read.h = tensors_.zeros(Shape{2, 2});
  read.weights = tensors_.of(Shape{1, 8}, {2, 9, 9, 9, 0.5, 9, 9, 9});
  ops_.stream_read(*stream_, read);
  expect_values(read.h, {2 + 5, 4 + 10, 6 + 15, 8 + 20});
  read.weights = tensors_.of(Shape{2, 8}, {2, 9, 9, 9, 0.5, 9, 9, 9, 0, 9, 9, 9, 1, 9, 9, 9});
  ops_.stream_read(*stream_, read);
  expect_values(read.h, {2 + 5, 4 + 10, 30, 40});
}

TEST_F(StreamValues, WriteByHand) {
  StreamWrite write;
  write.streams = 2;
  write.x = tensors_.of(Shape{1, 4}, {1, 2, 10, 20}), write.o = tensors_.of(Shape{1, 2}, {100, 200});
  write.out = tensors_.zeros(Shape{1, 4});
  // Stream 1 goes on as it is and a tenth of it into stream 2, which alone takes in a half of the branch.
  write.weights = tensors_.of(Shape{1, 8}, {9, 0, 1, 0.1, 9, 0.5, 0, 2});
  ops_.stream_write(*stream_, write);
  expect_values(write.out, {1, 2, 0.1 + 20 + 50, 0.2 + 40 + 100});
  write.streams = 1;  // a residual connection
  write.x = tensors_.of(Shape{1, 2}, {1, 2}), write.out = tensors_.zeros(Shape{1, 2});
  write.weights = tensors_.of(Shape{1, 3}, {9, 1, 1});
  ops_.stream_write(*stream_, write);
  expect_values(write.out, {101, 202});
}

TEST_F(StreamValues, HyperWeightsByHand) {
  StreamWeights hyper;
  hyper.streams = 2;
  const double half = std::atanh(0.5);
  hyper.raw = tensors_.of(Shape{2, 8}, {0, 0, 0, 0, 0, 0, 0, 0, half, half, half, half, 0, 0, 0, -half});
  hyper.base = tensors_.of(Shape{8}, {1, 2, 3, 4, 5, 6, 7, 8});
  hyper.scales = tensors_.of(Shape{2}, {10, 100});
  hyper.weights = tensors_.zeros(Shape{2, 8});
  ops_.stream_weights(*stream_, hyper);
  expect_values(hyper.weights, {1, 2, 3, 4, 5, 6, 7, 8, 6, 52, 8, 9, 5, 6, 7, 3});
}

TEST_F(StreamValues, SinkhornByHand) {
  // Columns first: [[1/2, 3/4], [1/2, 1/4]]; then rows, with the sums 5/4 and 3/4.
  expect_values(mixing_matrix(1), {0.5, 1, 2.0 / 5, 3.0 / 5, 0.5, 1, 2.0 / 3, 1.0 / 3});
  // The steps keep ad/(bc), so the limit is p = 1/(1 + sqrt 3) on the diagonal.
  const double p = 1 / (1 + std::sqrt(3.0));
  expect_values(mixing_matrix(100), {0.5, 1, p, 1 - p, 0.5, 1, 1 - p, p});
}

TEST_F(StreamValues, ManifoldWeightsByHand) {
  StreamWeights manifold;
  manifold.kind = StreamWeightKind::Manifold, manifold.streams = 1;
  manifold.raw = tensors_.of(Shape{1, 3}, {2, 3, 4}), manifold.base = tensors_.of(Shape{3}, {-1, 4, 7});
  manifold.scales = tensors_.of(Shape{3}, {1, -1, 5}), manifold.weights = tensors_.zeros(Shape{1, 3});
  ops_.stream_weights(*stream_, manifold);
  expect_values(manifold.weights, {0.7310585786300049, 2 * 0.7310585786300049, 1});
}

void StreamValues::check_read(std::int64_t rows, std::int64_t streams, bool shared) {
  const std::int64_t cols = 3;
  const Shape weights{shared ? 1 : rows, streams * (streams + 2)};
  StreamRead forward;
  forward.streams = streams;
  forward.x = tensors_.random(Shape{rows, streams * cols}), forward.weights = tensors_.random(weights);
  forward.h = tensors_.zeros(Shape{rows, cols});
  StreamReadBackward backward;
  backward.streams = streams, backward.x = forward.x, backward.weights = forward.weights;
  backward.dh = tensors_.random(Shape{rows, cols});
  backward.dx = tensors_.like(forward.x), backward.dweights = tensors_.like(forward.weights);
  run(backward);
  const Loss loss = [&] {
    ops_.stream_read(*stream_, forward);
    return inner_product(forward.h, backward.dh);
  };
  expect_gradient("dx", forward.x, backward.dx, loss);
  expect_gradient("dweights", forward.weights, backward.dweights, loss);
}

void StreamValues::check_write(std::int64_t rows, std::int64_t streams, bool shared) {
  const std::int64_t cols = 3;
  const Shape weights{shared ? 1 : rows, streams * (streams + 2)}, full{rows, streams * cols};
  StreamWrite forward;
  forward.streams = streams;
  forward.x = tensors_.random(full), forward.weights = tensors_.random(weights);
  forward.o = tensors_.random(Shape{rows, cols}), forward.out = tensors_.zeros(full);
  StreamWriteBackward backward;
  backward.streams = streams, backward.x = forward.x, backward.o = forward.o,
  backward.weights = forward.weights;
  backward.dout = tensors_.random(full);
  backward.dx = tensors_.like(forward.x), backward.do_ = tensors_.like(forward.o);
  backward.dweights = tensors_.like(forward.weights);
  run(backward);
  const Loss loss = [&] {
    ops_.stream_write(*stream_, forward);
    return inner_product(forward.out, backward.dout);
  };
  expect_gradient("dx", forward.x, backward.dx, loss);
  expect_gradient("do", forward.o, backward.do_, loss);
  expect_gradient("dweights", forward.weights, backward.dweights, loss);
}

TEST_F(StreamValues, GradientsOfReadAndWriteAreThoseOfDifferences) {
  for (const std::int64_t streams : {1, 2, 4}) {
    for (const bool shared : {false, true}) {
      SCOPED_TRACE(std::to_string(streams) + (shared ? " shared" : ""));
      check_read(4, streams, shared);
      check_write(4, streams, shared);
    }
  }
}

void StreamValues::check_weights(StreamWeightKind kind, std::int64_t streams, int iterations) {
  const std::int64_t count = streams * (streams + 2);
  const Shape shape{3, count}, scales{kind == StreamWeightKind::Hyper ? 2 : 3};
  StreamWeights forward;
  forward.kind = kind, forward.streams = streams, forward.iterations = iterations;
  forward.raw = tensors_.random(shape), forward.base = tensors_.random(Shape{count});
  forward.scales = tensors_.random(scales, 0.8, 0.2), forward.weights = tensors_.zeros(shape);
  StreamWeightsBackward backward;
  backward.kind = kind, backward.streams = streams, backward.iterations = iterations;
  backward.raw = forward.raw, backward.base = forward.base, backward.scales = forward.scales;
  backward.dweights = tensors_.random(shape);
  backward.draw = tensors_.like(forward.raw), backward.dbase = tensors_.like(forward.base);
  backward.dscales = tensors_.like(forward.scales);
  run(backward);
  const Loss loss = [&] {
    ops_.stream_weights(*stream_, forward);
    return inner_product(forward.weights, backward.dweights);
  };
  expect_gradient("draw", forward.raw, backward.draw, loss);
  expect_gradient("dbase", forward.base, backward.dbase, loss);
  expect_gradient("dscales", forward.scales, backward.dscales, loss);
}

TEST_F(StreamValues, GradientsOfWeightsAreThoseOfDifferences) {
  for (const std::int64_t streams : {1, 2, 3, 4}) {
    check_weights(StreamWeightKind::Hyper, streams, 20);
    for (const int iterations : {1, 2, 20}) {
      SCOPED_TRACE(std::to_string(streams) + " streams, iterations " + std::to_string(iterations));
      check_weights(StreamWeightKind::Manifold, streams, iterations);
    }
  }
}

TEST_F(StreamValues, OnlyWhatThePassUsesIsAddedTo) {
  const std::int64_t streams = 2, places = streams + 2;
  const Shape full{3, 8}, branch{3, 4};
  for (const std::int64_t rows : {1, 3}) {
    const Tensor weights = tensors_.random(Shape{rows, 8}), start = tensors_.random(Shape{rows, 8});
    StreamReadBackward read;
    read.streams = streams, read.x = tensors_.random(full), read.weights = weights;
    read.dh = tensors_.random(branch);
    StreamWriteBackward write;
    write.streams = streams, write.x = read.x, write.o = tensors_.random(branch);
    write.weights = weights, write.dout = tensors_.random(full);
    write.dx = tensors_.random(full), write.do_ = tensors_.random(branch);  // overwritten

    read.dx = tensors_.zeros(full), read.dweights = tensors_.zeros(start.shape);
    write.dweights = tensors_.zeros(start.shape);
    run(read), run(write);
    const std::vector<double> dx = values_of(read.dx), dread = values_of(read.dweights),
                              dwrite = values_of(write.dweights), written = values_of(write.dx);
    const Tensor dx_start = tensors_.random(full);
    read.dx = tensors_.of(full, values_of(dx_start));
    read.dweights = tensors_.of(start.shape, values_of(start));
    write.dweights = tensors_.of(start.shape, values_of(start));
    run(read), run(write);
    for (std::int64_t i = 0; i < start.elements(); ++i) {
      const auto k = static_cast<std::size_t>(i);
      const bool is_read = i % places == 0;
      EXPECT_NEAR(at(read.dweights, i), at(start, i) + dread[k], 1e-13);
      EXPECT_NEAR(at(write.dweights, i), at(start, i) + dwrite[k], 1e-13);
      EXPECT_EQ(dread[k] != 0, is_read) << i;
      EXPECT_EQ(dwrite[k] != 0, !is_read) << i;
    }
    for (std::int64_t i = 0; i < dx_start.elements(); ++i)
      EXPECT_NEAR(at(read.dx, i), at(dx_start, i) + dx[static_cast<std::size_t>(i)], 1e-13);
    write.dx = write.dout;  // may be the same view
    run(write);
    EXPECT_EQ(values_of(write.dx), written);
  }
}

TEST_F(StreamValues, WeightGradientsAreAddedUp) {
  for (const StreamWeightKind kind : {StreamWeightKind::Hyper, StreamWeightKind::Manifold}) {
    StreamWeightsBackward backward;
    backward.kind = kind, backward.streams = 2;
    backward.raw = tensors_.random(Shape{3, 8}), backward.base = tensors_.random(Shape{8});
    backward.scales = tensors_.random(Shape{kind == StreamWeightKind::Hyper ? 2 : 3});
    backward.dweights = tensors_.random(Shape{3, 8}), backward.draw = tensors_.zeros(Shape{3, 8});
    backward.dbase = tensors_.zeros(Shape{8}), backward.dscales = tensors_.like(backward.scales);
    run(backward);
    const std::vector<double> draw = values_of(backward.draw), dbase = values_of(backward.dbase),
                              dscales = values_of(backward.dscales);
    run(backward);
    EXPECT_EQ(values_of(backward.draw), draw);  // overwritten
    for (std::size_t i = 0; i < dbase.size(); ++i)
      EXPECT_EQ(at(backward.dbase, static_cast<std::int64_t>(i)), 2 * dbase[i]);
    for (std::size_t i = 0; i < dscales.size(); ++i)
      EXPECT_EQ(at(backward.dscales, static_cast<std::int64_t>(i)), 2 * dscales[i]);
  }
}

}  // namespace
}  // namespace plumb::test
