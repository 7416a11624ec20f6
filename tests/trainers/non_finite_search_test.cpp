// The first bad result of a pass; and that being looked at changes no bit of one.
#include "non_finite_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "backend/loader.h"
#include "comm/local_communicator.h"
#include "nn/tiny_model.h"

namespace plumb::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Writes down who wrote what.
class Notes final : public OpObserver {
 public:
  void wrote(Stream&, const char* op, const char* name, const Tensor&) override {
    lines.push_back((ranges.empty() ? "" : ranges.back() + " ") + op + "." + name);
  }
  void entered(const char* range) override { ranges.emplace_back(range); }
  void left() override { ranges.pop_back(); }
  std::vector<std::string> lines, ranges;
};

ModelConfig pre_norm() {
  ModelConfig config = tiny_config();
  use_placement(config, "pre");
  return config;
}

std::map<std::string, std::vector<double>> gradients(TinyModel& model) {
  std::map<std::string, std::vector<double>> all;
  model.forward_backward();
  for (const Parameter* parameter : model.engine().parameters().trainable()) {
    const double* first = parameter->gradient.as<double>();
    all[parameter->name].assign(first, first + parameter->shape.elements());
  }
  return all;
}

TEST(ObservedBackend, TellsOfEveryOpInOrderAndChangesNothing) {
  TinyModel model(pre_norm());
  const auto plain = gradients(model);
  Notes notes;
  ObservedBackend observed(model.engine().backend(), notes);
  EXPECT_EQ(model.engine().pass_through(&observed), nullptr);
  EXPECT_TRUE(gradients(model) == plain) << "every bit";
  EXPECT_EQ(model.engine().pass_through(nullptr), &observed);
  EXPECT_TRUE(notes.ranges.empty()) << "what was entered was left";

  const auto place = [&](const std::string& line) {
    const auto found = std::find(notes.lines.begin(), notes.lines.end(), line);
    EXPECT_NE(found, notes.lines.end()) << line << " is not among\n" << ::testing::PrintToString(notes.lines);
    return found - notes.lines.begin();
  };
  EXPECT_EQ(place("embedding_forward.out"), 0);
  const std::vector<std::string> order = {
      "blocks.0.attention norm_forward.y",        "blocks.0.attention linear_forward.y",
      "blocks.0.attention attention_forward.out", "blocks.0.attention residual_forward.out",
      "blocks.0.ffn activation_forward.h",        "blocks.1.ffn residual_forward.out",
      "head and loss head_loss_forward.log_z",    "head and loss head_loss_backward.dh",
      "blocks.1.ffn linear_backward_input.dx",    "blocks.1.ffn activation_backward.dpre",
      "blocks.0.attention attention_backward.dq", "embedding_backward.dtoken_table"};
  for (std::size_t i = 1; i < order.size(); ++i) EXPECT_LT(place(order[i - 1]), place(order[i])) << order[i];
}

TEST(ObservedBackend, PassesOnWhatOnlyADeviceHas) {
  if (!has_emulated_cuda()) GTEST_SKIP() << "this build has no emulated GPU";
  const auto inner = make_backend("cuda-emulated");
  Notes notes;
  ObservedBackend observed(*inner, notes);
  EXPECT_TRUE(observed.has_communicator());
  const Buffer buffer = observed.allocate_for_communication(1 << 20);
  EXPECT_GE(inner->memory_use().bytes, std::size_t{1} << 20);
  EXPECT_GE(observed.device_bytes_in_use(), std::size_t{1} << 20);
  const auto stream = observed.create_stream();
  LocalCommunicator alone("here");
  EXPECT_NE(observed.make_communicator(alone, *stream), nullptr);
  const Tensor tensor(buffer.data(), DType::Float32, {4});
  const auto recording = observed.record(*stream, [&] { inner->elementwise().fill(*stream, tensor, 3); });
  ASSERT_NE(recording, nullptr);
}

/// Spoils one entry of what an op writes in a part of the model.
class Spoiler final : public OpObserver {
 public:
  Spoiler(std::string part, std::string op, double value)
      : part_(std::move(part)), op_(std::move(op)), value_(value) {}
  void wrote(Stream&, const char* op, const char*, const Tensor& tensor) override {
    if (range_ == part_ && op_ == op) tensor.as<double>()[tensor.row_stride + 2] = value_;
  }
  void entered(const char* range) override { range_ = range; }
  void left() override { range_.clear(); }

 private:
  std::string part_, op_, range_;
  double value_;
};

TEST(NonFiniteSearch, NamesTheOpThatWroteTheFirstOne) {
  for (const auto& [part, op, tensor, pass] :
       std::vector<std::array<std::string, 4>>{{"blocks.1.ffn", "linear_forward", "y", "forward"},
                                               {"blocks.0.attention", "norm_forward", "y", "forward"},
                                               {"blocks.0.ffn", "linear_backward_input", "dx", "backward"},
                                               {"head and loss", "head_loss_backward", "dh", "backward"}}) {
    for (const double value : {kNaN, std::numeric_limits<double>::infinity()}) {
      SCOPED_TRACE(part + " " + op);
      TinyModel model(pre_norm());
      Spoiler spoiler(part, op, value);
      ObservedBackend spoiled(model.engine().backend(), spoiler);
      NonFiniteSearch search(model.engine().backend());
      ObservedBackend observed(spoiled, search);
      model.engine().pass_through(&observed);
      search.begin("forward");
      model.forward();
      if (!search.found()) {
        search.begin("backward");
        model.forward_backward();
      }
      ASSERT_TRUE(search.found());
      const BadTensor& found = *search.found();
      EXPECT_EQ(found.part, part);
      EXPECT_EQ(found.op, op);
      EXPECT_EQ(found.tensor, tensor);
      EXPECT_EQ(found.pass, pass);
      EXPECT_EQ(found.row, 1);
      EXPECT_EQ(found.column, 2);
      EXPECT_EQ(found.bad_entries, 1);
      EXPECT_EQ(std::isnan(found.value), std::isnan(value));
    }
  }
}

/// Spoils the sum of the loss as an op has left it: the model itself goes on unharmed.
class LossSpoiler final : public OpObserver {
 public:
  void wrote(Stream&, const char*, const char* name, const Tensor& tensor) override {
    if (std::string(name) == "sums")
      tensor.as<double>()[kHeadLossCrossEntropy] = std::numeric_limits<double>::infinity();
  }
  void entered(const char*) override {}
  void left() override {}
};

TEST(NonFiniteSearch, ASumOfTheLossAloneIsFound) {
  TinyModel model(pre_norm());
  LossSpoiler spoiler;
  ObservedBackend spoiled(model.engine().backend(), spoiler);
  NonFiniteSearch search(model.engine().backend());
  ObservedBackend observed(spoiled, search);
  model.engine().pass_through(&observed);
  search.begin("forward");
  model.forward_backward();
  ASSERT_TRUE(search.found());
  EXPECT_EQ(search.found()->op, "head_loss_forward");
  EXPECT_EQ(search.found()->tensor, "sums");
  EXPECT_EQ(search.found()->part, "head and loss");
  EXPECT_EQ(search.found()->column, kHeadLossCrossEntropy);
}

// A square weight of a model whose micro-batch has as many tokens as it has rows.
TEST(NonFiniteSearch, OnlyARowOfActivationsIsAToken) {
  const auto is_token = [](const std::string& op, const std::string& tensor, Shape shape) {
    BadTensor bad;
    bad.op = op;
    bad.tensor = tensor;
    bad.shape = shape;
    return has_row_per_token(bad, 12);
  };
  EXPECT_TRUE(is_token("linear_forward", "y", {12, 4}));
  EXPECT_TRUE(is_token("norm_backward", "dx", {12, 4}));
  EXPECT_TRUE(is_token("residual_forward", "out", {3, 4, 7}));
  EXPECT_FALSE(is_token("linear_forward", "y", {24, 4}));
  EXPECT_FALSE(is_token("linear_backward_weight", "dweight", {12, 12}));
  EXPECT_FALSE(is_token("embedding_backward", "dtoken_table", {12, 12}));
  EXPECT_FALSE(is_token("row_gain_forward", "y", {12, 12})) << "the head's weight, times its gains";
  EXPECT_FALSE(is_token("linear_backward_weight", "dbias", {12}));
}

TEST(NonFiniteSearch, WhatLiesOutsideOfSublayersHasANameToo) {
  for (const auto& [op, part] :
       std::vector<std::array<std::string, 2>>{{"embedding_forward", "embedding"},
                                               {"norm_forward", "final norm"},
                                               {"embedding_backward", "embedding"}}) {
    TinyModel model(pre_norm());
    Spoiler spoiler("", op, kNaN);
    ObservedBackend spoiled(model.engine().backend(), spoiler);
    NonFiniteSearch search(model.engine().backend());
    ObservedBackend observed(spoiled, search);
    model.engine().pass_through(&observed);
    search.begin("forward");
    model.forward();
    search.begin("backward");
    if (!search.found()) model.forward_backward();
    ASSERT_TRUE(search.found()) << op;
    EXPECT_EQ(search.found()->op, op);
    EXPECT_EQ(search.found()->part, part);
  }
}

TEST(NonFiniteSearch, FindsNothingInACleanPass) {
  TinyModel model(pre_norm());
  NonFiniteSearch search(model.engine().backend());
  ObservedBackend observed(model.engine().backend(), search);
  model.engine().pass_through(&observed);
  model.forward_backward();
  EXPECT_FALSE(search.found());
}

TEST(NonFiniteSearch, ColumnsOfWiderRowsAreLookedAtAlone) {
  const auto backend = make_backend("reference");
  const auto stream = backend->create_stream();
  std::vector<float> values(12, 1.0F);
  values[3] = values[7] = static_cast<float>(kNaN);  // the last column of three rows of four
  const Tensor whole(values.data(), DType::Float32, {3, 4});
  EXPECT_FALSE(find_bad_entries(*backend, *stream, whole.columns(0, 3)));
  const auto found = find_bad_entries(*backend, *stream, whole.columns(2, 2));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->row, 0);
  EXPECT_EQ(found->column, 1);
  EXPECT_EQ(found->bad_entries, 2);
  std::vector<bfloat16> halves(6, bfloat16(1.0F));
  halves[4] = bfloat16(std::numeric_limits<float>::infinity());
  EXPECT_EQ(find_bad_entries(*backend, *stream, Tensor(halves.data(), DType::BFloat16, {2, 3}))->column, 1);
}

}  // namespace
}  // namespace plumb::test
