#include "backends/cuda/matrix_product.h"

#include <array>
#include <map>

#include "backends/cuda/arguments.h"
#include "backends/cuda/cublas_check.h"
#include "backends/cuda/product_descriptors.h"
#include "backends/cuda/product_problem.h"
#include "core/error.h"

namespace plumb::cuda {
namespace {

/// What NVIDIA recommends for Hopper (cuBLAS documentation, cublasSetWorkspace): 32 MiB.
constexpr std::size_t kWorkspaceLimit = std::size_t{32} << 20;

/// Everything about a problem that is the same in every call.
struct Plan {
  ProductDescriptors descriptors;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace_bytes = 0;
};

}  // namespace

struct MatrixProducts::State {
  explicit State(bool tf32_in) : tf32(tf32_in) {
    PLUMB_CUBLAS(cublasLtCreate(&handle), "creating the library's handle");
  }
  ~State() { static_cast<void>(cublasLtDestroy(handle)); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  const Plan& plan_for(const char* op, const ProductProblem& problem);
  Plan make_plan(const char* op, const ProductProblem& problem, std::size_t workspace_limit) const;

  bool tf32;
  cublasLtHandle_t handle = nullptr;
  std::map<ProductProblem, Plan> plans;
};

Plan MatrixProducts::State::make_plan(const char* op, const ProductProblem& problem,
                                      std::size_t workspace_limit) const {
  Plan plan;
  plan.descriptors = make_descriptors(op, problem);
  const MatmulPreference preference = make_preference(op, problem, workspace_limit);
  const ProductDescriptors& by = plan.descriptors;
  std::array<cublasLtMatmulHeuristicResult_t, 8> results{};  // fastest first
  int found = 0;
  PLUMB_CUBLAS(cublasLtMatmulAlgoGetHeuristic(handle, by.operation.get(), by.left.get(), by.right.get(),
                                              by.result.get(), by.result.get(), preference.get(),
                                              static_cast<int>(results.size()), results.data(), &found),
               describe(op, problem));
  for (int i = 0; i < found; ++i) {
    const cublasLtMatmulHeuristicResult_t& result = results[static_cast<std::size_t>(i)];
    if (result.state != CUBLAS_STATUS_SUCCESS || result.workspaceSize > workspace_limit) continue;
    plan.algorithm = result.algo;
    plan.workspace_bytes = result.workspaceSize;
    return plan;
  }
  fail_cublas(CUBLAS_STATUS_NOT_SUPPORTED,
              fmt::format("no algorithm with at most {} bytes of workspace for {}", workspace_limit,
                          describe(op, problem)),
              "cublasLtMatmulAlgoGetHeuristic", __FILE__, __LINE__);
}

const Plan& MatrixProducts::State::plan_for(const char* op, const ProductProblem& problem) {
  const auto found = plans.find(problem);
  if (found != plans.end()) return found->second;
  // A workspace is planned before pointers are known, so what less aligned ones take has to fit into it.
  const ProductProblem aligned = problem.aligned();
  const std::size_t limit = problem == aligned ? kWorkspaceLimit : plan_for(op, aligned).workspace_bytes;
  return plans.emplace(problem, make_plan(op, problem, limit)).first->second;
}

MatrixProducts::MatrixProducts(bool tf32) : state_(std::make_unique<State>(tf32)) {}
MatrixProducts::~MatrixProducts() = default;

void MatrixProducts::run(cudaStream_t stream, const MatrixProduct& product) const {
  const ProductProblem problem = problem_of(product, state_->tf32);
  if (problem.m == 0 || problem.n == 0 || (problem.k == 0 && problem.accumulate)) return;
  const Plan& plan = state_->plan_for(product.op, problem);
  WorkspaceCarver carver(product.workspace);
  void* scratch = carver.take<std::byte>(static_cast<std::int64_t>(plan.workspace_bytes));
  const Tensor& vector = problem.bias ? product.bias : product.bias_gradient;
  set_pointers(product.op, problem, plan.descriptors, vector.data, product.gelu_input.data);
  const float one = 1, beta = problem.accumulate ? 1.0F : 0.0F;
  const ProductDescriptors& by = plan.descriptors;
  PLUMB_CUBLAS(
      cublasLtMatmul(state_->handle, by.operation.get(), &one, product.b.data, by.left.get(), product.a.data,
                     by.right.get(), &beta, product.c.data, by.result.get(), product.c.data, by.result.get(),
                     &plan.algorithm, scratch, plan.workspace_bytes, stream),
      describe(product.op, problem));
}

std::size_t MatrixProducts::workspace(const MatrixProduct& product) const {
  const ProductProblem problem = problem_of(product, state_->tf32).aligned();
  if (problem.m == 0 || problem.n == 0 || problem.k == 0) return 0;
  WorkspaceCarver carver;
  carver.take<std::byte>(static_cast<std::int64_t>(state_->plan_for(product.op, problem).workspace_bytes));
  return carver.bytes();
}

}  // namespace plumb::cuda
