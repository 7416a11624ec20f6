// More pieces than a grid of CUDA has blocks in y and z (65535). Not on the emulated device and the
// reference, which are too slow for that.
#include "backend/op_test.h"

namespace plumb::test {
namespace {

constexpr std::int64_t kMostBlocks = 65535;

std::vector<Target> fast_targets() {
  std::vector<Target> list;
  for (const Target& target : targets()) {
    const bool slow = target.backend == "cuda-emulated" || target.backend == "reference";
    if (target.dtype == DType::Float32 && !slow) list.push_back(target);
  }
  return list;
}

class ManyBlocks : public testing::TestWithParam<Target> {
 protected:
  Bench bench_{shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype};

  Tensor filled(const std::string& name, DType dtype, Shape shape, double value) {
    return bench_.constants(name, dtype, shape,
                            std::vector<double>(static_cast<std::size_t>(shape.elements()), value));
  }
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ManyBlocks);
INSTANTIATE_TEST_SUITE_P(Backends, ManyBlocks, testing::ValuesIn(fast_targets()),
                         testing::PrintToStringParamName());

TEST_P(ManyBlocks, SequencesOfTokenSimilarity) {
  const std::int64_t sequences = kMostBlocks + 2, tokens = 2;
  const ObservationOps& ops = bench_.backend().observations();
  TokenSimilarity arguments{filled("x", GetParam().dtype, {sequences * tokens, 4}, 1),
                            tokens,
                            bench_.sums("sums", kSimilaritySums),
                            {}};
  arguments.workspace = bench_.workspace(ops.token_similarity_workspace(arguments));
  ops.token_similarity(bench_.stream(), arguments);
  const std::vector<double> sums = bench_.read(arguments.sums);
  EXPECT_NEAR(sums[kSimilarity], static_cast<double>(sequences), 1e-6);
  EXPECT_EQ(sums[kSimilaritySequences], static_cast<double>(sequences));
}

TEST_P(ManyBlocks, TilesOfRowsOfAnEmbedding) {
  const std::int64_t rows = 32 * kMostBlocks + 33;
  const EmbeddingOps& ops = bench_.backend().embedding();
  EmbeddingBackward arguments;
  arguments.tokens = rows;
  std::vector<double> ids(static_cast<std::size_t>(rows), 1);
  ids.back() = 0;
  arguments.ids = bench_.constants("ids", DType::Int32, Shape{rows}, ids);
  arguments.dout = filled("dout", GetParam().dtype, {rows, 4}, 1);
  arguments.dtoken_table = filled("table", bench_.master(), {2, 4}, 0);
  arguments.workspace = bench_.workspace(ops.embedding_backward_workspace(arguments));
  ops.embedding_backward(bench_.stream(), arguments);
  const std::vector<double> table = bench_.read(arguments.dtoken_table);
  EXPECT_EQ(table.front(), 1);
  EXPECT_EQ(table.back(), static_cast<double>(rows - 1));
}

}  // namespace
}  // namespace plumb::test
