#include "nn/matrix.h"

#include <utility>

#include "nn/init.h"

namespace plumb {

Matrix::Matrix(const std::string& name, std::int64_t in, std::int64_t out, bool bias, WeightSpec spec,
               const ModelShape& shape, ParameterStore& store)
    : in_(in),
      out_(out),
      shape_(shape),
      weight_(store.declare({.name = name + ".weight",
                             .shape = {out, in},
                             .init_parts = std::move(spec.init),
                             .twin = twin_in_first_block(name + ".weight"),
                             .correlation = spec.correlation,
                             .role = ParameterRole::HiddenMatrix,
                             .sphere = spec.sphere})),
      rows_per_token_(spec.rows_per_token) {
  if (bias) bias_ = store.declare({.name = name + ".bias", .shape = {out}, .weight_decay = false});
}

void Matrix::plan(Backend& backend, ArenaPlan& plan) {
  const std::int64_t rows = shape_.rows() * rows_per_token_;
  const Tensor x(nullptr, shape_.compute, {rows, in_});
  const Tensor y(nullptr, shape_.compute, {rows, out_});
  const Tensor weight(nullptr, shape_.compute, {out_, in_});
  const Tensor dweight(nullptr, shape_.master(), {out_, in_});
  const Tensor bias = bias_ != nullptr ? Tensor(nullptr, shape_.master(), {out_}) : Tensor();
  const LinearOps& ops = backend.linear();
  plan.require_workspace(
      ops.linear_forward_workspace({.x = x, .weight = weight, .bias = bias, .y = y, .workspace = {}}));
  plan.require_workspace(
      ops.linear_backward_input_workspace({.dy = y, .weight = weight, .dx = x, .workspace = {}}));
  plan.require_workspace(ops.linear_backward_weight_workspace(
      {.dy = y, .x = x, .dweight = dweight, .dbias = bias, .workspace = {}}));
}

std::vector<Parameter*> Matrix::parameters() const {
  if (bias_ == nullptr) return {weight_};
  return {weight_, bias_};
}

void Matrix::forward(const Context& context, const Tensor& x, const Tensor& y, bool with_bias) const {
  context.backend.linear().linear_forward(context.stream, {.x = x,
                                                           .weight = weight_->compute,
                                                           .bias = with_bias ? bias() : Tensor(),
                                                           .y = y,
                                                           .workspace = context.workspace()});
  if (context.listener != nullptr) context.listener->progress();
}

void Matrix::backward(const Context& context, const Tensor& x, const Tensor& dy, const Tensor& dx,
                      bool with_bias) const {
  backward_weight(context, x, dy, with_bias);
  if (dx.defined()) backward_input(context, dy, dx);
}

void Matrix::backward_weight(const Context& context, const Tensor& x, const Tensor& dy,
                             bool with_bias) const {
  context.backend.linear().linear_backward_weight(context.stream,
                                                  {.dy = dy,
                                                   .x = x,
                                                   .dweight = weight_->gradient,
                                                   .dbias = with_bias ? bias_gradient() : Tensor(),
                                                   .workspace = context.workspace()});
  if (context.listener != nullptr) context.listener->progress();
}

void Matrix::backward_input(const Context& context, const Tensor& dy, const Tensor& dx) const {
  context.backend.linear().linear_backward_input(
      context.stream, {.dy = dy, .weight = weight_->compute, .dx = dx, .workspace = context.workspace()});
  if (context.listener != nullptr) context.listener->progress();
}

}  // namespace plumb
