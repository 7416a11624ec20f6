// Wrong arguments to the reference backend: the message names the op, the tensor and what would be right.
#include <gmock/gmock.h>

#include "backend/host_tensors.h"

namespace plumb::test {
namespace {

TEST(ReferenceArguments, WrongOnesAreNamed) {
  Backend& backend = shared_backend("reference");
  const auto stream = backend.create_stream();
  HostTensors tensors;
  const auto message = [&](const std::function<void()>& action) -> std::string {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  const Tensor x = tensors.zeros(Shape{2, 3}), y = tensors.zeros(Shape{2, 4});
  const auto linear = [&](const Tensor& in, const Tensor& weight, const Tensor& out) {
    return message([&] { backend.linear().linear_forward(*stream, {in, weight, Tensor(), out, {}}); });
  };
  using testing::HasSubstr;
  EXPECT_THAT(linear(x, tensors.zeros(Shape{4, 2}), y),
              HasSubstr("linear_forward: weight is fp64 (4,2), expected fp64 with 4 rows of 3"));
  EXPECT_THAT(linear(Tensor(), x, y), HasSubstr("linear_forward: x is empty"));
  Tensor narrow = x;
  narrow.dtype = DType::BFloat16;
  EXPECT_THAT(linear(narrow, x, y), HasSubstr("computes in fp64 and fp32, not in bf16"));
  AttentionForward attention;
  attention.shape.tokens = 2, attention.shape.width = 3;
  attention.q = attention.k = attention.v = attention.out = x;
  attention.log_sum_exp = tensors.zeros(Shape{1, 1, 2});
  EXPECT_THAT(message([&] { backend.attention().attention_forward(*stream, attention); }),
              HasSubstr("attention_forward: the workspace has 0 bytes, needs 16"));
  EXPECT_THAT(message([&] {
                backend.embedding().embedding_forward(
                    *stream, {1, 1, tensors.integers({0, 2}), x, Tensor(), tensors.zeros(Shape{2, 3})});
              }),
              HasSubstr("id 2 at row 1 is not in [0, 2)"));
}

}  // namespace
}  // namespace plumb::test
