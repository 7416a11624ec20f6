#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "core/error.h"
#include "core/maximum.h"

namespace plumb::reference {
namespace {

void check_shape(const char* op, const AttentionShape& shape) {
  PLUMB_CHECK(shape.batch >= 1 && shape.tokens >= 1 && shape.heads >= 1 && shape.width >= 1,
              "{}: batch {}, tokens {}, heads {}, width {} must be positive", op, shape.batch, shape.tokens,
              shape.heads, shape.width);
  PLUMB_CHECK(shape.dropout >= 0 && shape.dropout < 1, "{}: dropout is {}, not in [0, 1)", op, shape.dropout);
}

/// 1/(1-p) for the probabilities that dropout keeps, 0 for the others.
class KeepFactor {
 public:
  KeepFactor(const char* op, const AttentionShape& shape) : shape_(shape) {
    if (shape.dropout > 0) draw_ = draw_of(op, shape.site);
  }
  double operator()(std::int64_t b, std::int64_t h, std::int64_t i, std::int64_t j) const {
    if (shape_.dropout <= 0) return 1;
    const auto heads = static_cast<std::uint64_t>(shape_.heads);
    const auto tokens = static_cast<std::uint64_t>(shape_.tokens);
    const std::uint64_t head =
        (draw_.first_sequence + static_cast<std::uint64_t>(b)) * heads + static_cast<std::uint64_t>(h);
    const std::uint64_t index =
        (head * tokens + static_cast<std::uint64_t>(i)) * tokens + static_cast<std::uint64_t>(j);
    const bool dropped = draw_.stream.uniform(index) < static_cast<float>(shape_.dropout);
    return dropped ? 0 : 1 / (1 - shape_.dropout);
  }

 private:
  const AttentionShape& shape_;
  Draw draw_;
};

template <class T>
double dot(const T* a, const T* b, std::int64_t width) {
  double sum = 0;
  for (std::int64_t d = 0; d < width; ++d) sum += static_cast<double>(a[d]) * b[d];
  return sum;
}

/// scale * q . k, with the soft cap.
template <class T>
double logit(const AttentionShape& shape, const T* q, const T* k) {
  const double s = shape.scale * dot(q, k, shape.width);
  return shape.soft_cap > 0 ? shape.soft_cap * std::tanh(s / shape.soft_cap) : s;
}

/// How many keys query i sees.
std::int64_t visible(const AttentionShape& shape, std::int64_t i) {
  return shape.causal ? i + 1 : shape.tokens;
}

template <class T>
void forward(const AttentionForward& arguments, std::size_t workspace_bytes) {
  const char* op = "attention_forward";
  const AttentionShape& shape = arguments.shape;
  check_shape(op, shape);
  const std::int64_t tokens = shape.tokens, width = shape.width;
  const std::int64_t rows = shape.batch * tokens, cols = shape.heads * width;
  const Rows<T> q(op, "q", arguments.q, rows, cols), k(op, "k", arguments.k, rows, cols);
  const Rows<T> v(op, "v", arguments.v, rows, cols), out(op, "out", arguments.out, rows, cols);
  const Vector<T> log_sum_exp(op, "log_sum_exp", arguments.log_sum_exp, shape.batch * shape.heads * tokens);
  const auto max_logit = Vector<double>::optional(op, "max_logit", arguments.max_logit, 1);
  const auto entropy_sums = Vector<double>::optional(op, "entropy_sums", arguments.entropy_sums, shape.heads);
  const KeepFactor keep(op, shape);
  double* logits = Scratch(op, arguments.workspace, workspace_bytes).take(tokens);

  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      const std::int64_t column = h * width;
      for (std::int64_t i = 0; i < tokens; ++i) {
        const std::int64_t keys = visible(shape, i), row = b * tokens + i;
        double largest = -std::numeric_limits<double>::infinity();
        for (std::int64_t j = 0; j < keys; ++j) {
          logits[j] = logit(shape, q[row] + column, k[b * tokens + j] + column);
          largest = std::max(largest, logits[j]);
        }
        double sum = 0;
        for (std::int64_t j = 0; j < keys; ++j) sum += std::exp(logits[j] - largest);
        const double row_log_sum_exp = largest + std::log(sum);
        if (entropy_sums) {
          double expected_logit = 0;
          for (std::int64_t j = 0; j < keys; ++j)
            expected_logit += std::exp(logits[j] - row_log_sum_exp) * logits[j];
          entropy_sums[h] += row_log_sum_exp - expected_logit;
        }
        if (max_logit)
          max_logit[0] =
              maximum_or_nan(max_logit[0], std::isnan(row_log_sum_exp) ? row_log_sum_exp : largest);
        log_sum_exp[(b * shape.heads + h) * tokens + i] = static_cast<T>(row_log_sum_exp);
        for (std::int64_t d = 0; d < width; ++d) {
          double mixed = 0;
          for (std::int64_t j = 0; j < keys; ++j)
            mixed += std::exp(logits[j] - row_log_sum_exp) * keep(b, h, i, j) * v[b * tokens + j][column + d];
          out[row][column + d] = static_cast<T>(mixed);
        }
      }
    }
  }
}

template <class T>
void backward(const AttentionBackward& arguments, std::size_t workspace_bytes) {
  const char* op = "attention_backward";
  const AttentionShape& shape = arguments.shape;
  check_shape(op, shape);
  const std::int64_t tokens = shape.tokens, width = shape.width;
  const std::int64_t rows = shape.batch * tokens, cols = shape.heads * width;
  const Rows<T> q(op, "q", arguments.q, rows, cols), k(op, "k", arguments.k, rows, cols);
  const Rows<T> v(op, "v", arguments.v, rows, cols), dout(op, "dout", arguments.dout, rows, cols);
  const Rows<T> dq(op, "dq", arguments.dq, rows, cols), dk(op, "dk", arguments.dk, rows, cols);
  const Rows<T> dv(op, "dv", arguments.dv, rows, cols);
  const Vector<T> log_sum_exp(op, "log_sum_exp", arguments.log_sum_exp, shape.batch * shape.heads * tokens);
  const KeepFactor keep(op, shape);
  Scratch scratch(op, arguments.workspace, workspace_bytes);
  double *probability = scratch.take(tokens), *dprobability = scratch.take(tokens);
  double *capped = scratch.take(tokens), *dq_row = scratch.take(width);
  double *dk_sums = scratch.take(tokens * width), *dv_sums = scratch.take(tokens * width);

  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t h = 0; h < shape.heads; ++h) {
      const std::int64_t column = h * width;
      std::fill_n(dk_sums, tokens * width, 0.0);
      std::fill_n(dv_sums, tokens * width, 0.0);
      for (std::int64_t i = 0; i < tokens; ++i) {
        const std::int64_t keys = visible(shape, i), row = b * tokens + i;
        double expected = 0;  // sum_j P_ij dP_ij, what the softmax subtracts
        for (std::int64_t j = 0; j < keys; ++j) {
          const std::int64_t key = b * tokens + j;
          capped[j] = logit(shape, q[row] + column, k[key] + column);
          probability[j] = std::exp(capped[j] - log_sum_exp[(b * shape.heads + h) * tokens + i]);
          const double kept = keep(b, h, i, j);
          dprobability[j] = kept * dot(dout[row] + column, v[key] + column, width);
          expected += probability[j] * dprobability[j];
          for (std::int64_t d = 0; d < width; ++d)
            dv_sums[j * width + d] += probability[j] * kept * dout[row][column + d];
        }
        std::fill_n(dq_row, width, 0.0);
        for (std::int64_t j = 0; j < keys; ++j) {
          double dlogit = probability[j] * (dprobability[j] - expected);
          if (shape.soft_cap > 0) dlogit *= 1 - std::pow(capped[j] / shape.soft_cap, 2);
          for (std::int64_t d = 0; d < width; ++d) {
            dq_row[d] += dlogit * shape.scale * k[b * tokens + j][column + d];
            dk_sums[j * width + d] += dlogit * shape.scale * q[row][column + d];
          }
        }
        for (std::int64_t d = 0; d < width; ++d) dq[row][column + d] = static_cast<T>(dq_row[d]);
      }
      for (std::int64_t j = 0; j < tokens; ++j) {
        for (std::int64_t d = 0; d < width; ++d) {
          dk[b * tokens + j][column + d] = static_cast<T>(dk_sums[j * width + d]);
          dv[b * tokens + j][column + d] = static_cast<T>(dv_sums[j * width + d]);
        }
      }
    }
  }
}

template <class T>
void rotate(const Rotary& arguments) {
  const char* op = "rotary";
  PLUMB_CHECK(arguments.width % 2 == 0, "{}: the head width {} must be even", op, arguments.width);
  PLUMB_CHECK(arguments.tokens >= 1, "{}: tokens is {}", op, arguments.tokens);
  const std::int64_t rows = arguments.x.rows(), half = arguments.width / 2;
  const Rows<T> x(op, "x", arguments.x, rows, arguments.heads * arguments.width);
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto position = static_cast<double>(r % arguments.tokens) * (arguments.inverse ? -1 : 1);
    for (std::int64_t h = 0; h < arguments.heads; ++h) {
      for (std::int64_t i = 0; i < half; ++i) {
        const double angle =
            position * std::pow(arguments.base, -static_cast<double>(i) / static_cast<double>(half));
        const double c = std::cos(angle), s = std::sin(angle);
        T& first = x[r][h * arguments.width + i];
        T& second = x[r][h * arguments.width + i + half];
        const double u = first, w = second;
        first = static_cast<T>(u * c - w * s);
        second = static_cast<T>(u * s + w * c);
      }
    }
  }
}

}  // namespace

void ReferenceAttention::attention_forward(Stream&, const AttentionForward& arguments) const {
  with_scalar("attention_forward", arguments.q.dtype, [&](auto scalar) {
    forward<decltype(scalar)>(arguments, attention_forward_workspace(arguments));
  });
}

void ReferenceAttention::attention_backward(Stream&, const AttentionBackward& arguments) const {
  with_scalar("attention_backward", arguments.q.dtype, [&](auto scalar) {
    backward<decltype(scalar)>(arguments, attention_backward_workspace(arguments));
  });
}

void ReferenceAttention::rotary(Stream&, const Rotary& arguments) const {
  with_scalar("rotary", arguments.x.dtype, [&](auto scalar) { rotate<decltype(scalar)>(arguments); });
}

std::size_t ReferenceAttention::attention_forward_workspace(const AttentionForward& arguments) const {
  return scratch_bytes(arguments.shape.tokens);
}

std::size_t ReferenceAttention::attention_backward_workspace(const AttentionBackward& arguments) const {
  const AttentionShape& shape = arguments.shape;
  return scratch_bytes(3 * shape.tokens + shape.width + 2 * shape.tokens * shape.width);
}

}  // namespace plumb::reference
