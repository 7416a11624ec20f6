// NormLayer: one norm slot with its parameters and the row statistics that backward needs.
#pragma once

#include <string>

#include "config/model_config.h"
#include "core/error.h"
#include "nn/module.h"

namespace plumb {

/// "layernorm" ... -> kind; "standard" -> standard_kind; throws InputError for an unknown name.
NormKind norm_kind_from_name(const std::string& name, const std::string& standard_kind);

/// Where a NormLayer acts.
struct NormExtent {
  std::int64_t width = 1;          ///< entries of a row
  std::int64_t groups = 1;         ///< vectors per row, normed one by one
  bool shared_parameters = false;  ///< one gain (width/groups) for all groups instead of (width)
  ParameterRole role = ParameterRole::HiddenVector;
  std::int64_t vectors_per_row = 1;  ///< rows of the tensors it gets, per token (streams side by side)
};

class NormLayer : public Module {
 public:
  /// Declares name.gain, name.bias, name.alpha, name.offset as the kind and configuration ask for.
  NormLayer(const NormConfig& config, const std::string& standard_kind, const std::string& name,
            NormExtent extent, const ModelShape& shape, ParameterStore& store);

  /// False when the slot is empty; forward and backward must then not be called (except by a caller that
  /// wants the identity with a scale).
  bool present() const { return kind_ != NormKind::None; }
  NormKind kind() const { return kind_; }
  double epsilon() const { return epsilon_; }
  /// (R, groups) of the last forward pass: the mean (layernorm), 1/sqrt(. + eps) (layernorm, rmsnorm, l2).
  Tensor row_mean(const Context& context) const { return context.tensor(mean_); }
  Tensor row_rstd(const Context& context) const { return context.tensor(rstd_); }

  void plan(Backend& backend, ArenaPlan& plan) override;
  std::vector<Parameter*> parameters() const override;

  /// y = scale * N(x); moments of y if defined.
  void forward(const Context& context, const Tensor& x, const Tensor& y, const Coefficient& scale = {},
               const MomentsView& moments = {}) const;
  /// dx (=|+=) gradient; dx may be dy's view when not accumulating.
  void backward(const Context& context, const Tensor& x, const Tensor& dy, const Tensor& dx, bool accumulate,
                const Coefficient& scale = {}, const CoefficientGradient& dscale = {}) const;

 private:
  void plan_observations(Backend& backend, ArenaPlan& plan, const Tensor& x) const;
  /// Adds what this norm's probe asks for of the pass that has just been.
  void observe(const Context& context, const Tensor& x) const;
  NormForward forward_arguments(const Tensor& x, const Tensor& y) const;
  NormBackward backward_arguments(const Tensor& x, const Tensor& dy, const Tensor& dx) const;

  NormKind kind_;
  std::int64_t index_ = -1;  ///< in ParameterStore::norms()
  double epsilon_;
  std::string name_;
  NormExtent extent_;
  ModelShape shape_;
  Parameter *gain_ = nullptr, *bias_ = nullptr, *alpha_ = nullptr, *offset_ = nullptr;
  Slot mean_, rstd_;
};

}  // namespace plumb
