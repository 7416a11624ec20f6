#include "gpu/kernel_cases.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace plumb::gpu {
namespace {

// 12 blocks of width 768 with 12 heads on 8 sequences of 1024 tokens, vocabulary padded to 50304.
constexpr std::int64_t kBatch = 8, kTokens = 1024, kRows = kBatch * kTokens;
constexpr std::int64_t kWidth = 768, kHeads = 12, kHeadWidth = 64, kInner = 3072, kVocabulary = 50304;
constexpr std::int64_t kParameters = 124'000'000;
constexpr DType kCompute = DType::BFloat16, kMaster = DType::Float32;
constexpr double kComputeBytes = 2, kMasterBytes = 4;

double elements(std::int64_t rows, std::int64_t cols) {
  return static_cast<double>(rows) * static_cast<double>(cols);
}
const double kActivation = elements(kRows, kWidth) * kComputeBytes;  // bytes of one (R, C) tensor
const double kInnerActivation = elements(kRows, kInner) * kComputeBytes;

std::string rows_by(std::int64_t cols) { return fmt::format("({}, {})", kRows, cols); }

using Issue = std::function<void()>;

NormForward layer_norm(DeviceMemory& memory) {
  NormForward norm;
  norm.kind = NormKind::LayerNorm;
  norm.x = memory.tensor(kCompute, {kRows, kWidth});
  norm.y = memory.tensor(kCompute, {kRows, kWidth});
  norm.gain = memory.tensor(kMaster, {kWidth});
  norm.bias = memory.tensor(kMaster, {kWidth});
  norm.mean = memory.tensor(kMaster, {kRows, 1});
  norm.rstd = memory.tensor(kMaster, {kRows, 1});
  return norm;
}

MomentsView moments(DeviceMemory& memory, bool columns) {
  MomentsView view;
  view.scalars = memory.tensor(DType::Float64, {kMomentScalars});
  if (!columns) return view;
  view.column_sum = memory.tensor(DType::Float64, {kWidth});
  view.column_square = memory.tensor(DType::Float64, {kWidth});
  view.shift = memory.tensor(DType::Float64, {kWidth});
  return view;
}

void add_norms(std::vector<KernelCase>& list) {
  list.push_back({"layer_norm forward", rows_by(kWidth), 2 * kActivation, 0, false,
                  [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    NormForward norm = layer_norm(memory);
                    norm.workspace = memory.workspace(backend.norm().norm_forward_workspace(norm));
                    return [&backend, &stream, norm] { backend.norm().norm_forward(stream, norm); };
                  }});
  list.push_back({"layer_norm backward", rows_by(kWidth), 3 * kActivation, 0, false,
                  [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    const NormForward forward = layer_norm(memory);
                    NormBackward norm;
                    norm.kind = forward.kind;
                    norm.x = forward.x, norm.gain = forward.gain, norm.bias = forward.bias;
                    norm.mean = forward.mean, norm.rstd = forward.rstd;
                    norm.dy = memory.tensor(kCompute, {kRows, kWidth});
                    norm.dx = forward.y;
                    norm.dgain = memory.tensor(kMaster, {kWidth});
                    norm.dbias = memory.tensor(kMaster, {kWidth});
                    norm.workspace = memory.workspace(backend.norm().norm_backward_workspace(norm));
                    return [&backend, &stream, norm] { backend.norm().norm_backward(stream, norm); };
                  }});
}

KernelCase residual_forward_case(const char* name, bool with_moments, bool with_columns) {
  return {name,
          rows_by(kWidth),
          3 * kActivation,
          0,
          false,
          [=](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
            ResidualForward residual;
            residual.rows_per_sequence = kTokens;
            residual.x = memory.tensor(kCompute, {kRows, kWidth});
            residual.z = memory.tensor(kCompute, {kRows, kWidth});
            residual.out = memory.tensor(kCompute, {kRows, kWidth});
            residual.b.scalar = memory.tensor(kMaster, {1});
            if (with_moments) {
              residual.stream_moments = moments(memory, with_columns);
              residual.branch_moments = moments(memory, with_columns);
              residual.alignment.scalars = memory.tensor(DType::Float64, {kAlignmentScalars});
            }
            residual.workspace = memory.workspace(backend.residual().residual_forward_workspace(residual));
            return [&backend, &stream, residual] { backend.residual().residual_forward(stream, residual); };
          }};
}

void add_residuals(std::vector<KernelCase>& list) {
  list.push_back(residual_forward_case("residual forward", false, false));
  list.push_back(residual_forward_case("residual forward with moments", true, false));
  list.push_back(residual_forward_case("residual forward with column moments", true, true));
  list.push_back(
      {"residual backward", rows_by(kWidth), 3 * kActivation, 0, false,
       [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         ResidualBackward residual;
         residual.rows_per_sequence = kTokens;
         residual.x = memory.tensor(kCompute, {kRows, kWidth});
         residual.z = memory.tensor(kCompute, {kRows, kWidth});
         residual.b.scalar = memory.tensor(kMaster, {1});
         residual.dout = memory.tensor(kCompute, {kRows, kWidth});
         residual.dx = memory.tensor(kCompute, {kRows, kWidth});
         residual.dz = memory.tensor(kCompute, {kRows, kWidth});
         residual.workspace = memory.workspace(backend.residual().residual_backward_workspace(residual));
         return [&backend, &stream, residual] { backend.residual().residual_backward(stream, residual); };
       }});
  list.push_back({"moments", rows_by(kWidth), kActivation, 0, false,
                  [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    MomentsArguments arguments;
                    arguments.x = memory.tensor(kCompute, {kRows, kWidth});
                    arguments.moments = moments(memory, true);
                    arguments.workspace = memory.workspace(backend.moments().moments_workspace(arguments));
                    return [&backend, &stream, arguments] { backend.moments().moments(stream, arguments); };
                  }});
}

void add_activations(std::vector<KernelCase>& list) {
  list.push_back({"gelu forward", rows_by(kInner), 2 * kInnerActivation, 0, false,
                  [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    ActivationForward arguments;
                    arguments.pre = memory.tensor(kCompute, {kRows, kInner});
                    arguments.bias = memory.tensor(kMaster, {kInner});
                    arguments.h = memory.tensor(kCompute, {kRows, kInner});
                    return [&backend, &stream, arguments] {
                      backend.activation().activation_forward(stream, arguments);
                    };
                  }});
  list.push_back({"gelu backward", rows_by(kInner), 3 * kInnerActivation, 0, false,
                  [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    ActivationBackward arguments;
                    arguments.pre = memory.tensor(kCompute, {kRows, kInner});
                    arguments.bias = memory.tensor(kMaster, {kInner});
                    arguments.dh = memory.tensor(kCompute, {kRows, kInner});
                    arguments.dpre = memory.tensor(kCompute, {kRows, kInner});
                    arguments.dbias = memory.tensor(kMaster, {kInner});
                    arguments.workspace =
                        memory.workspace(backend.activation().activation_backward_workspace(arguments));
                    return [&backend, &stream, arguments] {
                      backend.activation().activation_backward(stream, arguments);
                    };
                  }});
  list.push_back({"dropout", rows_by(kWidth), 2 * kActivation, 0, false,
                  [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    Dropout arguments;
                    arguments.probability = 0.1;
                    arguments.rows_per_sequence = kTokens;
                    arguments.site.counters = memory.tensor(DType::Int64, {2});
                    arguments.x = memory.tensor(kCompute, {kRows, kWidth});
                    arguments.y = memory.tensor(kCompute, {kRows, kWidth});
                    return [&backend, &stream, arguments] { backend.random().dropout(stream, arguments); };
                  }});
}

void add_products(std::vector<KernelCase>& list) {
  const std::int64_t out = 3 * kWidth;
  const double operations = 2 * elements(kRows, kWidth) * static_cast<double>(out);
  const double weight = elements(out, kWidth), wide = elements(kRows, out) * kComputeBytes;
  const std::string shape = fmt::format("({} x {}) x {}", kRows, kWidth, out);
  list.push_back({"linear forward", shape, kActivation + wide + weight * kComputeBytes, operations, true,
                  [=](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    LinearForward linear;
                    linear.x = memory.tensor(kCompute, {kRows, kWidth});
                    linear.weight = memory.tensor(kCompute, {out, kWidth});
                    linear.bias = memory.tensor(kMaster, {out});
                    linear.y = memory.tensor(kCompute, {kRows, out});
                    linear.workspace = memory.workspace(backend.linear().linear_forward_workspace(linear));
                    return [&backend, &stream, linear] { backend.linear().linear_forward(stream, linear); };
                  }});
  list.push_back(
      {"linear backward, input", shape, kActivation + wide + weight * kComputeBytes, operations, true,
       [=](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         LinearBackwardInput linear;
         linear.dy = memory.tensor(kCompute, {kRows, out});
         linear.weight = memory.tensor(kCompute, {out, kWidth});
         linear.dx = memory.tensor(kCompute, {kRows, kWidth});
         linear.workspace = memory.workspace(backend.linear().linear_backward_input_workspace(linear));
         return [&backend, &stream, linear] { backend.linear().linear_backward_input(stream, linear); };
       }});
  list.push_back(
      {"linear backward, weight and bias", shape, kActivation + wide + 2 * weight * kMasterBytes, operations,
       true, [=](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         LinearBackwardWeight linear;
         linear.dy = memory.tensor(kCompute, {kRows, out});
         linear.x = memory.tensor(kCompute, {kRows, kWidth});
         linear.dweight = memory.tensor(kMaster, {out, kWidth});
         linear.dbias = memory.tensor(kMaster, {out});
         linear.workspace = memory.workspace(backend.linear().linear_backward_weight_workspace(linear));
         return [&backend, &stream, linear] { backend.linear().linear_backward_weight(stream, linear); };
       }});
}

AttentionShape attention_shape() {
  AttentionShape shape;
  shape.batch = kBatch, shape.tokens = kTokens, shape.heads = kHeads, shape.width = kHeadWidth;
  shape.scale = 0.125;
  return shape;
}

AttentionForward attention_forward(Backend& backend, DeviceMemory& memory) {
  AttentionForward attention;
  attention.shape = attention_shape();
  const Tensor packed = memory.tensor(kCompute, {kRows, 3 * kWidth});
  attention.q = packed.columns(0, kWidth);
  attention.k = packed.columns(kWidth, kWidth);
  attention.v = packed.columns(2 * kWidth, kWidth);
  attention.out = memory.tensor(kCompute, {kRows, kWidth});
  attention.log_sum_exp = memory.tensor(kMaster, {kBatch, kHeads, kTokens});
  attention.workspace = memory.workspace(backend.attention().attention_forward_workspace(attention));
  return attention;
}

void add_attention(std::vector<KernelCase>& list) {
  const double pairs = 0.5 * static_cast<double>(kBatch * kHeads) * elements(kTokens, kTokens);
  const std::string shape =
      fmt::format("B {}, H {}, T {}, D {}, causal", kBatch, kHeads, kTokens, kHeadWidth);
  list.push_back({"attention forward", shape, 4 * kActivation, 4 * pairs * kHeadWidth, true,
                  [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    const AttentionForward attention = attention_forward(backend, memory);
                    return [&backend, &stream, attention] {
                      backend.attention().attention_forward(stream, attention);
                    };
                  }});
  list.push_back(
      {"attention backward", shape, 8 * kActivation, 10 * pairs * kHeadWidth, true,
       [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         const AttentionForward forward = attention_forward(backend, memory);
         backend.attention().attention_forward(stream, forward);
         AttentionBackward attention;
         attention.shape = forward.shape;
         attention.q = forward.q, attention.k = forward.k, attention.v = forward.v;
         attention.out = forward.out, attention.log_sum_exp = forward.log_sum_exp;
         attention.dout = memory.tensor(kCompute, {kRows, kWidth});
         const Tensor packed = memory.tensor(kCompute, {kRows, 3 * kWidth});
         attention.dq = packed.columns(0, kWidth);
         attention.dk = packed.columns(kWidth, kWidth);
         attention.dv = packed.columns(2 * kWidth, kWidth);
         attention.workspace = memory.workspace(backend.attention().attention_backward_workspace(attention));
         return [&backend, &stream, attention] { backend.attention().attention_backward(stream, attention); };
       }});
  list.push_back(
      {"rotary", rows_by(kWidth), 2 * kActivation, 0, false,
       [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         Rotary rotary{kTokens, kHeads, kHeadWidth, 10000, false, memory.tensor(kCompute, {kRows, kWidth})};
         backend.attention().prepare_rotary(rotary);
         return [&backend, &stream, rotary] { backend.attention().rotary(stream, rotary); };
       }});
}

void add_ends(std::vector<KernelCase>& list) {
  const double table = elements(kVocabulary, kWidth), logits = 2 * elements(kRows, kVocabulary) * kWidth;
  list.push_back({"embedding forward", rows_by(kWidth), kActivation + elements(kRows, kWidth) * kMasterBytes,
                  0, false, [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    EmbeddingForward arguments;
                    arguments.tokens = kTokens;
                    arguments.ids = memory.integers(kRows, kVocabulary);
                    arguments.token_table = memory.tensor(kMaster, {kVocabulary, kWidth});
                    arguments.out = memory.tensor(kCompute, {kRows, kWidth});
                    return [&backend, &stream, arguments] {
                      backend.embedding().embedding_forward(stream, arguments);
                    };
                  }});
  list.push_back(
      {"embedding backward", rows_by(kWidth), kActivation + 2 * elements(kRows, kWidth) * kMasterBytes, 0,
       false, [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         EmbeddingBackward arguments;
         arguments.tokens = kTokens;
         arguments.ids = memory.integers(kRows, kVocabulary);
         arguments.dout = memory.tensor(kCompute, {kRows, kWidth});
         arguments.dtoken_table = memory.tensor(kMaster, {kVocabulary, kWidth});
         arguments.workspace = memory.workspace(backend.embedding().embedding_backward_workspace(arguments));
         return [&backend, &stream, arguments] { backend.embedding().embedding_backward(stream, arguments); };
       }});
  const std::string shape = fmt::format("({} x {}) x {}", kRows, kWidth, kVocabulary);
  list.push_back({"head and loss forward", shape, kActivation + table * kComputeBytes, logits, true,
                  [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    HeadLossForward head;
                    head.h = memory.tensor(kCompute, {kRows, kWidth});
                    head.weight = memory.tensor(kCompute, {kVocabulary, kWidth});
                    head.targets = memory.integers(kRows, kVocabulary);
                    head.log_z = memory.tensor(kMaster, {kRows});
                    head.sums = memory.tensor(DType::Float64, {kHeadLossSums});
                    head.workspace = memory.workspace(backend.head_loss().head_loss_forward_workspace(head));
                    return [&backend, &stream, head] { backend.head_loss().head_loss_forward(stream, head); };
                  }});
  list.push_back(
      {"head and loss backward", shape, 2 * kActivation + table * (kComputeBytes + 2 * kMasterBytes),
       3 * logits, true, [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         HeadLossBackward head;
         head.gradient_scale = 1.0 / kRows;
         head.h = memory.tensor(kCompute, {kRows, kWidth});
         head.weight = memory.tensor(kCompute, {kVocabulary, kWidth});
         head.targets = memory.integers(kRows, kVocabulary);
         head.log_z = memory.tensor(kMaster, {kRows});
         head.dh = memory.tensor(kCompute, {kRows, kWidth});
         head.dweight = memory.tensor(kMaster, {kVocabulary, kWidth});
         head.workspace = memory.workspace(backend.head_loss().head_loss_backward_workspace(head));
         return [&backend, &stream, head] { backend.head_loss().head_loss_backward(stream, head); };
       }});
}

void add_updates(std::vector<KernelCase>& list) {
  const auto count = static_cast<double>(kParameters);
  const std::string shape = fmt::format("{} M", kParameters / 1'000'000);
  list.push_back(
      {"adamw", shape, count * (7 * kMasterBytes + kComputeBytes), 0, false,
       [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
         const Shape flat{kParameters};
         std::vector<UpdateTensor> tensors(1);
         tensors[0].parameter = memory.tensor(kMaster, flat);
         tensors[0].gradient = memory.tensor(kMaster, flat);
         tensors[0].momentum = memory.tensor(kMaster, flat);
         tensors[0].variance = memory.zeros(kMaster, flat);
         tensors[0].compute_copy = memory.tensor(kCompute, flat);
         AdamW adamw;
         std::vector<double> scalars(kStepScalars, 1.0);  // no clipping, no skip
         scalars[kStepLearningRate] = 1e-6;
         adamw.step_scalars = memory.doubles(scalars);
         adamw.statistics = {memory.tensor(DType::Float64, {1}), memory.tensor(DType::Float64, {1})};
         adamw.workspace = memory.workspace(backend.optimizer().update_workspace(tensors));
         return [&backend, &stream, adamw, tensors] { backend.optimizer().adamw(stream, adamw, tensors); };
       }});
  list.push_back({"sum of squares", shape, count * kMasterBytes, 0, false,
                  [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    const std::vector<Tensor> tensors = {memory.tensor(kMaster, {kParameters})};
                    const Tensor squares = memory.tensor(DType::Float64, {1});
                    const Workspace workspace =
                        memory.workspace(backend.elementwise().sum_of_squares_workspace(tensors));
                    return [&backend, &stream, tensors, squares, workspace] {
                      backend.elementwise().sum_of_squares(
                          stream, {.squares = squares, .accumulate = false, .workspace = workspace}, tensors);
                    };
                  }});
  list.push_back({"cast fp32 to bf16", shape, count * (kMasterBytes + kComputeBytes), 0, false,
                  [](Backend& backend, Stream& stream, DeviceMemory& memory) -> Issue {
                    const Tensor from = memory.tensor(kMaster, {kParameters});
                    const Tensor to = memory.tensor(kCompute, {kParameters});
                    return [&backend, &stream, from, to] { backend.elementwise().copy(stream, from, to); };
                  }});
}

}  // namespace

Buffer& DeviceMemory::add(std::size_t bytes) {
  buffers_.push_back(backend_.allocate(bytes));
  return buffers_.back();
}

Tensor DeviceMemory::zeros(DType dtype, Shape shape) {
  return Tensor(add(static_cast<std::size_t>(shape.elements()) * size_of(dtype)).data(), dtype, shape);
}

Tensor DeviceMemory::tensor(DType dtype, Shape shape) {
  const Tensor tensor = zeros(dtype, shape);
  if (dtype != DType::Float32 && dtype != DType::BFloat16) return tensor;  // zeros
  constexpr std::int64_t kPattern = 1 << 16;
  std::vector<float> values(static_cast<std::size_t>(std::min(kPattern, tensor.elements())));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>((i * 2654435761U >> 16) % 2048) / 1024.0F - 1.0F;
  std::vector<bfloat16> narrow(values.begin(), values.end());
  const void* source = dtype == DType::Float32 ? static_cast<const void*>(values.data()) : narrow.data();
  const std::size_t whole = tensor.bytes(), part = values.size() * size_of(dtype);
  for (std::size_t done = 0; done < whole; done += part) {
    backend_.upload(stream_, source, static_cast<char*>(tensor.data) + done, std::min(part, whole - done));
  }
  stream_.synchronize();
  return tensor;
}

Tensor DeviceMemory::integers(std::int64_t count, std::int64_t limit) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int32_t>((i * 2654435761U >> 8) % static_cast<std::size_t>(limit));
  const Tensor tensor(add(values.size() * sizeof(std::int32_t)).data(), DType::Int32, {count});
  backend_.upload(stream_, values.data(), tensor.data, tensor.bytes());
  stream_.synchronize();
  return tensor;
}

Tensor DeviceMemory::doubles(const std::vector<double>& values) {
  const auto count = static_cast<std::int64_t>(values.size());
  const Tensor tensor(add(values.size() * sizeof(double)).data(), DType::Float64, {count});
  backend_.upload(stream_, values.data(), tensor.data, tensor.bytes());
  stream_.synchronize();
  return tensor;
}

Workspace DeviceMemory::workspace(std::size_t bytes) {
  return bytes == 0 ? Workspace{} : Workspace{add(bytes).data(), bytes};
}

std::vector<KernelCase> kernel_cases() {
  std::vector<KernelCase> list;
  add_norms(list);
  add_residuals(list);
  add_activations(list);
  add_products(list);
  add_attention(list);
  add_ends(list);
  add_updates(list);
  return list;
}

Peaks h100() { return {"NVIDIA H100 SXM", 3.35e12, 989e12, 67e12}; }

Peaks peaks_of(const std::string& device_name) {
  static const std::vector<std::pair<std::string, Peaks>> known = {
      {"A100", {"NVIDIA A100 SXM 80GB", 2.039e12, 312e12, 19.5e12}},
      {"H200", {"NVIDIA H200 SXM", 4.8e12, 989e12, 67e12}},
  };
  for (const auto& [word, peaks] : known)
    if (device_name.find(word) != std::string::npos) return peaks;
  return h100();
}

double predicted_seconds(const KernelCase& one, const Peaks& peaks) {
  const double rate = one.tensor_cores ? peaks.tensor_operations_per_second : peaks.operations_per_second;
  return std::max(one.bytes / peaks.bytes_per_second, one.operations / rate);
}

}  // namespace plumb::gpu
