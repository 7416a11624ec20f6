// Attention where compute.attention = "library": what the vendor's library is handed, and what is refused.
#include <gmock/gmock.h>

#include <map>

#include "backend/loader.h"
#include "backend/op_test.h"
#include "core/error.h"

namespace plumb::test {
namespace {

struct LibraryCase {
  std::string name;
  std::int64_t batch, tokens, heads, width;
  bool causal = true, packed = true;
};
void PrintTo(const LibraryCase& shape, std::ostream* out) { *out << shape.name; }

/// Backends that choose, in the dtypes that a library takes.
std::vector<Target> library_targets() {
  std::vector<Target> list;
  for (const Target& target : targets()) {
    const bool narrow = target.dtype == DType::BFloat16 || target.dtype == DType::Float16;
    if (narrow && chooses_attention(target.backend)) list.push_back(target);
  }
  return list;
}

Backend& library_backend(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Backend>> backends;
  auto& backend = backends[name];
  BackendOptions options;
  options.attention = AttentionChoice::Library;
  if (!backend) backend = make_backend(name, options);
  return *backend;
}

AttentionShape shape_of(const LibraryCase& one) {
  AttentionShape shape;
  shape.batch = one.batch;
  shape.tokens = one.tokens;
  shape.heads = one.heads;
  shape.width = one.width;
  shape.causal = one.causal;
  shape.scale = 1 / std::sqrt(static_cast<double>(one.width));
  return shape;
}

void run(Bench& bench, const LibraryCase& one) {
  const std::int64_t rows = one.batch * one.tokens, cols = one.heads * one.width;
  const AttentionOps& ops = bench.backend().attention();
  AttentionForward forward;
  forward.shape = shape_of(one);
  if (one.packed) {
    const Tensor qkv = bench.input("qkv", Shape{rows, 3 * cols}, {0, 1.2});
    forward.q = qkv.columns(0, cols), forward.k = qkv.columns(cols, cols);
    forward.v = qkv.columns(2 * cols, cols);
  } else {
    forward.q = bench.input("q", Shape{rows, cols}, {0, 1.5});
    forward.k = bench.input("k", Shape{rows, cols});
    forward.v = bench.input("v", Shape{rows, cols}, {0.5, 1});
  }
  forward.out = bench.output("out", Shape{rows, cols}, {1e-12, 5e-6, 1e-2});
  forward.log_sum_exp =
      bench.master_output("log_sum_exp", Shape{one.batch, one.heads, one.tokens}, {1e-12, 2e-6, 5e-3});
  forward.workspace = bench.workspace(ops.attention_forward_workspace(forward));
  ops.attention_forward(bench.stream(), forward);

  AttentionBackward backward;
  backward.shape = forward.shape;
  backward.q = forward.q, backward.k = forward.k, backward.v = forward.v;
  backward.out = forward.out, backward.log_sum_exp = forward.log_sum_exp;
  backward.dout = bench.input("dout", Shape{rows, cols});
  const Tensor gradients = bench.output("dqkv", Shape{rows, 3 * cols});
  backward.dq = gradients.columns(0, cols), backward.dk = gradients.columns(cols, cols);
  backward.dv = gradients.columns(2 * cols, cols);
  backward.workspace = bench.workspace(ops.attention_backward_workspace(backward));
  ops.attention_backward(bench.stream(), backward);
}

class AttentionLibraryOp : public testing::TestWithParam<std::tuple<Target, LibraryCase>> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(AttentionLibraryOp);

TEST_P(AttentionLibraryOp, MatchesReference) {
  const auto& [target, one] = GetParam();
  Bench oracle(shared_backend("reference"), DType::Float64, target.dtype);
  run(oracle, one);
  Bench tested(library_backend(target.backend), target.dtype, target.dtype);
  run(tested, one);
  const auto expected = oracle.finish(), results = tested.finish();
  ASSERT_EQ(results.size(), expected.size());
  for (std::size_t n = 0; n < results.size(); ++n) {
    EXPECT_LE(relative_error(results[n].values, expected[n].values), results[n].limits.of(target.dtype))
        << results[n].name;
  }
}
INSTANTIATE_TEST_SUITE_P(
    Backends, AttentionLibraryOp,
    testing::Combine(testing::ValuesIn(library_targets()),
                     testing::Values(LibraryCase{"t2_h1_d8", 1, 2, 1, 8},
                                     LibraryCase{"t17_h3_d16_full", 2, 17, 3, 16, false},
                                     LibraryCase{"t65_h2_d80", 1, 65, 2, 80, true, false},
                                     LibraryCase{"t130_h3_d64", 2, 130, 3, 64},
                                     LibraryCase{"t130_h1_d64_full", 1, 130, 1, 64, false, false})),
    case_name<LibraryCase>);

class AttentionLibraryRefuses : public testing::TestWithParam<Target> {
 protected:
  /// What the error says; empty when there is none.
  std::string error_of(const AttentionForward& forward) {
    try {
      library_backend(GetParam().backend).attention().attention_forward_workspace(forward);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  AttentionForward planned(std::int64_t tokens, std::int64_t width, std::int64_t stride) {
    AttentionForward forward;
    forward.shape = shape_of({"", 1, tokens, 1, width});
    forward.q = Tensor(nullptr, GetParam().dtype, {tokens, width});
    forward.q.row_stride = stride;
    forward.k = forward.v = forward.out = forward.q;
    forward.log_sum_exp = Tensor(nullptr, DType::Float32, {1, 1, tokens});
    return forward;
  }
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(AttentionLibraryRefuses);
INSTANTIATE_TEST_SUITE_P(Backends, AttentionLibraryRefuses, testing::ValuesIn(library_targets()),
                         [](const auto& info) { return testing::PrintToString(info.param); });

TEST_P(AttentionLibraryRefuses, WithTheKeyAndTheReason) {
  using ::testing::AllOf;
  using ::testing::HasSubstr;
  const auto says = [](const char* reason) {
    return AllOf(HasSubstr("compute.attention = \"library\""), HasSubstr(reason));
  };
  EXPECT_EQ(error_of(planned(16, 64, 64)), "");
  EXPECT_THAT(error_of(planned(1, 64, 64)), says("one token"));
  EXPECT_THAT(error_of(planned(16, 33, 40)), says("no multiple of 8"));
  EXPECT_THAT(error_of(planned(16, 64, 68)), says("not aligned"));
  AttentionForward capped = planned(16, 64, 64), dropped = capped, misplaced = capped;
  capped.shape.soft_cap = 30;
  EXPECT_THAT(error_of(capped), says("soft cap"));
  dropped.shape.dropout = 0.1;
  EXPECT_THAT(error_of(dropped), says("random"));
  alignas(16) static char memory[32];
  misplaced.v.data = memory + 2;
  EXPECT_THAT(error_of(misplaced), says("multiple of 16 bytes"));
}

TEST(AttentionChoiceOfHosts, IsAutoAlone) {
  for (const char* name : {"cpu", "reference"}) {
    for (const AttentionChoice choice : {AttentionChoice::Own, AttentionChoice::Library}) {
      BackendOptions options;
      options.attention = choice;
      try {
        make_backend(name, options);
        FAIL() << "no error";
      } catch (const InputError& error) {
        EXPECT_THAT(error.what(), testing::StartsWith("compute.attention = \""));
        EXPECT_THAT(error.what(), testing::HasSubstr(name));
      }
    }
    EXPECT_FALSE(chooses_attention(name));
  }
  EXPECT_TRUE(chooses_attention("cuda"));
}

}  // namespace
}  // namespace plumb::test
