#include "gpu/counted_ops.h"

#include <algorithm>
#include <string>
#include <utility>

#include "backends/cuda/head_chunks.h"
#include "core/error.h"

namespace plumb::gpu {
namespace {

[[noreturn]] void not_counted(const char* op) { fail("the account of a step does not know {}", op); }

double bytes_of(std::initializer_list<Tensor> tensors) {
  double bytes = 0;
  std::vector<const void*> seen;  // two views of one tensor are moved once
  for (const Tensor& tensor : tensors) {
    if (!tensor.defined() || std::find(seen.begin(), seen.end(), tensor.data) != seen.end()) continue;
    seen.push_back(tensor.data);
    bytes += static_cast<double>(tensor.elements()) * static_cast<double>(size_of(tensor.dtype));
  }
  return bytes;
}

std::string shape_of(const Tensor& tensor) { return fmt::format("({}, {})", tensor.rows(), tensor.cols()); }

/// What the sums of a product add to is read as well.
Tensor added_to(bool accumulate, const Tensor& tensor) { return accumulate ? tensor : Tensor(); }

}  // namespace

void KernelList::moves(const char* name, const Tensor& shape, std::initializer_list<Tensor> read,
                       std::initializer_list<Tensor> written, bool statistics) const {
  add({name, shape_of(shape), bytes_of(read) + bytes_of(written), 0, false, statistics});
}

void KernelList::multiplies(const char* name, std::int64_t m, std::int64_t n, std::int64_t k,
                            std::initializer_list<Tensor> read, std::initializer_list<Tensor> written) const {
  const double operations = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  add({name, fmt::format("({} x {}) x {}", m, k, n), bytes_of(read) + bytes_of(written), operations, true,
       false});
}

void CountedNorm::norm_forward(Stream&, const NormForward& norm) const {
  list_.moves("norm forward", norm.x, {norm.x, norm.gain, norm.bias}, {norm.y, norm.mean, norm.rstd});
}

void CountedNorm::norm_backward(Stream&, const NormBackward& norm) const {
  list_.moves(norm.accumulate_dx ? "norm backward, added to the stream's" : "norm backward", norm.x,
              {norm.x, norm.dy, norm.mean, norm.rstd, norm.gain, added_to(norm.accumulate_dx, norm.dx)},
              {norm.dx});
}

void CountedResidual::residual_forward(Stream&, const ResidualForward& residual) const {
  list_.moves("residual forward, moments with it", residual.x, {residual.x, residual.z, residual.x_block},
              {residual.out});
}

void CountedResidual::residual_backward(Stream&, const ResidualBackward& residual) const {
  list_.moves("residual backward", residual.dout, {residual.dout, residual.dx_block},
              {residual.dx, residual.dz, residual.dx_block});
}

void CountedLinear::linear_forward(Stream&, const LinearForward& linear) const {
  list_.multiplies("linear forward", linear.x.rows(), linear.y.cols(), linear.x.cols(),
                   {linear.x, linear.weight}, {linear.y});
}

void CountedLinear::linear_backward_input(Stream&, const LinearBackwardInput& linear) const {
  list_.multiplies("linear backward, input", linear.dy.rows(), linear.dx.cols(), linear.dy.cols(),
                   {linear.dy, linear.weight, added_to(linear.accumulate, linear.dx)}, {linear.dx});
}

void CountedLinear::linear_backward_weight(Stream&, const LinearBackwardWeight& linear) const {
  list_.multiplies("linear backward, weight", linear.dy.cols(), linear.x.cols(), linear.dy.rows(),
                   {linear.dy, linear.x, added_to(linear.accumulate, linear.dweight)}, {linear.dweight});
  if (linear.dbias.defined()) list_.moves("linear backward, bias", linear.dy, {linear.dy}, {});
}

void CountedActivation::activation_forward(Stream&, const ActivationForward& activation) const {
  list_.moves("activation forward, bias with it", activation.pre, {activation.pre}, {activation.h});
}

void CountedActivation::activation_backward(Stream&, const ActivationBackward& activation) const {
  list_.moves("activation backward, bias with it", activation.pre, {activation.pre, activation.dh},
              {activation.dpre});
}

void CountedAttention::attention_forward(Stream&, const AttentionForward& attention) const {
  const AttentionShape& shape = attention.shape;
  const double pairs = static_cast<double>(shape.batch * shape.heads) * static_cast<double>(shape.tokens) *
                       static_cast<double>(shape.tokens) * (shape.causal ? 0.5 : 1);
  list_.add(
      {"attention forward", shape_of(attention.q),
       bytes_of({attention.q, attention.k, attention.v}) + bytes_of({attention.out, attention.log_sum_exp}),
       4 * pairs * static_cast<double>(shape.width), true, false});
  // Neither is in what the library hands back; one pass over queries and keys takes both.
  if (attention.entropy_sums.defined())
    list_.add({"attention statistics", shape_of(attention.q),
               bytes_of({attention.q, attention.k, attention.log_sum_exp}),
               2 * pairs * static_cast<double>(shape.width), true, true});
}

void CountedAttention::attention_backward(Stream&, const AttentionBackward& attention) const {
  const AttentionShape& shape = attention.shape;
  const double pairs = static_cast<double>(shape.batch * shape.heads) * static_cast<double>(shape.tokens) *
                       static_cast<double>(shape.tokens) * (shape.causal ? 0.5 : 1);
  list_.add({"attention backward", shape_of(attention.q),
             bytes_of({attention.q, attention.k, attention.v, attention.out, attention.dout,
                       attention.log_sum_exp}) +
                 bytes_of({attention.dq, attention.dk, attention.dv}),
             10 * pairs * static_cast<double>(shape.width), true, false});
}

void CountedAttention::rotary(Stream&, const Rotary& rotary) const {
  list_.moves("rotary", rotary.x, {rotary.x}, {rotary.x});
}

void CountedEmbedding::embedding_forward(Stream&, const EmbeddingForward& embedding) const {
  const double rows = static_cast<double>(embedding.out.elements()) * 4;  // of the table, one for each token
  list_.add({"embedding forward", shape_of(embedding.out),
             rows + bytes_of({embedding.position_table}) + bytes_of({embedding.out}), 0, false, false});
}

void CountedEmbedding::embedding_backward(Stream&, const EmbeddingBackward& embedding) const {
  const double rows = static_cast<double>(embedding.dout.elements()) * 4;
  list_.add({"embedding backward, tokens", shape_of(embedding.dout), bytes_of({embedding.dout}) + 2 * rows, 0,
             false, false});
  if (!embedding.dposition_table.defined()) return;
  list_.moves("embedding backward, positions", embedding.dout, {embedding.dout, embedding.dposition_table},
              {embedding.dposition_table});
}

namespace {

/// Calls body(rows, entries) for every chunk of logits.
template <class Body>
void for_chunks(const Tensor& h, const Tensor& weight, Body&& body) {
  const cuda::HeadChunks chunks(h.rows(), weight.rows(), cuda::kChunkLogits);
  cuda::HeadChunks::walk(chunks.total_rows, chunks.rows, [&](std::int64_t, std::int64_t rows) {
    cuda::HeadChunks::walk(chunks.total_vocabulary, chunks.vocabulary,
                           [&](std::int64_t, std::int64_t entries) { body(rows, entries); });
  });
}

Tensor logits_of(DType dtype, std::int64_t rows, std::int64_t entries) {
  static char place = 0;
  return Tensor(&place, dtype, {rows, entries});
}

}  // namespace

void CountedHeadLoss::head_loss_forward(Stream&, const HeadLossForward& head) const {
  for_chunks(head.h, head.weight, [&](std::int64_t rows, std::int64_t entries) {
    const Tensor h = head.h.row_range(0, rows), weight = head.weight.row_range(0, entries);
    const Tensor logits = logits_of(DType::Float32, rows, entries);
    list_.multiplies("head, logits", rows, entries, h.cols(), {h, weight}, {logits});
    list_.moves("head, softmax of a chunk", logits, {logits}, {});
  });
}

void CountedHeadLoss::head_loss_backward(Stream&, const HeadLossBackward& head) const {
  for_chunks(head.h, head.weight, [&](std::int64_t rows, std::int64_t entries) {
    const Tensor h = head.h.row_range(0, rows), weight = head.weight.row_range(0, entries);
    const Tensor dweight = head.dweight.row_range(0, entries);
    const Tensor logits = logits_of(DType::Float32, rows, entries);
    const Tensor dlogits = logits_of(h.dtype, rows, entries);
    const Tensor dh = Tensor(head.dh.data, DType::Float32, {rows, h.cols()});
    list_.multiplies("head, logits again", rows, entries, h.cols(), {h, weight}, {logits});
    list_.moves("head, gradient of logits", logits, {logits}, {dlogits});
    list_.multiplies("head, gradient of its input", rows, h.cols(), entries, {dlogits, weight, dh}, {dh});
    list_.multiplies("head, gradient of its weight", entries, h.cols(), rows, {dlogits, h, dweight},
                     {dweight});
  });
}

void CountedHeadLoss::head_loss_both(Stream&, const HeadLossBoth& both) const {
  const HeadLossBackward& head = both.backward;
  const std::int64_t vocabulary = head.weight.rows(), width = head.h.cols();
  const std::int64_t most =
      cuda::HeadChunks::joined_rows(head.h.rows(), vocabulary, cuda::kChunkLogits, cuda::kJoinedRows);
  cuda::HeadChunks::walk(head.h.rows(), most, [&](std::int64_t first, std::int64_t rows) {
    const Tensor h = head.h.row_range(first, rows), dh = head.dh.row_range(first, rows);
    const Tensor logits = logits_of(DType::Float32, rows, vocabulary);
    const Tensor dlogits = logits_of(h.dtype, rows, vocabulary);
    list_.multiplies("head, logits", rows, vocabulary, width, {h, head.weight}, {logits});
    list_.moves("head, softmax and gradient of logits", logits, {logits}, {dlogits});
    list_.multiplies("head, gradient of its input", rows, width, vocabulary, {dlogits, head.weight}, {dh});
    const bool accumulates = head.accumulate || first > 0;
    list_.multiplies("head, gradient of its weight", vocabulary, width, rows,
                     {dlogits, h, added_to(accumulates, head.dweight)}, {head.dweight});
  });
}

void CountedOptimizer::adamw(Stream&, const AdamW&, std::span<const UpdateTensor> tensors) const {
  double bytes = 0, elements = 0;
  for (const UpdateTensor& one : tensors) {
    elements += static_cast<double>(one.parameter.elements());
    bytes += bytes_of({one.parameter, one.gradient, one.momentum, one.variance}) +
             bytes_of({one.parameter, one.momentum, one.variance, one.compute_copy});
  }
  list_.add({"adamw, rounded copies and statistics with it", fmt::format("{:.1f} M", elements / 1e6), bytes,
             0, false, false});
}

void CountedOptimizer::sgd_momentum(Stream&, const SgdMomentum&, std::span<const UpdateTensor>) const {
  not_counted("sgd_momentum");
}

void CountedElementwise::fill(Stream&, const Tensor& x, double) const {
  list_.add({"fill", fmt::format("{:.1f} M", static_cast<double>(x.elements()) / 1e6), bytes_of({x}), 0,
             false, false});
}

void CountedElementwise::fill_all(Stream&, std::span<const Tensor> tensors, double) const {
  double bytes = 0;
  for (const Tensor& tensor : tensors) bytes += bytes_of({tensor});
  list_.add({"fill of what is added to", fmt::format("{:.1f} M", bytes / 4e6), bytes, 0, false, false});
}

void CountedElementwise::copy(Stream&, const Tensor& x, const Tensor& y) const {
  list_.moves("copy", x, {x}, {y});
}

void CountedElementwise::add(Stream&, const Tensor& x, const Tensor& y) const {
  list_.moves("add", x, {x, y}, {y});
}

void CountedElementwise::sum_of_squares(Stream&, const SumOfSquares&, std::span<const Tensor> tensors) const {
  double bytes = 0, elements = 0;
  for (const Tensor& tensor : tensors) {
    elements += static_cast<double>(tensor.elements());
    bytes += bytes_of({tensor});
  }
  list_.add({"sum of squares of gradients", fmt::format("{:.1f} M", elements / 1e6), bytes, 0, false, false});
}

void CountedElementwise::hash(Stream&, const HashTensors&, std::span<const Tensor>) const {
  not_counted("hash");
}
void CountedElementwise::group_gain_forward(Stream&, const GroupGain&) const { not_counted("group_gain"); }
void CountedElementwise::group_gain_backward(Stream&, const GroupGainBackward&) const {
  not_counted("group_gain");
}
void CountedElementwise::scalar_bias_forward(Stream&, const ScalarBias&) const { not_counted("scalar_bias"); }
void CountedElementwise::scalar_bias_backward(Stream&, const ScalarBiasBackward&) const {
  not_counted("scalar_bias");
}

void CountedMoments::moments(Stream&, const MomentsArguments& moments) const {
  list_.moves("moments", moments.x, {moments.x}, {}, true);
}

void CountedObservations::row_squares(Stream&, const RowSquares& squares) const {
  list_.moves("squares of an activation's gradient", squares.x, {squares.x}, {}, true);
}
void CountedObservations::count_above(Stream&, const CountAbove& count) const {
  list_.moves("count above", count.x, {count.x}, {}, true);
}
void CountedObservations::count_saturated(Stream&, const CountSaturated& count) const {
  list_.moves("count saturated", count.x, {count.x}, {}, true);
}
void CountedObservations::column_maxima(Stream&, const ColumnMaxima& maxima) const {
  list_.moves("column maxima", maxima.x, {maxima.x}, {}, true);
}
void CountedObservations::magnitude_histogram(Stream&, const MagnitudeHistogram& histogram) const {
  list_.moves("magnitude histogram", histogram.x, {histogram.x}, {}, true);
}
void CountedObservations::token_similarity(Stream&, const TokenSimilarity& similarity) const {
  list_.moves("token similarity", similarity.x, {similarity.x}, {}, true);
}

void CountedRandom::dropout(Stream&, const Dropout& dropout) const {
  list_.moves("dropout", dropout.x, {dropout.x}, {dropout.y});
}

void CountedParameter::row_gain_forward(Stream&, const RowGain&) const { not_counted("row_gain"); }
void CountedParameter::row_gain_backward(Stream&, const RowGainBackward&) const { not_counted("row_gain"); }
void CountedParameter::normalize_spheres(Stream&, const NormalizeSpheres&,
                                         std::span<const SphereWeight>) const {
  not_counted("normalize_spheres");
}

}  // namespace plumb::gpu
