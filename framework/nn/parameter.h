// Parameters: declared by modules, owned by one ParameterStore in flat buffers.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "core/tensor.h"

namespace plumb {

/// How a tensor starts; drawn in float64 from (seed, name), so that it depends neither on the backend, nor on
/// the order of declaration, nor on the world.
struct InitRule {
  enum class Kind { Constant, Normal, Uniform };
  Kind kind = Kind::Constant;
  double value = 0;  ///< constant; standard deviation; half-width of the interval

  double standard_deviation() const;
  bool operator==(const InitRule&) const = default;

  static InitRule constant(double value) { return {Kind::Constant, value}; }
  static InitRule normal(double standard_deviation) { return {Kind::Normal, standard_deviation}; }
  static InitRule uniform(double limit) { return {Kind::Uniform, limit}; }
};

/// What a tensor is to the optimiser (optim/depth_scaling.h).
enum class ParameterRole { Embedding, HiddenMatrix, HiddenVector, FinalVector, Head };

/// Whether rows or columns of a matrix are kept at unit 2-norm (nGPT).
enum class Sphere { None, Rows, Columns };

/// One logical tensor. The views are empty until ParameterStore::allocate.
struct Parameter {
  std::string name{};  ///< "blocks.3.attention.qkv.weight"
  Shape shape{};
  InitRule init{};
  std::vector<InitRule> init_parts{};  ///< not empty: rules of equal parts of the rows, in the place of init
  /// The draws are rho * those of the tensor named `twin` + sqrt(1 - rho^2) * its own, before their scale.
  std::string twin{};
  double correlation = 0;
  ParameterRole role = ParameterRole::HiddenVector;
  Sphere sphere = Sphere::None;
  bool trainable = true;
  bool weight_decay = true;
  double learning_rate_scale = 1;
  bool overwritten = false;  ///< backward can write its gradient instead of adding to it (Context)

  int index = -1;           ///< position in ParameterStore::trainable(), -1 when frozen
  std::int64_t offset = 0;  ///< elements from the start of the flat buffers
  Tensor value{};           ///< master dtype
  Tensor gradient{};        ///< master dtype; empty when frozen
  Tensor compute{};         ///< compute dtype: `value` itself, or its rounded copy
};

/// A norm of the model, for the statistics: what it trains, if anything.
struct NormParameters {
  std::string name;  ///< "blocks.3.attention.norm_in"
  const Parameter* gain = nullptr;
  const Parameter* bias = nullptr;
  std::int64_t vectors = 0;          ///< per token, that it divides by their size; 0: it divides none
  std::int64_t bounded_entries = 0;  ///< per token, that go through tanh or erf; 0: none does
};

/// Owns every parameter and gradient. Trainable tensors lie in the order in which backward finishes them (the
/// reverse of declaration), each padded to 64 bytes for each shard; frozen ones follow and have no gradient.
class ParameterStore {
 public:
  /// Declares a tensor; the address stays valid as long as the store. Names are unique.
  Parameter* declare(Parameter parameter);
  /// Notes a norm; the index is its place in norms().
  std::int64_t declare_norm(NormParameters norm) {
    norms_.push_back(std::move(norm));
    return static_cast<std::int64_t>(norms_.size()) - 1;
  }
  const std::vector<NormParameters>& norms() const { return norms_; }
  /// Lays out and allocates the flat buffers. No declaration afterwards.
  /// `shards`: ranks that the flat buffers are to divide between at the start of every trainable tensor.
  void allocate(Backend& backend, DType compute, int shards = 1);
  /// Device memory taken by allocate.
  std::vector<MemoryShare> memory_plan() const;
  /// Draws all values (float64, rounded to the master dtype) and the compute copies; matrices on the sphere
  /// are normalised.
  void initialize(Stream& stream, std::uint64_t seed);
  /// Refreshes the compute copies from the values (after a checkpoint was loaded).
  void refresh_compute(Stream& stream);

  const std::deque<Parameter>& all() const { return parameters_; }
  /// Trainable tensors in flat order; Parameter::index is the position here.
  const std::vector<Parameter*>& trainable() const { return trainable_; }
  Parameter* find(const std::string& name);
  /// The matrices on the sphere, as ParameterOps::normalize_spheres takes them.
  std::vector<SphereWeight> sphere_weights() const;
  std::int64_t trainable_elements() const;  ///< logical, without padding
  Tensor flat_gradient() const { return flat_gradient_; }
  /// Values and compute copies of the trainable tensors, laid out as the gradients are.
  Tensor flat_value() const { return flat_value_; }
  Tensor flat_compute() const { return flat_compute_; }  ///< empty: computed in the master dtype
  /// Elements of the flat buffers, padding included: of all tensors, and of the trainable ones.
  std::int64_t padded_elements() const { return padded_elements_; }
  std::int64_t padded_trainable_elements() const { return padded_trainable_; }

 private:
  void upload_initial_values(Stream& stream, std::uint64_t seed);
  void normalize_spheres(Stream& stream);

  Backend* backend_ = nullptr;
  DType compute_ = DType::Float32;
  std::deque<Parameter> parameters_;
  std::vector<Parameter*> trainable_;
  std::vector<NormParameters> norms_;
  std::int64_t padded_elements_ = 0, padded_trainable_ = 0;
  Buffer values_, gradients_, compute_copies_;
  Tensor flat_gradient_, flat_value_, flat_compute_;
};

/// Elements [first, first + values.size()) of a tensor under its rules: element i is drawn at index i of
/// RandomStream{seed ^ hash(name), 0, 0}.
void draw_initial_values(const Parameter& parameter, std::uint64_t seed, std::int64_t first,
                         std::span<double> values);
/// All of them.
std::vector<double> draw_initial_values(const Parameter& parameter, std::uint64_t seed);

}  // namespace plumb
