// cublasLtMatmul and the choice of its algorithm.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "core/error.h"
#include "host/api_call.h"
#include "host/cublaslt_arithmetic.h"
#include "host/cublaslt_descriptors.h"
#include "host/cublaslt_validation.h"
#include "host/device_memory.h"
#include "host/errors.h"
#include "host/faults.h"
#include "host/statistics.h"
#include "host/streams.h"

namespace plumb::emulation {
namespace {

/// What stands in a cublasLtMatmulAlgo_t: which problem it was chosen for, and what it relies on.
struct Algorithm {
  std::uint64_t magic;
  std::uint64_t problem;
  std::uint64_t workspace;
  std::array<std::uint32_t, 4> alignment;  ///< of A, B, C, D
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));
constexpr std::uint64_t kMagic = 0x706c756d62616c67;

/// All that an algorithm may depend on; pointers do not belong to it.
std::uint64_t fingerprint(const MatmulProblem& p) {
  std::string text =
      fmt::format("{} {} {} {} {}", static_cast<int>(p.description.compute), p.description.transpose_a,
                  p.description.transpose_b, p.description.epilogue, p.description.aux_ld);
  for (const MatrixLayout* layout : {&p.a, &p.b, &p.c, &p.d})
    text += fmt::format(" {},{},{},{},{},{}", static_cast<int>(layout->type), layout->rows, layout->columns,
                        layout->ld, layout->batch, layout->stride);
  return std::hash<std::string>()(text);
}

/// As if partial results of a split sum were kept there.
std::uint64_t useful_workspace(const MatmulProblem& p) {
  constexpr std::uint64_t kMost = 4U << 20U;
  return std::min((p.m() * p.n() * sizeof(float) + 255) / 256 * 256, kMost);
}

std::string algorithm_fault(const cublasLtMatmulAlgo_t& opaque, const MatmulProblem& problem,
                            const MatmulPointers& pointers) {
  Algorithm algorithm{};
  std::memcpy(&algorithm, &opaque, sizeof algorithm);
  if (algorithm.magic != kMagic) return "the algorithm is not from cublasLtMatmulAlgoGetHeuristic";
  if (algorithm.problem != fingerprint(problem)) return "the algorithm was chosen for another problem";
  if (algorithm.workspace > pointers.workspace_bytes)
    return fmt::format("the algorithm needs {} bytes of workspace, {} are there", algorithm.workspace,
                       pointers.workspace_bytes);
  const void* matrices[] = {pointers.a, pointers.b, pointers.c, pointers.d};
  for (int i = 0; i < 4; ++i) {
    if (reinterpret_cast<std::uintptr_t>(matrices[i]) % algorithm.alignment[static_cast<std::size_t>(i)] != 0)
      return fmt::format(
          "{} is not aligned to {} bytes, as the preference promised when the algorithm was chosen",
          "ABCD"[i], algorithm.alignment[static_cast<std::size_t>(i)]);
  }
  return {};
}

bool collect(MatmulProblem& problem, cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t a,
             cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d) {
  const MatmulDescription* found = find(description);
  const MatrixLayout *la = find(a), *lb = find(b), *lc = find(c), *ld = find(d);
  if (found == nullptr || la == nullptr || lb == nullptr || lc == nullptr || ld == nullptr) return false;
  problem = {*found, *la, *lb, *lc, *ld};
  return true;
}

/// Host scalars are read at the call, device scalars when the product runs.
struct Scale {
  const void* device = nullptr;
  float value = 0;

  float read() const {
    if (device == nullptr) return value;
    float now = 0;
    std::memcpy(&now, device, sizeof now);
    return now;
  }
};

std::string scale_fault(const MatmulProblem& problem, const void* scale, const char* name) {
  const bool on_device = problem.description.pointer_mode == CUBLASLT_POINTER_MODE_DEVICE;
  if (scale == nullptr || on_device != device_memory().covers(scale))
    return fmt::format("{} is not in the memory that the pointer mode says", name);
  return on_device ? range_fault("cublasLtMatmul", name, scale, sizeof(float)) : "";
}

Scale make_scale(const MatmulProblem& problem, const void* scale) {
  if (problem.description.pointer_mode == CUBLASLT_POINTER_MODE_DEVICE) return {scale, 0};
  Scale result;
  std::memcpy(&result.value, scale, sizeof result.value);
  return result;
}

void run(const MatmulProblem& problem, const MatmulPointers& pointers, const Scale& alpha,
         const Scale& beta) {
  const std::string fault = pointer_fault(problem, pointers);
  if (fault.empty()) {
    multiply(problem, pointers, alpha.read(), beta.read());
  } else {
    lose_device(cudaErrorIllegalAddress, fault);
  }
}

}  // namespace
}  // namespace plumb::emulation

using namespace plumb::emulation;

extern "C" {

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int* count) {
  if (!is_open(handle))
    return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "cublasLtMatmulAlgoGetHeuristic: the handle");
  const MatmulPreference* wanted = find(preference);
  MatmulProblem problem;
  if (!collect(problem, description, a, b, c, d) || wanted == nullptr || requested < 1 ||
      results == nullptr || count == nullptr)
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "cublasLtMatmulAlgoGetHeuristic: an argument is not there");
  *count = 0;
  Verdict verdict = check_problem(problem);
  if (verdict.status != CUBLAS_STATUS_SUCCESS) return refuse(verdict.status, verdict.reason);
  for (const std::uint32_t alignment : wanted->alignment) {
    if (!std::has_single_bit(alignment))
      return refuse(CUBLAS_STATUS_INVALID_VALUE, "alignment of a preference");
  }
  const std::uint64_t most = std::min(useful_workspace(problem), wanted->workspace / 256 * 256);
  for (const std::uint64_t workspace : {most, std::uint64_t{0}}) {
    if (*count == requested || (*count == 1 && most == 0)) break;
    const Algorithm algorithm{kMagic, fingerprint(problem), workspace, wanted->alignment};
    cublasLtMatmulHeuristicResult_t& result = results[(*count)++];
    result = {};
    std::memcpy(&result.algo, &algorithm, sizeof algorithm);
    result.workspaceSize = workspace;
    result.state = CUBLAS_STATUS_SUCCESS;
    result.wavesCount = 1.0F;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  constexpr const char* kFunction = "cublasLtMatmul";
  if (!is_open(handle)) return refuse(CUBLAS_STATUS_NOT_INITIALIZED, "cublasLtMatmul: the handle");
  if (enter(kFunction, WhileCapturing::Allowed) != cudaSuccess)
    return refuse(CUBLAS_STATUS_EXECUTION_FAILED, cudaGetErrorString(cudaPeekAtLastError()));
  MatmulProblem problem;
  if (!collect(problem, description, a_layout, b_layout, c_layout, d_layout))
    return refuse(CUBLAS_STATUS_INVALID_VALUE, "cublasLtMatmul: a descriptor is not there");
  if (strikes(Fault::LeadingDimension)) problem.a.ld = static_cast<std::int64_t>(problem.a.rows) - 1;
  Verdict verdict = check_problem(problem);
  if (verdict.status != CUBLAS_STATUS_SUCCESS) return refuse(verdict.status, verdict.reason);
  for (const std::string& fault :
       {scale_fault(problem, alpha, "alpha"), scale_fault(problem, beta, "beta")}) {
    if (!fault.empty()) return refuse(CUBLAS_STATUS_INVALID_VALUE, fault);
  }
  const Scale alpha_scale = make_scale(problem, alpha), beta_scale = make_scale(problem, beta);
  MatmulPointers pointers{a, b, c, d, true, workspace, workspace_bytes};
  pointers.reads_c = beta_scale.device != nullptr || beta_scale.value != 0;
  std::string fault = pointer_fault(problem, pointers);
  if (fault.empty() && algorithm != nullptr) fault = algorithm_fault(*algorithm, problem, pointers);
  if (!fault.empty()) return refuse(CUBLAS_STATUS_INVALID_VALUE, fault);
  ++statistics().products;
  const cudaError_t code = submit(
      kFunction, stream, immediate(kFunction, [=] { run(problem, pointers, alpha_scale, beta_scale); }));
  return code == cudaSuccess ? CUBLAS_STATUS_SUCCESS
                             : refuse(CUBLAS_STATUS_EXECUTION_FAILED, cudaGetErrorString(code));
}

}  // extern "C"
