#include "gpu/kernel_cases.h"

#include <algorithm>

#include "core/error.h"

namespace plumb::gpu {
namespace {

constexpr DType kMaster = DType::Float32;
constexpr double kMasterBytes = 4;

double elements(std::int64_t rows, std::int64_t cols) {
  return static_cast<double>(rows) * static_cast<double>(cols);
}

std::string rows_by(const KernelSizes& sizes, std::int64_t cols) {
  return fmt::format("({}, {})", sizes.rows(), cols);
}

using Issue = std::function<void()>;

NormForward layer_norm(const KernelSizes& sizes, DeviceMemory& memory) {
  NormForward norm;
  norm.kind = NormKind::LayerNorm;
  norm.x = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
  norm.y = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
  norm.gain = memory.tensor(kMaster, {sizes.width});
  norm.bias = memory.tensor(kMaster, {sizes.width});
  norm.mean = memory.tensor(kMaster, {sizes.rows(), 1});
  norm.rstd = memory.tensor(kMaster, {sizes.rows(), 1});
  return norm;
}

MomentsView moments(const KernelSizes& sizes, DeviceMemory& memory, bool columns) {
  MomentsView view;
  view.scalars = memory.tensor(DType::Float64, {kMomentScalars});
  if (!columns) return view;
  view.column_sum = memory.tensor(DType::Float64, {sizes.width});
  view.column_square = memory.tensor(DType::Float64, {sizes.width});
  view.shift = memory.tensor(DType::Float64, {sizes.width});
  return view;
}

void add_norms(std::vector<KernelCase>& list, const KernelSizes& sizes) {
  list.push_back({"layer_norm forward", rows_by(sizes, sizes.width), 2 * sizes.activation(), 0, false,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    NormForward norm = layer_norm(sizes, memory);
                    norm.workspace = memory.workspace(backend.norm().norm_forward_workspace(norm));
                    return [&backend, &stream, norm] { backend.norm().norm_forward(stream, norm); };
                  }});
  list.push_back({"layer_norm backward", rows_by(sizes, sizes.width), 3 * sizes.activation(), 0, false,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    const NormForward forward = layer_norm(sizes, memory);
                    NormBackward norm;
                    norm.kind = forward.kind;
                    norm.x = forward.x, norm.gain = forward.gain, norm.bias = forward.bias;
                    norm.mean = forward.mean, norm.rstd = forward.rstd;
                    norm.dy = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
                    norm.dx = forward.y;
                    norm.dgain = memory.tensor(kMaster, {sizes.width});
                    norm.dbias = memory.tensor(kMaster, {sizes.width});
                    norm.workspace = memory.workspace(backend.norm().norm_backward_workspace(norm));
                    return [&backend, &stream, norm] { backend.norm().norm_backward(stream, norm); };
                  }});
}

KernelCase residual_forward_case(const KernelSizes& sizes, const char* name, bool with_moments,
                                 bool with_columns) {
  return {name,
          rows_by(sizes, sizes.width),
          3 * sizes.activation(),
          0,
          false,
          [=](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
            ResidualForward residual;
            residual.rows_per_sequence = sizes.tokens;
            residual.x = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
            residual.z = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
            residual.out = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
            residual.b.scalar = memory.tensor(kMaster, {1});
            if (with_moments) {
              residual.stream_moments = moments(sizes, memory, with_columns);
              residual.branch_moments = moments(sizes, memory, with_columns);
              residual.alignment.scalars = memory.tensor(DType::Float64, {kAlignmentScalars});
            }
            residual.workspace = memory.workspace(backend.residual().residual_forward_workspace(residual));
            return [&backend, &stream, residual] { backend.residual().residual_forward(stream, residual); };
          }};
}

void add_residuals(std::vector<KernelCase>& list, const KernelSizes& sizes) {
  list.push_back(residual_forward_case(sizes, "residual forward", false, false));
  list.push_back(residual_forward_case(sizes, "residual forward with moments", true, false));
  list.push_back(residual_forward_case(sizes, "residual forward with column moments", true, true));
  list.push_back(
      {"residual backward", rows_by(sizes, sizes.width), 3 * sizes.activation(), 0, false,
       [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         ResidualBackward residual;
         residual.rows_per_sequence = sizes.tokens;
         residual.x = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
         residual.z = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
         residual.b.scalar = memory.tensor(kMaster, {1});
         residual.dout = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
         residual.dx = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
         residual.dz = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
         residual.workspace = memory.workspace(backend.residual().residual_backward_workspace(residual));
         return [&backend, &stream, residual] { backend.residual().residual_backward(stream, residual); };
       }});
  list.push_back({"moments", rows_by(sizes, sizes.width), sizes.activation(), 0, false,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    MomentsArguments arguments;
                    arguments.x = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
                    arguments.moments = moments(sizes, memory, true);
                    arguments.workspace = memory.workspace(backend.moments().moments_workspace(arguments));
                    return [&backend, &stream, arguments] { backend.moments().moments(stream, arguments); };
                  }});
}

void add_activations(std::vector<KernelCase>& list, const KernelSizes& sizes) {
  list.push_back({"gelu forward", rows_by(sizes, sizes.inner()), 2 * sizes.inner_activation(), 0, false,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    ActivationForward arguments;
                    arguments.pre = memory.tensor(sizes.compute, {sizes.rows(), sizes.inner()});
                    arguments.bias = memory.tensor(kMaster, {sizes.inner()});
                    arguments.h = memory.tensor(sizes.compute, {sizes.rows(), sizes.inner()});
                    return [&backend, &stream, arguments] {
                      backend.activation().activation_forward(stream, arguments);
                    };
                  }});
  list.push_back({"gelu backward", rows_by(sizes, sizes.inner()), 3 * sizes.inner_activation(), 0, false,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    ActivationBackward arguments;
                    arguments.pre = memory.tensor(sizes.compute, {sizes.rows(), sizes.inner()});
                    arguments.bias = memory.tensor(kMaster, {sizes.inner()});
                    arguments.dh = memory.tensor(sizes.compute, {sizes.rows(), sizes.inner()});
                    arguments.dpre = memory.tensor(sizes.compute, {sizes.rows(), sizes.inner()});
                    arguments.dbias = memory.tensor(kMaster, {sizes.inner()});
                    arguments.workspace =
                        memory.workspace(backend.activation().activation_backward_workspace(arguments));
                    return [&backend, &stream, arguments] {
                      backend.activation().activation_backward(stream, arguments);
                    };
                  }});
  list.push_back({"dropout", rows_by(sizes, sizes.width), 2 * sizes.activation(), 0, false,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    Dropout arguments;
                    arguments.probability = 0.1;
                    arguments.rows_per_sequence = sizes.tokens;
                    arguments.site.counters = memory.tensor(DType::Int64, {2});
                    arguments.x = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
                    arguments.y = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
                    return [&backend, &stream, arguments] { backend.random().dropout(stream, arguments); };
                  }});
}

void add_products(std::vector<KernelCase>& list, const KernelSizes& sizes) {
  const std::int64_t out = 3 * sizes.width;
  const double operations = 2 * elements(sizes.rows(), sizes.width) * static_cast<double>(out);
  const double weight = elements(out, sizes.width),
               wide = elements(sizes.rows(), out) * sizes.compute_bytes();
  const std::string shape = fmt::format("({} x {}) x {}", sizes.rows(), sizes.width, out);
  list.push_back({"linear forward", shape, sizes.activation() + wide + weight * sizes.compute_bytes(),
                  operations, true, [=](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    LinearForward linear;
                    linear.x = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
                    linear.weight = memory.tensor(sizes.compute, {out, sizes.width});
                    linear.bias = memory.tensor(kMaster, {out});
                    linear.y = memory.tensor(sizes.compute, {sizes.rows(), out});
                    linear.workspace = memory.workspace(backend.linear().linear_forward_workspace(linear));
                    return [&backend, &stream, linear] { backend.linear().linear_forward(stream, linear); };
                  }});
  list.push_back(
      {"linear backward, input", shape, sizes.activation() + wide + weight * sizes.compute_bytes(),
       operations, true, [=](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         LinearBackwardInput linear;
         linear.dy = memory.tensor(sizes.compute, {sizes.rows(), out});
         linear.weight = memory.tensor(sizes.compute, {out, sizes.width});
         linear.dx = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
         linear.workspace = memory.workspace(backend.linear().linear_backward_input_workspace(linear));
         return [&backend, &stream, linear] { backend.linear().linear_backward_input(stream, linear); };
       }});
  list.push_back(
      {"linear backward, weight and bias", shape, sizes.activation() + wide + 2 * weight * kMasterBytes,
       operations, true, [=](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         LinearBackwardWeight linear;
         linear.dy = memory.tensor(sizes.compute, {sizes.rows(), out});
         linear.x = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
         linear.dweight = memory.tensor(kMaster, {out, sizes.width});
         linear.dbias = memory.tensor(kMaster, {out});
         linear.workspace = memory.workspace(backend.linear().linear_backward_weight_workspace(linear));
         return [&backend, &stream, linear] { backend.linear().linear_backward_weight(stream, linear); };
       }});
}

AttentionShape attention_shape(const KernelSizes& sizes) {
  AttentionShape shape;
  shape.batch = sizes.batch, shape.tokens = sizes.tokens, shape.heads = sizes.heads,
  shape.width = sizes.head_width();
  shape.scale = 0.125;
  return shape;
}

AttentionForward attention_forward(const KernelSizes& sizes, Backend& backend, DeviceMemory& memory) {
  AttentionForward attention;
  attention.shape = attention_shape(sizes);
  const Tensor packed = memory.tensor(sizes.compute, {sizes.rows(), 3 * sizes.width});
  attention.q = packed.columns(0, sizes.width);
  attention.k = packed.columns(sizes.width, sizes.width);
  attention.v = packed.columns(2 * sizes.width, sizes.width);
  attention.out = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
  attention.log_sum_exp = memory.tensor(kMaster, {sizes.batch, sizes.heads, sizes.tokens});
  attention.workspace = memory.workspace(backend.attention().attention_forward_workspace(attention));
  return attention;
}

void add_attention(std::vector<KernelCase>& list, const KernelSizes& sizes) {
  const double pairs =
      0.5 * static_cast<double>(sizes.batch * sizes.heads) * elements(sizes.tokens, sizes.tokens);
  const std::string shape = fmt::format("B {}, H {}, T {}, D {}, causal", sizes.batch, sizes.heads,
                                        sizes.tokens, sizes.head_width());
  list.push_back({"attention forward", shape, 4 * sizes.activation(), 4 * pairs * sizes.head_width(), true,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    const AttentionForward attention = attention_forward(sizes, backend, memory);
                    return [&backend, &stream, attention] {
                      backend.attention().attention_forward(stream, attention);
                    };
                  }});
  list.push_back(
      {"attention backward", shape, 8 * sizes.activation(), 10 * pairs * sizes.head_width(), true,
       [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         const AttentionForward forward = attention_forward(sizes, backend, memory);
         backend.attention().attention_forward(stream, forward);
         AttentionBackward attention;
         attention.shape = forward.shape;
         attention.q = forward.q, attention.k = forward.k, attention.v = forward.v;
         attention.out = forward.out, attention.log_sum_exp = forward.log_sum_exp;
         attention.dout = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
         const Tensor packed = memory.tensor(sizes.compute, {sizes.rows(), 3 * sizes.width});
         attention.dq = packed.columns(0, sizes.width);
         attention.dk = packed.columns(sizes.width, sizes.width);
         attention.dv = packed.columns(2 * sizes.width, sizes.width);
         attention.workspace = memory.workspace(backend.attention().attention_backward_workspace(attention));
         return [&backend, &stream, attention] { backend.attention().attention_backward(stream, attention); };
       }});
  list.push_back({"rotary", rows_by(sizes, sizes.width), 2 * sizes.activation(), 0, false,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    Rotary rotary{
                        sizes.tokens, sizes.heads, sizes.head_width(),
                        10000,        false,       memory.tensor(sizes.compute, {sizes.rows(), sizes.width})};
                    backend.attention().prepare_rotary(rotary);
                    return [&backend, &stream, rotary] { backend.attention().rotary(stream, rotary); };
                  }});
}

void add_embedding(std::vector<KernelCase>& list, const KernelSizes& sizes) {
  list.push_back({"embedding forward", rows_by(sizes, sizes.width),
                  sizes.activation() + elements(sizes.rows(), sizes.width) * kMasterBytes, 0, false,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    EmbeddingForward arguments;
                    arguments.tokens = sizes.tokens;
                    arguments.ids = memory.integers(sizes.rows(), sizes.vocabulary);
                    arguments.token_table = memory.tensor(kMaster, {sizes.vocabulary, sizes.width});
                    arguments.out = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
                    return [&backend, &stream, arguments] {
                      backend.embedding().embedding_forward(stream, arguments);
                    };
                  }});
  list.push_back(
      {"embedding backward", rows_by(sizes, sizes.width),
       sizes.activation() + 2 * elements(sizes.rows(), sizes.width) * kMasterBytes, 0, false,
       [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         EmbeddingBackward arguments;
         arguments.tokens = sizes.tokens;
         arguments.ids = memory.integers(sizes.rows(), sizes.vocabulary);
         arguments.dout = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
         arguments.dtoken_table = memory.tensor(kMaster, {sizes.vocabulary, sizes.width});
         arguments.workspace = memory.workspace(backend.embedding().embedding_backward_workspace(arguments));
         return [&backend, &stream, arguments] { backend.embedding().embedding_backward(stream, arguments); };
       }});
}

void add_head(std::vector<KernelCase>& list, const KernelSizes& sizes) {
  const double table = elements(sizes.vocabulary, sizes.width),
               logits = 2 * elements(sizes.rows(), sizes.vocabulary) * sizes.width;
  const std::string shape = fmt::format("({} x {}) x {}", sizes.rows(), sizes.width, sizes.vocabulary);
  list.push_back({"head and loss forward", shape, sizes.activation() + table * sizes.compute_bytes(), logits,
                  true, [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    HeadLossForward head;
                    head.h = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
                    head.weight = memory.tensor(sizes.compute, {sizes.vocabulary, sizes.width});
                    head.targets = memory.integers(sizes.rows(), sizes.vocabulary);
                    head.log_z = memory.tensor(kMaster, {sizes.rows()});
                    head.sums = memory.tensor(DType::Float64, {kHeadLossSums});
                    head.workspace = memory.workspace(backend.head_loss().head_loss_forward_workspace(head));
                    return [&backend, &stream, head] { backend.head_loss().head_loss_forward(stream, head); };
                  }});
  list.push_back({"head and loss backward", shape,
                  2 * sizes.activation() + table * (sizes.compute_bytes() + 2 * kMasterBytes), 3 * logits,
                  true, [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    HeadLossBackward head;
                    head.gradient_scale = 1.0 / sizes.rows();
                    head.h = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
                    head.weight = memory.tensor(sizes.compute, {sizes.vocabulary, sizes.width});
                    head.targets = memory.integers(sizes.rows(), sizes.vocabulary);
                    head.log_z = memory.tensor(kMaster, {sizes.rows()});
                    head.dh = memory.tensor(sizes.compute, {sizes.rows(), sizes.width});
                    head.dweight = memory.tensor(kMaster, {sizes.vocabulary, sizes.width});
                    head.workspace = memory.workspace(backend.head_loss().head_loss_backward_workspace(head));
                    return
                        [&backend, &stream, head] { backend.head_loss().head_loss_backward(stream, head); };
                  }});
}

void add_updates(std::vector<KernelCase>& list, const KernelSizes& sizes) {
  const auto count = static_cast<double>(sizes.parameters);
  const std::string shape = fmt::format("{} M", sizes.parameters / 1'000'000);
  list.push_back(
      {"adamw", shape, count * (7 * kMasterBytes + (sizes.compute == kMaster ? 0 : sizes.compute_bytes())), 0,
       false, [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         const Shape flat{sizes.parameters};
         std::vector<UpdateTensor> tensors(1);
         tensors[0].parameter = memory.tensor(kMaster, flat);
         tensors[0].gradient = memory.tensor(kMaster, flat);
         tensors[0].momentum = memory.tensor(kMaster, flat);
         tensors[0].variance = memory.zeros(kMaster, flat);
         if (sizes.compute != kMaster) tensors[0].compute_copy = memory.tensor(sizes.compute, flat);
         AdamW adamw;
         std::vector<double> scalars(kStepScalars, 1.0);  // no clipping, no skip
         scalars[kStepLearningRate] = 1e-6;
         adamw.step_scalars = memory.doubles(scalars);
         adamw.statistics = {memory.tensor(DType::Float64, {1}), memory.tensor(DType::Float64, {1})};
         adamw.workspace = memory.workspace(backend.optimizer().update_workspace(tensors));
         return [&backend, &stream, adamw, tensors] { backend.optimizer().adamw(stream, adamw, tensors); };
       }});
  list.push_back({"sum of squares", shape, count * kMasterBytes, 0, false,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    const std::vector<Tensor> tensors = {memory.tensor(kMaster, {sizes.parameters})};
                    const Tensor squares = memory.tensor(DType::Float64, {1});
                    const Workspace workspace =
                        memory.workspace(backend.elementwise().sum_of_squares_workspace(tensors));
                    return [&backend, &stream, tensors, squares, workspace] {
                      backend.elementwise().sum_of_squares(
                          stream, {.squares = squares, .accumulate = false, .workspace = workspace}, tensors);
                    };
                  }});
  if (sizes.compute == kMaster) return;  // nothing to cast
  list.push_back({"cast fp32 to bf16", shape, count * (kMasterBytes + sizes.compute_bytes()), 0, false,
                  [sizes](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    const Tensor from = memory.tensor(kMaster, {sizes.parameters});
                    const Tensor to = memory.tensor(sizes.compute, {sizes.parameters});
                    return [&backend, &stream, from, to] { backend.elementwise().copy(stream, from, to); };
                  }});
}

}  // namespace

std::vector<KernelCase> kernel_cases(const KernelSizes& sizes) {
  std::vector<KernelCase> list;
  add_norms(list, sizes);
  add_residuals(list, sizes);
  add_activations(list, sizes);
  add_products(list, sizes);
  add_attention(list, sizes);
  add_embedding(list, sizes);
  add_head(list, sizes);
  add_updates(list, sizes);
  return list;
}

double predicted_seconds(const KernelCase& one, const Peaks& peaks) {
  const double rate = one.tensor_cores ? peaks.tensor_operations_per_second : peaks.operations_per_second;
  return std::max(one.bytes / peaks.bytes_per_second, one.operations / rate);
}

}  // namespace plumb::gpu
