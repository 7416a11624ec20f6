// What the graphs say, interpreted on the host, is attention: cuDNN's kernels are not run, but it is this
// that they are asked for.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "backend/loader.h"
#include "backends/cuda/cudnn/attention_graph.h"
#include "core/rng.h"
#include "cudnn/graph_interpreter.h"

namespace plumb::cuda::test {
namespace {

struct GraphCase {
  std::int64_t batch, tokens, heads, width;
  bool causal, packed;
};

/// Attention's tensors in float64, and both passes by the reference backend.
class HostCall {
 public:
  explicit HostCall(const GraphCase& one)
      : one_(one), rows_(one.batch * one.tokens), cols_(one.heads * one.width) {
    const std::int64_t columns = one.packed ? 3 * cols_ : cols_;
    const Tensor q = tensor(columns), k = one.packed ? q : tensor(columns),
                 v = one.packed ? q : tensor(columns);
    forward.q = q.columns(0, cols_);
    forward.k = k.columns(one.packed ? cols_ : 0, cols_);
    forward.v = v.columns(one.packed ? 2 * cols_ : 0, cols_);
    forward.out = tensor(cols_);
    forward.log_sum_exp = Tensor(tensor(one.heads).data, DType::Float64, {one.batch, one.heads, one.tokens});
    forward.shape.batch = one.batch;
    forward.shape.tokens = one.tokens;
    forward.shape.heads = one.heads;
    forward.shape.width = one.width;
    forward.shape.causal = one.causal;
    forward.shape.scale = 0.3;
    backward.shape = forward.shape;
    backward.q = forward.q, backward.k = forward.k, backward.v = forward.v;
    backward.out = forward.out, backward.log_sum_exp = forward.log_sum_exp;
    backward.dout = tensor(cols_);
    const Tensor gradients = tensor(3 * cols_);
    backward.dq = gradients.columns(0, cols_), backward.dk = gradients.columns(cols_, cols_);
    backward.dv = gradients.columns(2 * cols_, cols_);
  }

  void run_reference() {
    const auto backend = make_backend("reference");
    const auto stream = backend->create_stream();
    const AttentionOps& ops = backend->attention();
    const std::size_t bytes =
        std::max(ops.attention_forward_workspace(forward), ops.attention_backward_workspace(backward));
    std::vector<double> scratch(bytes / sizeof(double) + 1);
    forward.workspace = backward.workspace = {scratch.data(), scratch.size() * sizeof(double)};
    ops.attention_forward(*stream, forward);
    ops.attention_backward(*stream, backward);
  }

  void run_graphs() {
    const auto number = [](AttentionTensor one) { return static_cast<std::int64_t>(one); };
    double scale = forward.shape.scale, minus_infinity = -std::numeric_limits<double>::infinity(), one = 1;
    const Tensor expected = tensor(one_.heads);
    const auto at = [](const Tensor& tensor) { return tensor.as<double>(); };
    std::map<std::int64_t, double*> memory = {{number(AttentionTensor::Query), at(forward.q)},
                                              {number(AttentionTensor::Key), at(forward.k)},
                                              {number(AttentionTensor::Value), at(forward.v)},
                                              {number(AttentionTensor::Out), at(forward.out)},
                                              {number(AttentionTensor::LogSumExp), at(forward.log_sum_exp)},
                                              {number(AttentionTensor::Scale), &scale}};
    if (one_.causal) memory[number(AttentionTensor::MinusInfinity)] = &minus_infinity;
    AttentionRequest request = request_of(forward);
    request.dtype = DType::BFloat16;
    interpret(attention_forward_graph(request), memory);
    memory[number(AttentionTensor::OutGradient)] = at(backward.dout);
    memory[number(AttentionTensor::QueryGradient)] = at(backward.dq);
    memory[number(AttentionTensor::KeyGradient)] = at(backward.dk);
    memory[number(AttentionTensor::ValueGradient)] = at(backward.dv);
    memory[number(AttentionTensor::ExpectedGradient)] = at(expected);
    memory[number(AttentionTensor::One)] = &one;
    request = request_of(backward);
    request.dtype = DType::BFloat16;
    interpret(attention_backward_graph(request), memory);
  }

  /// Everything, inputs too: they must not have changed.
  const std::vector<std::vector<double>>& buffers() const { return buffers_; }

  AttentionForward forward;
  AttentionBackward backward;

 private:
  /// (B*T, columns) of normal variates.
  Tensor tensor(std::int64_t columns) {
    const RandomStream random{99, static_cast<std::uint32_t>(buffers_.size()), 0};
    std::vector<double>& made = buffers_.emplace_back(static_cast<std::size_t>(rows_ * columns));
    for (std::size_t i = 0; i < made.size(); ++i) made[i] = random.normal(i);
    return Tensor(made.data(), DType::Float64, {rows_, columns});
  }

  GraphCase one_;
  std::int64_t rows_, cols_;
  std::vector<std::vector<double>> buffers_;
};

TEST(AttentionGraph, InterpretedIsTheReferenceBackend) {
  for (const GraphCase& one : {GraphCase{2, 5, 3, 8, true, true}, GraphCase{2, 5, 3, 8, false, true},
                               GraphCase{1, 9, 2, 16, true, false}, GraphCase{3, 1, 1, 8, true, true}}) {
    HostCall expected(one), actual(one);
    expected.run_reference();
    actual.run_graphs();
    for (std::size_t buffer = 0; buffer < expected.buffers().size(); ++buffer) {
      for (std::size_t i = 0; i < expected.buffers()[buffer].size(); ++i) {
        EXPECT_NEAR(actual.buffers()[buffer][i], expected.buffers()[buffer][i], 1e-12)
            << "buffer " << buffer << ", element " << i << ", T " << one.tokens;
      }
    }
  }
}

}  // namespace
}  // namespace plumb::cuda::test
