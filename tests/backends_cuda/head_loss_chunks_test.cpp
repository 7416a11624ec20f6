// The head of the CUDA backend in many chunks of logits gives what it gives in one: the op tests' shapes fit
// into a single chunk of the size that training has.
#include <gtest/gtest.h>

#include <cmath>

#include "backend/op_test.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_ops.h"
#include "backends/cuda/head_chunks.h"

namespace plumb::test {
namespace {

constexpr std::int64_t kRows = 150, kWidth = 16, kVocabulary = 200;
constexpr std::int64_t kFewLogits = 64 * 64;

Backend& emulated() {
  static const std::unique_ptr<Backend> backend = cuda::make_cuda_backend("cuda-emulated", {});
  return *backend;
}

struct HeadResults {
  std::vector<double> log_z, sums, dh, dweight, dbias;
};

HeadResults run(const HeadLossOps& ops, DType compute) {
  Bench bench(emulated(), compute, DType::Float32);
  HeadLossForward forward;
  forward.z_loss = 1e-2;
  forward.soft_cap = 3;
  forward.h = bench.input("h", Shape{kRows, kWidth});
  forward.weight = bench.input("weight", Shape{kVocabulary, kWidth}, {0, 0.3});
  forward.bias = bench.parameter("bias", Shape{kVocabulary});
  std::vector<double> targets;
  for (std::int64_t r = 0; r < kRows; ++r)
    targets.push_back(r % 7 == 0 ? -1.0 : static_cast<double>(r * 31 % kVocabulary));
  forward.targets = bench.constants("targets", DType::Int32, Shape{kRows}, targets);
  forward.log_z = bench.master_output("log_z", Shape{kRows}, {});
  forward.sums = bench.sums("sums", kHeadLossSums, 0.25, {});
  forward.workspace = bench.workspace(ops.head_loss_forward_workspace(forward));
  ops.head_loss_forward(bench.stream(), forward);

  HeadLossBackward backward;
  backward.z_loss = forward.z_loss;
  backward.soft_cap = forward.soft_cap;
  backward.gradient_scale = 1.25;
  backward.h = forward.h;
  backward.weight = forward.weight;
  backward.bias = forward.bias;
  backward.targets = forward.targets;
  backward.log_z = forward.log_z;
  backward.dh = bench.output("dh", Shape{kRows, kWidth}, {});
  backward.dweight = bench.accumulated("dweight", Shape{kVocabulary, kWidth}, {});
  backward.dbias = bench.accumulated("dbias", Shape{kVocabulary}, {});
  backward.workspace = bench.workspace(ops.head_loss_backward_workspace(backward));
  ops.head_loss_backward(bench.stream(), backward);
  bench.finish();
  return {bench.read(forward.log_z), bench.read(forward.sums), bench.read(backward.dh),
          bench.read(backward.dweight), bench.read(backward.dbias)};
}

class HeadLossChunks : public testing::TestWithParam<DType> {};

TEST_P(HeadLossChunks, GiveWhatOneChunkGives) {
  const cuda::HeadChunks chunks(kRows, kVocabulary, kFewLogits);
  ASSERT_LT(chunks.rows, kRows);
  ASSERT_LT(chunks.vocabulary, kVocabulary);
  const cuda::MatrixProducts products(false);
  const HeadResults one = run(cuda::CudaHeadLoss(products), GetParam());
  const HeadResults many = run(cuda::CudaHeadLoss(products, kFewLogits), GetParam());
  const double limit = GetParam() == DType::Float32 ? 1e-5 : 1e-2;
  EXPECT_LE(relative_error(many.log_z, one.log_z), limit);
  EXPECT_LE(relative_error(many.sums, one.sums), limit);
  EXPECT_LE(relative_error(many.dh, one.dh), limit);
  EXPECT_LE(relative_error(many.dweight, one.dweight), limit);
  EXPECT_LE(relative_error(many.dbias, one.dbias), limit);
}
INSTANTIATE_TEST_SUITE_P(All, HeadLossChunks,
                         testing::Values(DType::Float32, DType::BFloat16, DType::Float16),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace plumb::test
