// How the head cuts its logits, and that its results do not depend on it.
#include "backends/cuda/head_chunks.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/op_test.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_ops.h"

namespace plumb::test {
namespace {
using cuda::HeadChunks;

TEST(HeadChunks, CoverEverythingOnceAndStayInTheLimit) {
  for (const std::int64_t rows : {1, 63, 64, 65, 1000, 8192, 131072}) {
    for (const std::int64_t vocabulary : {1, 17, 256, 1501, 50257, 200000}) {
      for (const std::int64_t most : {std::int64_t{64 * 64}, std::int64_t{1} << 16, cuda::kChunkLogits}) {
        const HeadChunks chunks(rows, vocabulary, most);
        SCOPED_TRACE(testing::Message() << rows << "x" << vocabulary << " in " << most);
        EXPECT_LE(chunks.rows * chunks.vocabulary, most);
        EXPECT_EQ(chunks.rows % HeadChunks::kUnit, 0);
        EXPECT_EQ(chunks.vocabulary % HeadChunks::kUnit, 0);
        std::int64_t next = 0;
        HeadChunks::walk(vocabulary, chunks.vocabulary, [&](std::int64_t first, std::int64_t count) {
          EXPECT_EQ(first, next);
          EXPECT_GT(count, 0);
          EXPECT_LE(count, chunks.vocabulary);
          next = first + count;
        });
        EXPECT_EQ(next, vocabulary);
      }
    }
  }
}

TEST(HeadChunks, OfATrainingStepAreNearSquare) {
  const HeadChunks chunks(16384, 50257, cuda::kChunkLogits);
  EXPECT_EQ(chunks.rows, 4096);
  EXPECT_EQ(chunks.vocabulary, 3904);  // 13 pieces of nearly one size
  EXPECT_TRUE(HeadChunks(16384, 256, cuda::kChunkLogits).whole_vocabulary());
  EXPECT_EQ(HeadChunks(100, 50257, cuda::kChunkLogits).rows, 128);
}

// Fewer than a unit at once make a unit.
TEST(HeadChunks, RowsThatAreTakenAtOnceAreAtLeastAUnit) {
  EXPECT_EQ(HeadChunks::joined_rows(1000, 50257, 0, 0), 64);
  EXPECT_EQ(HeadChunks::joined_rows(1000, 50257, 63 * 50257, 1), 64);
  EXPECT_EQ(HeadChunks::joined_rows(10, 50257, 0, 0), 10);
  EXPECT_EQ(HeadChunks::joined_rows(1000, 50257, 0, 256), 256);
}

TEST(HeadChunks, SizesAreThoseOfTheWalk) {
  const HeadChunks chunks(300, 1000, 1 << 14);  // rows of 128 + 128 + 44 or so
  std::vector<std::pair<std::int64_t, std::int64_t>> walked, named;
  const auto remember = [](auto& list, std::pair<std::int64_t, std::int64_t> size) {
    if (std::find(list.begin(), list.end(), size) == list.end()) list.push_back(size);
  };
  HeadChunks::walk(300, chunks.rows, [&](std::int64_t, std::int64_t rows) {
    HeadChunks::walk(1000, chunks.vocabulary, [&](std::int64_t, std::int64_t entries) {
      remember(walked, {rows, entries});
    });
  });
  chunks.for_sizes([&](std::int64_t rows, std::int64_t entries) { remember(named, {rows, entries}); });
  std::sort(walked.begin(), walked.end());
  std::sort(named.begin(), named.end());
  EXPECT_EQ(named, walked);
}

constexpr std::int64_t kWidth = 24, kStride = 31;  // h and dh are columns of wider rows

struct HeadCase {
  std::int64_t rows = 300, vocabulary = 500;
  double soft_cap = 0;
  bool bias = true, loss_scale = false;
  double first_target = -1;  ///< of row 0
  bool bias_gradient = true, accumulate = true;
};

/// Forward and backward with at most `most` logits at once; in one op with `joined_rows` of them, if not 0.
std::vector<Bench::Result> run_head(DType dtype, const HeadCase& one, std::int64_t most,
                                    std::int64_t joined_rows = 0) {
  static const std::unique_ptr<Backend> backend = cuda::make_cuda_backend("cuda-emulated", {});
  const cuda::MatrixProducts products(false);
  const cuda::CudaHeadLoss ops(products, most, joined_rows);
  Bench bench(*backend, dtype, dtype);
  std::vector<double> targets;
  for (std::int64_t r = 0; r < one.rows; ++r)
    targets.push_back(r % 5 == 0 ? -1.0 : static_cast<double>(r * 7919 % one.vocabulary));
  targets[0] = one.first_target;
  HeadLossForward forward;
  forward.soft_cap = one.soft_cap, forward.z_loss = 1e-3;
  forward.h = bench.input("h", Shape{one.rows, kStride}).columns(5, kWidth);
  forward.weight = bench.input("weight", Shape{one.vocabulary, kWidth}, {0, 0.3});
  if (one.bias) forward.bias = bench.parameter("bias", Shape{one.vocabulary});
  forward.targets = bench.constants("targets", DType::Int32, Shape{one.rows}, targets);
  forward.log_z = bench.master_output("log_z", Shape{one.rows});
  forward.sums = bench.sums("sums", kHeadLossSums);
  HeadLossBackward backward;
  backward.soft_cap = one.soft_cap, backward.z_loss = 1e-3, backward.gradient_scale = 0.5;
  if (one.loss_scale) backward.loss_scale = bench.constants("scale", DType::Float64, Shape{1}, {8});
  backward.h = forward.h, backward.weight = forward.weight, backward.bias = forward.bias;
  backward.targets = forward.targets, backward.log_z = forward.log_z;
  backward.dh = bench.output("dh", Shape{one.rows, kStride}).columns(3, kWidth);
  backward.accumulate = one.accumulate;
  backward.dweight = one.accumulate ? bench.accumulated("dweight", forward.weight.shape)
                                    : bench.master_output("dweight", forward.weight.shape);
  if (one.bias && one.bias_gradient) backward.dbias = bench.accumulated("dbias", Shape{one.vocabulary});
  if (joined_rows > 0) {
    forward.workspace = backward.workspace =
        bench.workspace(ops.head_loss_both_workspace({forward, backward}));
    ops.head_loss_both(bench.stream(), {forward, backward});
    return bench.finish();
  }
  forward.workspace = bench.workspace(ops.head_loss_forward_workspace(forward));
  ops.head_loss_forward(bench.stream(), forward);
  backward.workspace = bench.workspace(ops.head_loss_backward_workspace(backward));
  ops.head_loss_backward(bench.stream(), backward);
  return bench.finish();
}

void expect_close(const std::vector<Bench::Result>& results, const std::vector<Bench::Result>& expected,
                  DType dtype) {
  ASSERT_EQ(results.size(), expected.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    const bool rounded = results[i].dtype != DType::Float32 && results[i].dtype != DType::Float64;
    EXPECT_LE(relative_error(results[i].values, expected[i].values), rounded ? 1e-3 : 2e-6)
        << results[i].name << " " << name_of(dtype);
  }
}

TEST(HeadChunks, ResultsDoNotDependOnThem) {
  for (const DType dtype : {DType::Float32, DType::BFloat16, DType::Float16}) {
    for (const HeadCase& one :
         {HeadCase{300, 500}, HeadCase{300, 500, 2.5}, HeadCase{140, 257, 0, false},
          HeadCase{65, 130, 0, true, true}, HeadCase{140, 257, 0, true, false, -1, true, false}}) {
      const std::vector<Bench::Result> whole = run_head(dtype, one, cuda::kChunkLogits);
      for (const std::int64_t most : {std::int64_t{64 * 64}, std::int64_t{1} << 14})
        expect_close(run_head(dtype, one, most), whole, dtype);
    }
  }
}

// Rows with their whole vocabulary, in chunks of 64 of them and all at once, beside the two ops apart.
TEST(HeadChunks, BothPassesInOneGiveWhatTheyGiveApart) {
  for (const DType dtype : {DType::Float32, DType::BFloat16, DType::Float16}) {
    for (const HeadCase& one :
         {HeadCase{300, 500, 0, true, false, -1, false}, HeadCase{140, 1100, 2.5, false, true},
          HeadCase{65, 130, 0, true, true}, HeadCase{140, 257, 0, false, false, -1, true, false}}) {
      const std::vector<Bench::Result> apart = run_head(dtype, one, cuda::kChunkLogits);
      expect_close(run_head(dtype, one, 64, 64), apart, dtype);
      expect_close(run_head(dtype, one, 64, cuda::kJoinedRows), apart, dtype);
    }
  }
}

TEST(HeadChunks, JoinedRowsAreManyOrMakeManyLogits) {
  EXPECT_EQ(cuda::HeadChunks::joined_rows(8192, 50304, cuda::kChunkLogits, cuda::kJoinedRows), 2048);
  EXPECT_EQ(cuda::HeadChunks::joined_rows(5000, 50304, cuda::kChunkLogits, cuda::kJoinedRows), 1728)
      << "three pieces of one size";
  EXPECT_EQ(cuda::HeadChunks::joined_rows(8192, 256, cuda::kChunkLogits, cuda::kJoinedRows), 8192);
  EXPECT_EQ(cuda::HeadChunks::joined_rows(70, 50304, cuda::kChunkLogits, cuda::kJoinedRows), 70);
}

// The host does not see targets: one that does not exist makes its row NaN, and nothing else.
TEST(HeadChunks, TargetsOutOfTheVocabularyAreSeen) {
  const auto find = [](const std::vector<Bench::Result>& results, const std::string& name) {
    return std::find_if(results.begin(), results.end(),
                        [&](const Bench::Result& result) { return result.name == name; })
        ->values;
  };
  for (const double target : {90.0, 1e9, -2.0}) {
    for (const std::int64_t most : {std::int64_t{64 * 64}, cuda::kChunkLogits}) {
      const auto results = run_head(DType::BFloat16, {70, 90, 0, true, false, target}, most);
      const std::vector<double> sums = find(results, "sums"), dh = find(results, "dh");
      EXPECT_TRUE(std::isnan(sums[kHeadLossCrossEntropy])) << target;
      EXPECT_TRUE(std::isfinite(sums[kHeadLossMaxLogit])) << target;
      for (std::int64_t r = 0; r < 70; ++r) {
        for (std::int64_t i = 0; i < kWidth; ++i)
          EXPECT_EQ(std::isnan(dh[static_cast<std::size_t>(r * kStride + 3 + i)]), r == 0) << r << " " << i;
      }
    }
  }
}

TEST(HeadChunks, LossScaleMultipliesTheGradients) {
  const std::vector<Bench::Result> plain = run_head(DType::Float32, {70, 90}, 1 << 14);
  const std::vector<Bench::Result> scaled = run_head(DType::Float32, {70, 90, 0, true, true}, 1 << 14);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const bool is_gradient = plain[i].name[0] == 'd';
    ASSERT_EQ(scaled[i].name, plain[i].name);
    std::vector<double> got = scaled[i].values, expected = plain[i].values;
    for (std::size_t e = 0; is_gradient && e < expected.size(); ++e) {
      const double start = plain[i].start.empty() ? 0 : plain[i].start[e];
      got[e] -= start, expected[e] = 8 * (expected[e] - start);
    }
    EXPECT_LE(relative_error(got, expected), is_gradient ? 1e-4 : 0) << plain[i].name;
  }
}

}  // namespace
}  // namespace plumb::test
