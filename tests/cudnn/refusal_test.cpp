// What is left to our own kernels, word by word.
#include <gtest/gtest.h>

#include "backends/cuda/attention_refusal.h"
#include "cudnn/requests.h"

namespace plumb::cuda::test {
namespace {

constexpr auto kForward = AttentionPass::Forward, kBackward = AttentionPass::Backward;

template <class Change>
std::string refusal_of(Change change, int compute_capability = 90, AttentionPass pass = kForward) {
  AttentionRequest request = packed_request(pass, 64);
  change(request);
  return library_attention_refusal(request, compute_capability);
}

TEST(AttentionRefusal, NothingAgainstOrdinaryRequests) {
  for (const int compute_capability : {80, 86, 89, 90, 100, 103, 120}) {
    for (const AttentionPass pass : {kForward, kBackward}) {
      for (const std::int64_t width : {8, 64, 80, 128}) {
        for (const DType dtype : {DType::BFloat16, DType::Float16}) {
          EXPECT_EQ(
              library_attention_refusal(packed_request(pass, width, 2, false, dtype), compute_capability),
              "");
        }
      }
    }
  }
}

TEST(AttentionRefusal, Mathematics) {
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r.dtype = DType::Float32; }),
            "it computes in bf16 and fp16, not in fp32");
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r.dropout = true; }),
            "its dropout draws other random numbers than ours");
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r.soft_cap = true; }), "it is asked for no soft cap");
}

TEST(AttentionRefusal, Shapes) {
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r.tokens = 1; }),
            "it has no backward pass for sequences of one token");
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r = packed_request(kForward, 68); }),
            "the head width 68 is no multiple of 8");
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r = packed_request(kForward, 264); }),
            "the head width 264 is above 256, the largest on sm_90");
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r = packed_request(kBackward, 256); }), "");
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r = packed_request(kBackward, 136); }, 80),
            "the head width 136 is above 128, the largest on sm_80");
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r = packed_request(kForward, 256); }, 100), "");
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r = packed_request(kBackward, 256); }, 100),
            "the head width 256 is above 128, the largest on sm_100");
  EXPECT_EQ(refusal_of([](AttentionRequest&) {}, 75), "sm_75 is older than sm_80");
}

TEST(AttentionRefusal, LayoutOfEveryTensor) {
  for (std::int64_t AttentionStrides::*stride :
       {&AttentionStrides::q, &AttentionStrides::k, &AttentionStrides::v, &AttentionStrides::out,
        &AttentionStrides::dout, &AttentionStrides::dq, &AttentionStrides::dk, &AttentionStrides::dv}) {
    EXPECT_EQ(refusal_of([&](AttentionRequest& r) { r.strides.*stride = 2308; }, 90, kBackward),
              "rows that are 2308 elements apart are not aligned to 16 bytes");
  }
  EXPECT_EQ(refusal_of([](AttentionRequest& r) { r.aligned = false; }),
            "a tensor does not start on a multiple of 16 bytes");
}

/// Memory that starts on a multiple of 16 bytes; nothing is read from it.
alignas(16) char memory[64];

TEST(AttentionRequest, KnowsAlignmentOfEveryTensor) {
  AttentionBackward call;
  call.shape.tokens = 4;
  for (Tensor* tensor : {&call.q, &call.k, &call.v, &call.out, &call.dout, &call.dq, &call.dk, &call.dv})
    *tensor = Tensor(memory, DType::BFloat16, {4, 8});
  call.log_sum_exp = Tensor(memory, DType::Float32, {1, 1, 4});
  EXPECT_TRUE(request_of(call).aligned);
  for (Tensor* tensor :
       {&call.q, &call.k, &call.v, &call.out, &call.log_sum_exp, &call.dout, &call.dq, &call.dk, &call.dv}) {
    tensor->data = memory + 8;
    EXPECT_FALSE(request_of(call).aligned);
    tensor->data = nullptr;  // planning: no data yet
    EXPECT_TRUE(request_of(call).aligned);
  }
}

TEST(AttentionRequest, IsWhatTheCallSays) {
  AttentionForward call;
  call.shape.batch = 2;
  call.shape.tokens = 3;
  call.shape.heads = 5;
  call.shape.width = 8;
  call.shape.causal = false;
  call.shape.soft_cap = 30;
  call.shape.dropout = 0.1;
  const Tensor packed(nullptr, DType::Float16, {6, 120});
  call.q = call.k = call.v = packed.columns(0, 40);
  call.out = Tensor(nullptr, DType::Float16, {6, 40});
  EXPECT_EQ(
      to_string(request_of(call)),
      "attention forward, fp16, B 2, T 3, H 5, D 8, full, soft cap, dropout, row strides 120 120 120 40");
}

}  // namespace
}  // namespace plumb::cuda::test
