// LinearBranch: y = W u + b, the sublayer of the theory's toy models.
#pragma once

#include "config/model_config.h"
#include "nn/matrix.h"

namespace plumb {

class LinearBranch : public Branch {
 public:
  LinearBranch(const ModelConfig& model, const std::string& name, InitRule init, const ModelShape& shape,
               ParameterStore& store)
      : matrix_(name + ".matrix", model.width, model.width, model.biases, init, shape, store) {}

  void plan(Backend& backend, ArenaPlan& plan) override { matrix_.plan(backend, plan); }
  std::vector<Parameter*> parameters() const override { return matrix_.parameters(); }
  void forward(const Context& context, const Tensor& u, const Tensor& y) override {
    matrix_.forward(context, u, y);
  }
  void backward(const Context& context, const Tensor& u, const Tensor& dy, const Tensor& du) override {
    matrix_.backward(context, u, dy, du);
  }

 private:
  Matrix matrix_;
};

}  // namespace plumb
