// Matrix: a weight with an optional bias, and the three products with it.
#pragma once

#include <string>

#include "nn/module.h"

namespace plumb {

/// How a weight starts and what the optimiser does with it.
struct WeightSpec {
  std::vector<InitRule> init;  ///< of equal parts of the rows
  double correlation = 0;      ///< with the same matrix of block 0
  Sphere sphere = Sphere::None;
  std::int64_t rows_per_token = 1;  ///< rows of the tensors it gets, per token (streams side by side)
};

class Matrix : public Module {
 public:
  /// Declares name.weight (out, in) and, if asked for, name.bias (out) starting at 0.
  Matrix(const std::string& name, std::int64_t in, std::int64_t out, bool bias, WeightSpec spec,
         const ModelShape& shape, ParameterStore& store);

  void plan(Backend& backend, ArenaPlan& plan) override;
  std::vector<Parameter*> parameters() const override;

  /// y (R,out) = x (R,in) W^T + bias; with_bias false leaves the bias to a fused op that follows.
  void forward(const Context& context, const Tensor& x, const Tensor& y, bool with_bias = true) const;
  /// dW += dy^T x (= where the Context says that gradients are written), dbias += column sums of dy (when
  /// with_bias), and dx = dy W if dx is given. dx may be x's view, not dy's.
  void backward(const Context& context, const Tensor& x, const Tensor& dy, const Tensor& dx,
                bool with_bias = true) const;
  /// Its two halves.
  void backward_weight(const Context& context, const Tensor& x, const Tensor& dy,
                       bool with_bias = true) const;
  void backward_input(const Context& context, const Tensor& dy, const Tensor& dx) const;

  Tensor bias() const { return bias_ != nullptr ? bias_->value : Tensor(); }
  Tensor bias_gradient() const { return bias_ != nullptr ? bias_->gradient : Tensor(); }
  std::int64_t in() const { return in_; }
  std::int64_t out() const { return out_; }

 private:
  std::int64_t in_, out_;
  ModelShape shape_;
  Parameter* weight_;
  std::int64_t rows_per_token_;
  Parameter* bias_ = nullptr;
};

}  // namespace plumb
