#include "backend/op_test.h"
#include "core/rng.h"

namespace plumb::test {
namespace {

struct EmbeddingCase {
  std::string name = {};
  std::int64_t batch = 1, tokens = 1, width = 1, vocabulary = 2;
  double scale = 1;
  std::int64_t positions = 0;  ///< rows of the position table, 0 = none
  bool frequent = false;       ///< half of the rows have the same id
};
void PrintTo(const EmbeddingCase& shape, std::ostream* out) { *out << shape.name; }

void run_embedding(Bench& bench, const EmbeddingCase& shape) {
  const std::int64_t rows = shape.batch * shape.tokens;
  std::vector<double> values;
  for (std::int64_t r = 0; r < rows; ++r)
    values.push_back(shape.frequent && r % 2 == 0
                         ? 1
                         : RandomStream{3, 0, 0}.word(static_cast<std::uint64_t>(r)) % shape.vocabulary);
  const Tensor ids = bench.constants("ids", DType::Int32, Shape{rows}, values);
  const Shape token_shape{shape.vocabulary, shape.width}, position_shape{shape.positions, shape.width};
  const EmbeddingOps& ops = bench.backend().embedding();

  EmbeddingForward forward;
  forward.tokens = shape.tokens;
  forward.scale = shape.scale;
  forward.ids = ids;
  forward.token_table = bench.parameter("token_table", token_shape);
  if (shape.positions > 0) forward.position_table = bench.parameter("position_table", position_shape);
  forward.out = bench.output("out", Shape{rows, shape.width}, kRoundedOnce);
  ops.embedding_forward(bench.stream(), forward);

  EmbeddingBackward backward;
  backward.tokens = shape.tokens;
  backward.scale = shape.scale;
  backward.ids = ids;
  backward.dout = bench.input("dout", Shape{rows, shape.width});
  backward.dtoken_table = bench.accumulated("dtoken_table", token_shape, kMasterOnly);
  if (shape.positions > 0)
    backward.dposition_table = bench.accumulated("dposition_table", position_shape, kMasterOnly);
  backward.workspace = bench.workspace(ops.embedding_backward_workspace(backward));
  ops.embedding_backward(bench.stream(), backward);
}

class EmbeddingOp : public testing::TestWithParam<std::tuple<Target, EmbeddingCase>> {};

TEST_P(EmbeddingOp, MatchesReference) {
  const auto& [target, shape] = GetParam();
  expect_matches_reference(target, [&shape = shape](Bench& bench) { run_embedding(bench, shape); });
}
INSTANTIATE_TEST_SUITE_P(Backends, EmbeddingOp,
                         testing::Combine(testing::ValuesIn(targets()),
                                          testing::Values(EmbeddingCase{"one_row", 1, 1, 8, 2, 1, 1},
                                                          EmbeddingCase{"w257", 1, 5, 257, 3, 1, 0},
                                                          EmbeddingCase{"v2", 3, 17, 33, 2, 1, 20},
                                                          EmbeddingCase{"v257", 2, 65, 80, 257, 8.5, 65},
                                                          EmbeddingCase{"v1000", 1, 130, 65, 1000, 1, 0},
                                                          EmbeddingCase{"v257_wide", 4, 16, 128, 257, 2, 0},
                                                          EmbeddingCase{"v300_frequent", 9, 97, 130, 300, 3,
                                                                        97, true})),
                         case_name<EmbeddingCase>);

class EmbeddingOrder : public testing::TestWithParam<Target> {};
INSTANTIATE_TEST_SUITE_P(Backends, EmbeddingOrder, testing::ValuesIn(targets()),
                         testing::PrintToStringParamName());

// One id alone, runs of ids that just fill or just exceed what is worked on at once, and strides: the same
// bits in every run.
TEST_P(EmbeddingOrder, RunsOfEqualIds) {
  const auto run = [](Bench& bench) {
    const EmbeddingOps& ops = bench.backend().embedding();
    const auto backward = [&](const std::string& name, std::int64_t cols, const std::vector<double>& ids) {
      const auto rows = static_cast<std::int64_t>(ids.size());
      EmbeddingBackward arguments;
      arguments.tokens = rows;
      arguments.ids = bench.constants("ids" + name, DType::Int32, Shape{rows}, ids);
      arguments.dout = bench.input("dout" + name, Shape{rows, cols + 8}).columns(4, cols);
      arguments.dtoken_table = bench.accumulated("table" + name, Shape{5, cols}, kMasterOnly);
      arguments.workspace = bench.workspace(ops.embedding_backward_workspace(arguments));
      ops.embedding_backward(bench.stream(), arguments);
    };
    backward("of_one", 12, std::vector<double>(200, 3));
    std::vector<double> runs;  // scattered over the rows, but of these lengths when sorted
    for (const auto& [id, length] : {std::pair{0, 32}, {1, 33}, {2, 64}, {4, 31}})
      for (int k = 0; k < length; ++k) runs.push_back(id);
    std::vector<double> scattered;
    for (std::size_t k = 0; k < runs.size(); ++k) scattered.push_back(runs[k * 37 % runs.size()]);
    backward("of_runs", 13, scattered);
    backward("of_wide_runs", 1100, scattered);
  };
  expect_matches_reference(GetParam(), run);
  expect_same_for_any_threads(GetParam(), run);
}

// What a device cannot refuse must be seen, and must touch nothing else.
TEST(EmbeddingIds, OutsideTheVocabularyAreSeen) {
  for (const Target& target : targets()) {
    if (target.backend != "cuda" && target.backend != "cuda-emulated") continue;
    Bench bench(shared_backend(target.backend), target.dtype, target.dtype);
    const EmbeddingOps& ops = bench.backend().embedding();
    const Tensor ids = bench.constants("ids", DType::Int32, Shape{4}, {-1, 1, 2, 1 << 30});
    EmbeddingForward forward;
    forward.tokens = 4;
    forward.ids = ids, forward.token_table = bench.parameter("table", Shape{2, 8});
    forward.out = bench.output("out", Shape{4, 8});
    ops.embedding_forward(bench.stream(), forward);
    const std::vector<double> out = bench.read(forward.out);
    for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i / 8 != 1) << i;
    EmbeddingBackward backward;
    backward.tokens = 4;
    backward.ids = ids, backward.dout = bench.input("dout", Shape{4, 8});
    backward.dtoken_table = bench.accumulated("dtable", Shape{2, 8});
    backward.workspace = bench.workspace(ops.embedding_backward_workspace(backward));
    const std::vector<double> before = bench.read(backward.dtoken_table), dout = bench.read(backward.dout);
    ops.embedding_backward(bench.stream(), backward);
    const std::vector<double> after = bench.read(backward.dtoken_table);
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(after[i], before[i]);
      EXPECT_NEAR(after[8 + i], before[8 + i] + dout[8 + i], 1e-6);
    }
    bench.finish();
  }
}

}  // namespace
}  // namespace plumb::test
