#include "training_step.h"

#include <cmath>
#include <cstdio>

#include "clique.h"
#include "cublaslt_problem.h"
#include "host/device_memory.h"

namespace plumb::emulation {
namespace {

constexpr std::size_t kRows = 16, kWidth = 32, kOutputs = 24;

/// Input of a rank.
float input_of(int r, std::size_t i) {
  return static_cast<float>((i * 37 + static_cast<std::size_t>(r) * 11) % 101) / 50 - 1;
}
float weight_of(std::size_t i) { return static_cast<float>(i % 13) / 13 - 0.5F; }
float bias_of(std::size_t i) { return static_cast<float>(i) * 0.01F; }

template <class Function>
std::vector<float> generate(std::size_t count, Function function) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = function(i);
  return values;
}

/// y = x / rms(x), row by row: stands for a norm kernel.
void normalise_rows(float* y, const float* x, std::size_t rows) {
  for (std::size_t row = 0; row < rows; ++row) {
    double squares = 0;
    for (std::size_t i = 0; i < kWidth; ++i) squares += std::pow(x[row * kWidth + i], 2);
    const auto scale = static_cast<float>(1 / std::sqrt(squares / kWidth));
    for (std::size_t i = 0; i < kWidth; ++i) y[row * kWidth + i] = x[row * kWidth + i] * scale;
  }
}

/// In float64: the mean over ranks of normalise(x) w + bias.
double expected(std::size_t row, std::size_t output) {
  double mean = 0;
  for (int r = 0; r < world(); ++r) {
    double squares = 0, sum = 0;
    for (std::size_t i = 0; i < kWidth; ++i) {
      const double x = input_of(r, row * kWidth + i);
      squares += x * x;
      sum += x * weight_of(i * kOutputs + output);
    }
    mean += (sum / std::sqrt(squares / kWidth) + bias_of(output)) / world();
  }
  return mean;
}

struct Found {
  std::string what;
};

void require(cudaError_t code) {
  if (code != cudaSuccess) throw Found{cudaGetErrorString(code)};
}
void require(cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) throw Found{cublasLtGetStatusString(status)};
}
void require(ncclResult_t result) {
  if (result != ncclSuccess) throw Found{ncclGetLastError(nullptr)};
}

class TrainingStep {
 public:
  explicit TrainingStep(Bug bug) : bug_(bug) {}

  void run() {
    upload();
    normalise();
    multiply();
    reduce();
    read_back();
    compare();
  }

 private:
  bool has(Bug bug) const { return bug_ == bug; }

  void upload() {
    for (std::size_t i = 0; i < kRows * kWidth; ++i) staging_[i] = input_of(rank(), i);
    require(cudaMemcpyAsync(x_.data(), staging_.data(), x_.bytes(), cudaMemcpyHostToDevice, compute_));
    if (has(Bug::SourceOverwritten)) staging_.fill(0);
    const std::vector<float> weight = generate(kWidth * kOutputs, weight_of),
                             bias = generate(kOutputs, bias_of);
    require(
        cudaMemcpyAsync(weight_.data(), weight.data(), weight_.bytes(), cudaMemcpyHostToDevice, compute_));
    require(cudaMemcpyAsync(bias_.data(), bias.data(), bias_.bytes(), cudaMemcpyHostToDevice, compute_));
  }

  void normalise() {
    const std::size_t rows = has(Bug::KernelOutOfBounds) ? kRows + 1 : kRows;
    float *y = y_.data(), *x = x_.data();
    require(launch(compute_, "normalise_rows", [=] { normalise_rows(y, x, rows); }));
    if (has(Bug::HostDereference)) std::printf("%f\n", static_cast<double>(y[0]));
  }

  /// Row-major z = y w is column-major z^T = w^T y^T.
  void multiply() {
    Layout w(CUDA_R_32F, kOutputs, kWidth, has(Bug::BadLeadingDimension) ? kOutputs / 4 : kOutputs);
    Layout y(CUDA_R_32F, kWidth, kRows, kWidth);
    Layout z(CUDA_R_32F, kOutputs, kRows, has(Bug::ResultOutOfBounds) ? kOutputs + 4 : kOutputs);
    cublasLtHandle_t library = nullptr;
    cublasLtMatmulDesc_t description = nullptr;
    require(cublasLtCreate(&library));
    require(cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const std::uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    const void* bias = bias_.data();
    require(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                           sizeof epilogue));
    require(
        cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias));
    const float one = 1, zero = 0;
    const cublasStatus_t status =
        cublasLtMatmul(library, description, &one, weight_.data(), w, y_.data(), y, &zero, z_.data(), z,
                       z_.data(), z, nullptr, nullptr, 0, compute_);
    require(cublasLtMatmulDescDestroy(description));
    require(cublasLtDestroy(library));
    require(status);
  }

  void reduce() {
    require(cudaEventRecord(ready_, compute_));
    if (!has(Bug::ReduceBeforeProduct)) require(cudaStreamWaitEvent(communication_, ready_, 0));
    const std::size_t count = has(Bug::CountDiffers) && rank() == 1 ? z_.count() - 1 : z_.count();
    if (!has(Bug::CollectiveSkipped) || rank() != 1)
      require(ncclAllReduce(z_.data(), z_.data(), count, ncclFloat32, ncclAvg, clique_, communication_));
    require(cudaEventRecord(reduced_, communication_));
  }

  void read_back() {
    if (!has(Bug::ReadBeforeReduce)) require(cudaStreamWaitEvent(compute_, reduced_, 0));
    require(cudaMemcpyAsync(result_.data(), z_.data(), z_.bytes(), cudaMemcpyDeviceToHost, compute_));
    if (!has(Bug::NoSynchronize)) require(cudaStreamSynchronize(compute_));
  }

  void compare() {
    double largest_error = 0;
    for (std::size_t row = 0; row < kRows; ++row) {
      for (std::size_t output = 0; output < kOutputs; ++output) {
        const double error = std::abs(result_[row * kOutputs + output] - expected(row, output));
        if (!(error <= largest_error)) largest_error = error;
      }
    }
    require(cudaDeviceSynchronize());
    if (!(largest_error < 1e-5)) throw Found{"the result is off by " + std::to_string(largest_error)};
  }

  Bug bug_;
  Clique clique_;
  StreamHandle compute_, communication_;
  EventHandle ready_, reduced_;
  PinnedArray<float> staging_{kRows * kWidth}, result_{kRows * kOutputs};
  DeviceArray<float> x_{kRows * kWidth}, weight_{kWidth * kOutputs}, bias_{kOutputs}, z_{kRows * kOutputs};
  DeviceArray<float> y_{kRows * kWidth};
  DeviceArray<float> next_{kRows * kWidth};  ///< what a kernel that overruns y_ hits
};

}  // namespace

std::string run_training_step(Bug bug) {
  std::string found;
  {
    TrainingStep step(bug);
    try {
      step.run();
    } catch (const Found& finding) {
      found = finding.what;
    }
    forget_errors();
    discard_all();
    largest(0);  // no rank takes its communicator down while another still uses it
  }
  // Freeing memory is another chance to find something.
  if (found.empty() && lost_device() != cudaSuccess) found = cudaGetErrorString(lost_device());
  forget_errors();
  return found;
}

}  // namespace plumb::emulation
