// Plans of every attention graph that the engine builds, compiled by the real cuDNN for devices that are only
// described (devices/*.json). Nothing is executed. The table on the console is what docs/design quotes.
#include <dlfcn.h>
#include <gmock/gmock.h>

#include <map>

#include "backends/cuda/attention_library.h"
#include "backends/cuda/attention_refusal.h"
#include "backends/cuda/cudnn/attention_plan.h"
#include "backends/cuda/cudnn/cudnn_check.h"
#include "core/error.h"
#include "core/file.h"
#include "cudnn/requests.h"

namespace plumb::cuda::test {
namespace {
using ::testing::HasSubstr;

constexpr auto kForward = AttentionPass::Forward, kBackward = AttentionPass::Backward;

bool null_driver_is_loaded() {
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  return driver != nullptr && dlsym(driver, "plumb_null_driver") != nullptr;
}

const PlanDevice& device(int compute_capability) {
  static std::map<int, PlanDevice> devices;
  auto found = devices.find(compute_capability);
  if (found == devices.end()) {
    const std::string file =
        fmt::format("{}/tests/cudnn/devices/sm_{}.json", PLUMB_SOURCE_DIR, compute_capability);
    found = devices.try_emplace(compute_capability, read_whole_file(file), compute_capability).first;
  }
  return found->second;
}

class Cudnn : public testing::Test {
 protected:
  void SetUp() override {
    if (!null_driver_is_loaded()) {
      GTEST_SKIP() << "libcuda.so.1 is not the null driver: run this test by ctest, which puts it on "
                      "LD_LIBRARY_PATH";
    }
  }
};

class CudnnPlans : public Cudnn, public testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Devices, CudnnPlans, testing::Values(80, 90, 100),
                         [](const auto& info) { return fmt::format("sm_{}", info.param); });

void print_row(int compute_capability, const AttentionRequest& request, const std::string& engine,
               const std::string& bytes) {
  fmt::print("| sm_{:<3} | {:<8} | {} | {:>3} | {:>4} | {:<6} | {:<44} | {:>11} |\n", compute_capability,
             request.pass == kForward ? "forward" : "backward", name_of(request.dtype), request.width,
             request.tokens, request.causal ? "causal" : "full", engine, bytes);
  std::fflush(stdout);
}

/// The deterministic backward pass of sm_80 and sm_90 stores dP in 16 bits; the one with atomics would store
/// dq in fp32 instead, which is less.
std::size_t bytes_of_stored_products(const AttentionRequest& request) {
  return static_cast<std::size_t>(2 * request.batch * request.heads * request.tokens * request.tokens);
}

void expect_deterministic(int compute_capability, const AttentionRequest& request,
                          const ExecutionPlan& plan) {
  if (request.pass == kForward) {
    EXPECT_LE(plan.workspace(), 4096U);
  } else if (compute_capability == 100) {
    EXPECT_EQ(plan.name(), "engine 5, knob 24 = 31, knob 14 = 2");
  } else {
    EXPECT_GE(plan.workspace(), bytes_of_stored_products(request));
  }
}

void expect_plan(int compute_capability, const AttentionRequest& request) {
  SCOPED_TRACE(fmt::format("sm_{}, {}", compute_capability, to_string(request)));
  const std::string refusal = library_attention_refusal(request, compute_capability);
  if (!refusal.empty()) {
    print_row(compute_capability, request, "refused: " + refusal.substr(0, 35), "");
    return;
  }
  const PlanSearch search = find_attention_plan(request, device(compute_capability));
  ASSERT_TRUE(search.plan().has_value()) << search.failure();
  print_row(compute_capability, request, search.plan()->name(),
            fmt::format("{}", search.plan()->workspace()));
  expect_deterministic(compute_capability, request, *search.plan());
}

TEST_P(CudnnPlans, EveryGraph) {
  for (const AttentionPass pass : {kForward, kBackward})
    for (const std::int64_t width : {64, 80, 128, 256})
      for (const bool causal : {true, false})
        for (const DType dtype : {DType::BFloat16, DType::Float16})
          for (const std::int64_t tokens : {1, 1000, 1024})
            expect_plan(GetParam(), packed_request(pass, width, tokens, causal, dtype));
}

TEST_P(CudnnPlans, OtherLayoutsAndSizes) {
  for (const AttentionPass pass : {kForward, kBackward}) {
    AttentionRequest contiguous = packed_request(pass, 64);
    for (std::int64_t AttentionStrides::*stride :
         {&AttentionStrides::q, &AttentionStrides::k, &AttentionStrides::v, &AttentionStrides::dq,
          &AttentionStrides::dk, &AttentionStrides::dv}) {
      if (contiguous.strides.*stride != 0) contiguous.strides.*stride = 12 * 64;
    }
    expect_plan(GetParam(), contiguous);
    AttentionRequest mixed = packed_request(pass, 64);  // norms of q and k write them apart from v
    mixed.strides.q = mixed.strides.k = 12 * 64;
    expect_plan(GetParam(), mixed);
    AttentionRequest one = packed_request(pass, 8, 2);
    one.batch = one.heads = 1;
    expect_plan(GetParam(), one);
  }
}

TEST_P(CudnnPlans, CudnnAgreesWithTheLimitsOfWidths) {
  const auto has_plan = [](const AttentionRequest& request) {
    return find_attention_plan(request, device(GetParam())).plan().has_value();
  };
  const std::int64_t largest = GetParam() == 90 ? 256 : 128;
  EXPECT_TRUE(has_plan(packed_request(kBackward, largest)));
  EXPECT_FALSE(has_plan(packed_request(kBackward, largest + 8)));
  for (const AttentionPass pass : {kForward, kBackward})
    for (const std::int64_t width : {65, 68}) EXPECT_FALSE(has_plan(packed_request(pass, width)));
}

/// Where cuDNN compiles a plan all the same: what our refusals must not leave to it.
TEST_P(CudnnPlans, SomeRefusalsAreOurs) {
  const auto has_plan = [](const AttentionRequest& request) {
    return find_attention_plan(request, device(GetParam())).plan().has_value();
  };
  // Its release notes exclude one token, its support matrix widths beyond 256.
  for (const AttentionRequest& request : {packed_request(kBackward, 64, 1), packed_request(kForward, 264)}) {
    EXPECT_NE(library_attention_refusal(request, GetParam()), "");
    EXPECT_TRUE(has_plan(request)) << "now cuDNN refuses it too: " << to_string(request);
  }
}

TEST_F(Cudnn, ErrorsNameThePlaceAndSayCudnnsWords) {
  Descriptor tensor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  try {
    tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, std::int64_t{3});  // is no data type
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("plans_test.cpp:"));
    EXPECT_THAT(error.what(), HasSubstr("cudnnBackendSetAttribute(901)"));
    EXPECT_THAT(error.what(), HasSubstr("CUDNN_STATUS_BAD_PARAM"));
    EXPECT_THAT(error.what(), testing::Not(HasSubstr("\n")));
  }
}

TEST_F(Cudnn, WithoutADeviceTheErrorIsCudasOwnAndNotRemembered) {
  const auto library = make_attention_library();
  EXPECT_THAT(library->name(), HasSubstr("cuDNN 9."));
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT([&] { static_cast<void>(library->refusal(packed_request(kForward, 64))); },
                testing::ThrowsMessage<Error>(HasSubstr("cudaGetDevice")));
}

/// What a status makes of a request, by the kind of exception.
std::string kind_of(cudnnStatus_t status) {
  try {
    check_cudnn(status, "a call");
    return "none";
  } catch (const CudnnRefusal&) {
    return "refusal";
  } catch (const Error&) {
    return "fault";
  }
}

TEST(CudnnStatus, FaultsOfTheDeviceAreNoRefusals) {
  EXPECT_EQ(kind_of(CUDNN_STATUS_SUCCESS), "none");
  for (const cudnnStatus_t status : {CUDNN_STATUS_NOT_INITIALIZED, CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED,
                                     CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, CUDNN_STATUS_NOT_SUPPORTED_SHAPE,
                                     CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED})
    EXPECT_EQ(kind_of(status), "refusal") << cudnnGetErrorString(status);
  for (const cudnnStatus_t status :
       {CUDNN_STATUS_EXECUTION_FAILED, CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER,
        CUDNN_STATUS_EXECUTION_FAILED_CUDART, CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED,
        CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED})
    EXPECT_EQ(kind_of(status), "fault") << cudnnGetErrorString(status);
}

}  // namespace
}  // namespace plumb::cuda::test
