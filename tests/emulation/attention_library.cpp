// The vendor's attention of the emulated plug-in, in cuDNN's place: plain loops in float64 on the host, as an
// operation of the stream. It refuses what cuDNN refuses on sm_90, and needs a workspace as cuDNN does.
#include "backends/cuda/attention_library.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backends/cuda/arguments.h"
#include "backends/cuda/attention_refusal.h"
#include "core/error.h"
#include "host/stream_queue.h"

namespace plumb::cuda {
namespace {

constexpr int kComputeCapability = 90;

std::int64_t scratch_elements(const AttentionRequest& request) {
  const std::int64_t rows = request.batch * request.heads * request.tokens;
  return request.pass == AttentionPass::Backward ? rows : 64;
}

/// One head of one sequence of a (B*T, H*D) tensor, widened to float64.
template <class Element>
class Head {
 public:
  Head(const Tensor& tensor, const AttentionShape& shape, std::int64_t sequence, std::int64_t head)
      : stride_(tensor.row_stride),
        data_(static_cast<Element*>(tensor.data) + sequence * shape.tokens * stride_ + head * shape.width) {}
  double get(std::int64_t token, std::int64_t column) const {
    return static_cast<double>(static_cast<float>(data_[token * stride_ + column]));
  }
  void put(std::int64_t token, std::int64_t column, double value) const {
    data_[token * stride_ + column] = Element(static_cast<float>(value));
  }

 private:
  std::int64_t stride_;
  Element* data_;
};

template <class Element>
double dot(const Head<Element>& a, std::int64_t i, const Head<Element>& b, std::int64_t j,
           std::int64_t width) {
  double sum = 0;
  for (std::int64_t d = 0; d < width; ++d) sum += a.get(i, d) * b.get(j, d);
  return sum;
}

std::int64_t visible(const AttentionShape& shape, std::int64_t query) {
  return shape.causal ? query + 1 : shape.tokens;
}

template <class Element>
void forward_head(const AttentionForward& a, std::int64_t sequence, std::int64_t head) {
  const AttentionShape& shape = a.shape;
  const Head<Element> q(a.q, shape, sequence, head), k(a.k, shape, sequence, head),
      v(a.v, shape, sequence, head), out(a.out, shape, sequence, head);
  float* log_sum_exp =
      static_cast<float*>(a.log_sum_exp.data) + (sequence * shape.heads + head) * shape.tokens;
  std::vector<double> logits(static_cast<std::size_t>(shape.tokens));
  for (std::int64_t i = 0; i < shape.tokens; ++i) {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (std::int64_t j = 0; j < visible(shape, i); ++j) {
      double& logit = logits[static_cast<std::size_t>(j)];
      logit = shape.scale * dot(q, i, k, j, shape.width);
      largest = std::max(largest, logit);
    }
    for (std::int64_t j = 0; j < visible(shape, i); ++j) {
      double& logit = logits[static_cast<std::size_t>(j)];
      logit = std::exp(logit - largest);
      sum += logit;
    }
    log_sum_exp[i] = static_cast<float>(largest + std::log(sum));
    for (std::int64_t d = 0; d < shape.width; ++d) {
      double mixed = 0;
      for (std::int64_t j = 0; j < visible(shape, i); ++j)
        mixed += logits[static_cast<std::size_t>(j)] * v.get(j, d);
      out.put(i, d, mixed / sum);
    }
  }
}

/// `expected` is scratch for the head's sum_d out * dout.
template <class Element>
void backward_head(const AttentionBackward& a, std::int64_t sequence, std::int64_t head, float* expected) {
  const AttentionShape& shape = a.shape;
  const Head<Element> q(a.q, shape, sequence, head), k(a.k, shape, sequence, head),
      v(a.v, shape, sequence, head), out(a.out, shape, sequence, head), dout(a.dout, shape, sequence, head);
  const float* log_sum_exp =
      static_cast<const float*>(a.log_sum_exp.data) + (sequence * shape.heads + head) * shape.tokens;
  const auto elements = static_cast<std::size_t>(shape.tokens * shape.width);
  std::vector<double> dq(elements), dk(elements), dv(elements);
  for (std::int64_t i = 0; i < shape.tokens; ++i) {
    expected[i] = static_cast<float>(dot(out, i, dout, i, shape.width));
    for (std::int64_t j = 0; j < visible(shape, i); ++j) {
      const double p = std::exp(shape.scale * dot(q, i, k, j, shape.width) - log_sum_exp[i]);
      const double dlogit = p * (dot(dout, i, v, j, shape.width) - expected[i]) * shape.scale;
      for (std::int64_t d = 0; d < shape.width; ++d) {
        const auto at_query = static_cast<std::size_t>(i * shape.width + d);
        const auto at_key = static_cast<std::size_t>(j * shape.width + d);
        dv[at_key] += p * dout.get(i, d);
        dq[at_query] += dlogit * k.get(j, d);
        dk[at_key] += dlogit * q.get(i, d);
      }
    }
  }
  const auto write = [&](const Tensor& tensor, const std::vector<double>& values) {
    const Head<Element> target(tensor, shape, sequence, head);
    for (std::int64_t i = 0; i < shape.tokens; ++i)
      for (std::int64_t d = 0; d < shape.width; ++d)
        target.put(i, d, values[static_cast<std::size_t>(i * shape.width + d)]);
  };
  write(a.dq, dq);
  write(a.dk, dk);
  write(a.dv, dv);
}

template <class Arguments, class Run>
void enqueue_heads(cudaStream_t stream, const char* what, const Arguments& arguments, Run run) {
  emulation::enqueue(stream, what, [arguments, run] {
    const AttentionShape& shape = arguments.shape;
    for (std::int64_t plane = 0; plane < shape.batch * shape.heads; ++plane) {
      const std::int64_t sequence = plane / shape.heads, head = plane % shape.heads;
      if (arguments.q.dtype == DType::BFloat16) {
        run(bfloat16(), arguments, sequence, head);
      } else {
        run(float16(), arguments, sequence, head);
      }
    }
    return emulation::Step::Done;
  });
}

class HostAttention final : public AttentionLibrary {
 public:
  std::string name() const override { return "emulated cuDNN"; }
  std::string refusal(const AttentionRequest& request) const override {
    return library_attention_refusal(request, kComputeCapability);
  }
  std::string plan(const AttentionRequest& request) const override {
    return fmt::format("host loops, {} bytes of workspace", workspace(request));
  }
  std::size_t workspace(const AttentionRequest& request) const override {
    WorkspaceCarver carver;
    carver.take<float>(scratch_elements(request));
    return carver.bytes();
  }

  void forward(cudaStream_t stream, const AttentionForward& arguments) const override {
    float* scratch = take_scratch(request_of(arguments), arguments.workspace);
    enqueue_heads(
        stream, "attention forward", arguments,
        [scratch](auto element, const AttentionForward& a, std::int64_t sequence, std::int64_t head) {
          scratch[head % 64] = std::numeric_limits<float>::quiet_NaN();  // as a library may
          forward_head<decltype(element)>(a, sequence, head);
        });
  }
  void backward(cudaStream_t stream, const AttentionBackward& arguments) const override {
    float* scratch = take_scratch(request_of(arguments), arguments.workspace);
    enqueue_heads(
        stream, "attention backward", arguments,
        [scratch](auto element, const AttentionBackward& a, std::int64_t sequence, std::int64_t head) {
          float* expected = scratch + (sequence * a.shape.heads + head) * a.shape.tokens;
          backward_head<decltype(element)>(a, sequence, head, expected);
        });
  }

 private:
  float* take_scratch(const AttentionRequest& request, const Workspace& workspace) const {
    const std::string reason = refusal(request);
    PLUMB_CHECK(reason.empty(), "{} does not take {}: {}", name(), to_string(request), reason);
    WorkspaceCarver carver(workspace);
    return carver.take<float>(scratch_elements(request));
  }
};

}  // namespace

std::unique_ptr<AttentionLibrary> make_attention_library() { return std::make_unique<HostAttention>(); }

}  // namespace plumb::cuda
