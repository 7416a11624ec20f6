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
                                                          EmbeddingCase{"v2", 3, 17, 33, 2, 1, 20},
                                                          EmbeddingCase{"v257", 2, 65, 80, 257, 8.5, 65},
                                                          EmbeddingCase{"v1000", 1, 130, 65, 1000, 1, 0},
                                                          EmbeddingCase{"v257_wide", 4, 16, 128, 257, 2, 0},
                                                          EmbeddingCase{"v300_frequent", 9, 97, 130, 300, 3,
                                                                        97, true})),
                         case_name<EmbeddingCase>);

}  // namespace
}  // namespace plumb::test
