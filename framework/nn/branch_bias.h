// BranchBias: one trainable number added to a whole activation (Fixup, arXiv 1901.09321); absent elsewhere.
#pragma once

#include <string>

#include "nn/module.h"

namespace plumb {

class BranchBias {
 public:
  /// Declares `name` (1), starting at 0, if `present`.
  BranchBias(bool present, const std::string& name, ParameterStore& store)
      : parameter_(present ? store.declare({.name = name, .shape = {1}, .weight_decay = false}) : nullptr) {}

  bool present() const { return parameter_ != nullptr; }
  Parameter* parameter() const { return parameter_; }

  void plan(Backend& backend, ArenaPlan& plan, const ModelShape& shape, std::int64_t width) const {
    if (!present()) return;
    const Tensor rows(nullptr, shape.compute, {shape.rows(), width});
    const Tensor one(nullptr, shape.master(), {1});
    plan.require_workspace(
        backend.elementwise().scalar_bias_backward_workspace({.dy = rows, .dbias = one, .workspace = {}}));
  }
  /// y = x + bias; y may be x's view.
  void forward(const Context& context, const Tensor& x, const Tensor& y) const {
    context.backend.elementwise().scalar_bias_forward(context.stream,
                                                      {.x = x, .bias = parameter_->value, .y = y});
  }
  void backward(const Context& context, const Tensor& dy) const {
    context.backend.elementwise().scalar_bias_backward(
        context.stream, {.dy = dy, .dbias = parameter_->gradient, .workspace = context.workspace()});
  }

 private:
  Parameter* parameter_;
};

}  // namespace plumb
