// Stands in for the emulated libraries: one stream, on which everything happens at once.
#include "device_test.h"

#include <map>

#include "host/stream_queue.h"

namespace plumb::test {
namespace {

std::string failed_kernel;
std::map<const void*, std::size_t> allowed;

}  // namespace

std::size_t allowed_shared_bytes(const void* kernel) { return allowed[kernel]; }

void finish_launch() {
  const std::string report = std::exchange(failed_kernel, "");
  if (!report.empty()) throw KernelError(report);
}

std::vector<emulation::Settings> all_settings() {
  using emulation::Order;
  return {{Order::Forward, 1, 1},
          {Order::Reverse, 1, 1},
          {Order::Random, 1, 1},
          {Order::Random, 2, 1},
          {Order::Forward, 1, 2}};
}

std::string settings_name(const testing::TestParamInfo<emulation::Settings>& info) {
  const char* names[] = {"forward", "reverse", "random"};
  return std::string(names[static_cast<int>(info.param.order)]) + "_" + std::to_string(info.param.seed) +
         "_workers_" + std::to_string(info.param.workers);
}

std::vector<float> small_numbers(std::size_t count) {
  std::vector<float> numbers;
  for (std::size_t i = 0; i < count; ++i) numbers.push_back(static_cast<float>(i * 37 % 101) - 50);
  return numbers;
}

}  // namespace plumb::test

namespace plumb::emulation {

cudaError_t enqueue(cudaStream_t, const char*, std::function<Step()> run) {
  while (run() == Step::Pending) {
  }
  return cudaSuccess;
}

void kernel_failed(const std::string& report) { test::failed_kernel = report; }

cudaError_t check_shared_memory(const void* kernel, const char*, std::size_t bytes) {
  return bytes <= 48 * 1024 || bytes <= test::allowed_shared_bytes(kernel) ? cudaSuccess
                                                                           : cudaErrorInvalidValue;
}

}  // namespace plumb::emulation

extern "C" cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  plumb::test::allowed[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

namespace plumb::cuda {

void check_cuda(cudaError_t code, const char* expression, const char*, int) {
  if (code != cudaSuccess) throw test::KernelError(expression);
}

}  // namespace plumb::cuda
