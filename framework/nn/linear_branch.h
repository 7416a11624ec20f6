// LinearBranch: y = W u + b, the sublayer of the theory's toy models.
#pragma once

#include <utility>

#include "config/model_config.h"
#include "nn/branch_bias.h"
#include "nn/matrix.h"

namespace plumb {

class LinearBranch : public Branch {
 public:
  LinearBranch(const ModelConfig& model, const SublayerConfig& config, const std::string& name,
               WeightSpec weight, const ModelShape& shape, ParameterStore& store)
      : name_(name),
        shape_(shape),
        bias_in_(config.branch_biases, name + ".bias_in", store),
        matrix_(name + ".matrix", model.width, model.width, model.biases, std::move(weight), shape, store) {}

  void plan(Backend& backend, ArenaPlan& plan) override {
    if (bias_in_.present()) {
      biased_ = plan.persistent(name_ + ".biased", shape_.compute, {shape_.rows(), matrix_.in()});
    }
    bias_in_.plan(backend, plan, shape_, matrix_.in());
    matrix_.plan(backend, plan);
  }
  std::vector<Parameter*> parameters() const override {
    std::vector<Parameter*> list = matrix_.parameters();
    if (bias_in_.present()) list.insert(list.begin(), bias_in_.parameter());
    return list;
  }
  void forward(const Context& context, const Tensor& u, const Tensor& y) override {
    Tensor input = u;
    if (bias_in_.present()) {
      input = context.tensor(biased_);
      bias_in_.forward(context, u, input);
    }
    if (y.defined()) matrix_.forward(context, input, y);
  }
  void backward(const Context& context, const BranchInput& u, const Tensor& dy, const Tensor& du) override {
    matrix_.backward(context, bias_in_.present() ? context.tensor(biased_) : u.read(context), dy, du);
    if (bias_in_.present()) bias_in_.backward(context, du);
  }

 private:
  std::string name_;
  ModelShape shape_;
  BranchBias bias_in_;
  Matrix matrix_;
  Slot biased_;
};

}  // namespace plumb
