#include "nn/parameter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "core/parallel_for.h"
#include "core/rng.h"
#include "nn/initialization_memory.h"

namespace plumb {
namespace {

/// Elements that are drawn at a time.
constexpr std::int64_t kPiece = std::int64_t{1} << 20;

constexpr std::int64_t kPaddingElements = 16;  // 64 bytes of fp32

std::int64_t padded(std::int64_t elements, int shards = 1) {
  const std::int64_t multiple = kPaddingElements * shards;
  return (elements + multiple - 1) / multiple * multiple;
}

Tensor slice(const Buffer& buffer, std::int64_t offset, DType dtype, Shape shape) {
  return Tensor(static_cast<char*>(buffer.data()) + offset * static_cast<std::int64_t>(size_of(dtype)), dtype,
                shape);
}

}  // namespace

Parameter* ParameterStore::declare(Parameter parameter) {
  PLUMB_CHECK(backend_ == nullptr, "parameter '{}' declared after allocation", parameter.name);
  PLUMB_CHECK(find(parameter.name) == nullptr, "two parameters are named '{}'", parameter.name);
  parameters_.push_back(std::move(parameter));
  return &parameters_.back();
}

Parameter* ParameterStore::find(const std::string& name) {
  for (Parameter& parameter : parameters_) {
    if (parameter.name == name) return &parameter;
  }
  return nullptr;
}

std::int64_t ParameterStore::trainable_elements() const {
  std::int64_t sum = 0;
  for (const Parameter* parameter : trainable_) sum += parameter->shape.elements();
  return sum;
}

void ParameterStore::allocate(Backend& backend, DType compute, int shards) {
  PLUMB_CHECK(backend_ == nullptr, "parameters are allocated once");
  backend_ = &backend;
  compute_ = compute;
  const DType master = master_dtype(compute);
  for (auto it = parameters_.rbegin(); it != parameters_.rend(); ++it) {
    if (!it->trainable) continue;
    it->index = static_cast<int>(trainable_.size());
    trainable_.push_back(&*it);
    it->offset = padded_elements_;
    padded_elements_ += padded(it->shape.elements(), shards);
  }
  padded_trainable_ = padded_elements_;
  for (Parameter& parameter : parameters_) {
    if (parameter.trainable) continue;
    parameter.offset = padded_elements_;
    padded_elements_ += padded(parameter.shape.elements());
  }
  const auto bytes_of = [](std::int64_t elements, DType dtype) {
    return static_cast<std::size_t>(elements) * size_of(dtype);
  };
  values_ = backend.allocate(bytes_of(padded_elements_, master));
  gradients_ = backend.allocate_for_communication(bytes_of(padded_trainable_, master));
  if (compute != master) compute_copies_ = backend.allocate(bytes_of(padded_elements_, compute));
  flat_gradient_ = Tensor(gradients_.data(), master, Shape{padded_trainable_});
  flat_value_ = Tensor(values_.data(), master, Shape{padded_trainable_});
  if (compute != master) flat_compute_ = Tensor(compute_copies_.data(), compute, Shape{padded_trainable_});
  for (Parameter& parameter : parameters_) {
    parameter.value = slice(values_, parameter.offset, master, parameter.shape);
    if (parameter.trainable)
      parameter.gradient = slice(gradients_, parameter.offset, master, parameter.shape);
    parameter.compute = compute == master
                            ? parameter.value
                            : slice(compute_copies_, parameter.offset, compute, parameter.shape);
  }
}

std::vector<MemoryShare> ParameterStore::memory_plan() const {
  return {{"parameters", values_.bytes()},
          {"gradients", gradients_.bytes()},
          {"parameters in the compute dtype", compute_copies_.bytes()}};
}

std::size_t initialization_bytes(std::int64_t largest) {
  return static_cast<std::size_t>(std::min(largest, kPiece)) * (sizeof(double) + sizeof(float));
}

void ParameterStore::initialize(Stream& stream, std::uint64_t seed) {
  upload_initial_values(stream, seed);
  refresh_compute(stream);
  normalize_spheres(stream);
}

void ParameterStore::upload_initial_values(Stream& stream, std::uint64_t seed) {
  // By pieces: the largest tensor in float64 may be as large as everything else.
  std::int64_t largest = 0;
  for (const Parameter& parameter : parameters_) largest = std::max(largest, parameter.shape.elements());
  const auto piece = static_cast<std::size_t>(std::min(largest, kPiece));
  const bool wide = master_dtype(compute_) == DType::Float64;
  std::vector<double> values;
  std::vector<float> rounded;
  // At once: what a vector frees as it grows stays with malloc.
  values.reserve(piece);
  if (!wide) rounded.reserve(piece);
  for (const Parameter& parameter : parameters_) {
    const std::int64_t count = parameter.shape.elements();
    for (std::int64_t first = 0; first < count; first += kPiece) {
      values.resize(static_cast<std::size_t>(std::min(kPiece, count - first)));
      draw_initial_values(parameter, seed, first, values);
      if (!wide) rounded.assign(values.begin(), values.end());
      const std::size_t size = size_of(parameter.value.dtype);
      backend_->upload(stream, wide ? static_cast<const void*>(values.data()) : rounded.data(),
                       static_cast<std::byte*>(parameter.value.data) + static_cast<std::size_t>(first) * size,
                       values.size() * size);
      stream.synchronize();
    }
  }
}

void ParameterStore::normalize_spheres(Stream& stream) {
  const std::vector<SphereWeight> spheres = sphere_weights();
  if (spheres.empty()) return;
  const ParameterOps& ops = backend_->parameter();
  const std::size_t bytes = ops.normalize_spheres_workspace(spheres);
  Buffer workspace = backend_->allocate(bytes);
  ops.normalize_spheres(stream, {.step_scalars = {}, .workspace = {workspace.data(), bytes}}, spheres);
  stream.synchronize();
}

std::vector<SphereWeight> ParameterStore::sphere_weights() const {
  std::vector<SphereWeight> list;
  for (const Parameter& parameter : parameters_) {
    if (parameter.sphere == Sphere::None) continue;
    const bool has_copy = parameter.compute.data != parameter.value.data;
    list.push_back({.value = parameter.value,
                    .compute_copy = has_copy ? parameter.compute : Tensor(),
                    .columns = parameter.sphere == Sphere::Columns});
  }
  return list;
}

void ParameterStore::refresh_compute(Stream& stream) {
  if (compute_ == master_dtype(compute_)) return;
  for (const Parameter& parameter : parameters_) {
    backend_->elementwise().copy(stream, parameter.value, parameter.compute);
  }
}

double InitRule::standard_deviation() const {
  if (kind == Kind::Constant) return 0;
  return kind == Kind::Normal ? value : value / std::sqrt(3.0);
}

namespace {

/// A draw before its scale: a standard normal, or uniform in [-1, 1).
double unit_draw(const RandomStream& random, std::uint64_t index, InitRule::Kind kind) {
  if (kind == InitRule::Kind::Normal) return random.normal(index);
  return 2.0 * static_cast<double>(random.word(index)) * 0x1p-32 - 1.0;
}

}  // namespace

void draw_initial_values(const Parameter& parameter, std::uint64_t seed, std::int64_t first,
                         std::span<double> values) {
  const auto count = static_cast<std::size_t>(parameter.shape.elements());
  const std::vector<InitRule> parts =
      parameter.init_parts.empty() ? std::vector<InitRule>{parameter.init} : parameter.init_parts;
  PLUMB_CHECK(count % parts.size() == 0, "'{}' has {} entries for {} parts", parameter.name, count,
              parts.size());
  const double shared =
      parameter.twin.empty() || parameter.twin == parameter.name ? 0 : parameter.correlation;
  const double own = std::sqrt(1 - shared * shared);
  const RandomStream random{seed ^ hash_text(parameter.name), 0, 0};
  const RandomStream twin{seed ^ hash_text(parameter.twin), 0, 0};
  constexpr std::int64_t kGrain = 4096;
  parallel_for(static_cast<std::int64_t>(values.size()), kGrain, [&](std::int64_t place) {
    const auto i = static_cast<std::uint64_t>(first + place);
    const InitRule& rule = parts[i / (count / parts.size())];
    double& value = values[static_cast<std::size_t>(place)];
    value = rule.value;
    if (rule.kind == InitRule::Kind::Constant) return;
    double unit = own * unit_draw(random, i, rule.kind);
    if (shared != 0) unit += shared * unit_draw(twin, i, rule.kind);
    value *= unit;
  });
}

std::vector<double> draw_initial_values(const Parameter& parameter, std::uint64_t seed) {
  std::vector<double> values(static_cast<std::size_t>(parameter.shape.elements()));
  draw_initial_values(parameter, seed, 0, values);
  return values;
}

}  // namespace plumb
