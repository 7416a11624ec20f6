// What the tests of the emulated device share: launches that end at once, and the orders of threads.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "portability.cuh"
#include "settings.h"

namespace plumb::test {

/// A launch that was refused, or a kernel that failed, with the report.
struct KernelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What cudaFuncSetAttribute allowed the kernel.
std::size_t allowed_shared_bytes(const void* kernel);

/// Launches and waits. Throws KernelError.
void finish_launch();
template <class... Parameters, class... Arguments>
void run(dim3 grid, dim3 block, std::size_t shared_bytes, void (*kernel)(Parameters...),
         Arguments... arguments) {
  cuda::launch({"test_kernel", grid, block, shared_bytes, nullptr}, kernel, arguments...);
  finish_launch();
}
/// The report of the KernelError that the call throws; empty if none.
template <class Call>
std::string error_of(Call&& call) {
  try {
    call();
  } catch (const KernelError& error) {
    return error.what();
  }
  return "";
}

/// In such a build a memory fault ends the process.
#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kAddressSanitizer = true;
#else
inline constexpr bool kAddressSanitizer = false;
#endif

/// For the life of the object launches follow `chosen`.
class WithSettings {
 public:
  explicit WithSettings(const emulation::Settings& chosen) : before_(emulation::settings()) {
    emulation::settings() = chosen;
  }
  ~WithSettings() { emulation::settings() = before_; }
  WithSettings(const WithSettings&) = delete;
  WithSettings& operator=(const WithSettings&) = delete;

 private:
  emulation::Settings before_;
};

/// Forward, reverse, two random orders, and two workers.
std::vector<emulation::Settings> all_settings();
std::string settings_name(const testing::TestParamInfo<emulation::Settings>& info);

/// A test that must hold in every order of threads.
class InEveryOrder : public testing::TestWithParam<emulation::Settings> {
 protected:
  WithSettings chosen_{GetParam()};
};
#define PLUMB_IN_EVERY_ORDER(suite) \
  INSTANTIATE_TEST_SUITE_P(Orders, suite, testing::ValuesIn(all_settings()), settings_name)

/// Numbers that a test can tell apart, of both signs and exact in bf16.
std::vector<float> small_numbers(std::size_t count);

}  // namespace plumb::test
