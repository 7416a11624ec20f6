// Every placement row against the identities that it names (docs/design/placements.md, "What proves a row"),
// at every sublayer, in float64 on the reference backend: I1 to I4. I8 is in row_bound_test.cpp, I5 and I6
// are in placement_identity_test.cpp, I11 in identity_test.cpp, I7 and I9 in
// tests/backend/closed_form_test.cpp.
#include "nn/row_identity.h"

#include <gmock/gmock.h>

#include <map>
#include <memory>

#include "core/error.h"

namespace plumb::test {
namespace {

double inner(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// Streams of all levels, each by itself.
void expect_same_streams(TinyModel& one, TinyModel& other) {
  for (std::int64_t k = 0; k <= one.engine().model().sublayers(); ++k) {
    const auto x = one.stream(k);
    EXPECT_LT(distance(other.stream(k), x), 1e-10 * norm_of(x)) << "stream " << k;
  }
}

/// Each gradient of `other` times its factors, one for all or one per row of the tensor, is that of `one`. A
/// tensor without an entry has the factor 1; one with an empty entry is not compared.
void expect_same_gradients(TinyModel& one, TinyModel& other,
                           const std::map<std::string, std::vector<double>>& factors) {
  for (const Parameter* parameter : one.engine().parameters().trainable()) {
    const auto expected = TinyModel::gradient(*parameter);
    auto gradient = TinyModel::gradient(other.parameter(parameter->name));
    if (const auto found = factors.find(parameter->name); found != factors.end()) {
      const auto& rows = found->second;
      if (rows.empty()) continue;
      for (std::size_t i = 0; i < gradient.size(); ++i)
        gradient[i] *= rows[i * rows.size() / gradient.size()];
    }
    EXPECT_LT(distance(gradient, expected), 1e-9 * (norm_of(expected) + 1e-3)) << parameter->name;
  }
}

struct RowI1 : testing::TestWithParam<std::string> {};

// N_post(a x + b z) = N_post(k a x + k b z) at eps 0, in every N_post at once; gradients of everything else
// stay, those of trained coefficients are divided by k.
TEST_P(RowI1, CommonFactorOfSkipAndStepVanishesInPostNorm) {
  constexpr double k = 2.5;
  ModelConfig config = row_config(GetParam());
  change(config, "norm.post.epsilon", "0.0");
  const std::vector<Place> places = places_of(config);
  std::map<std::string, std::vector<double>> factors;
  const auto with_scaled = [&](const std::string& knobs) {
    ModelConfig scaled = config;
    std::vector<std::string> trained;
    for (const Place& place : places) {
      if (!place.has_post) continue;
      for (const char knob : knobs) {
        const KnobConfig& now = knob_of(place, knob);
        expect_plain(now);
        EXPECT_FALSE(now.per_block);
        if (is_trained(now)) {
          trained.push_back(knob_name(place, knob));
        } else {
          change(scaled, fmt::format("residual.{}.value", knob), number(k * now.value), &place);
        }
      }
    }
    auto model = std::make_unique<TinyModel>(scaled);
    for (const std::string& name : trained) {
      scale(model->parameter(name), k);
      factors[name] = {k};
    }
    return model;
  };
  ASSERT_TRUE(std::any_of(places.begin(), places.end(), [](const Place& place) { return place.has_post; }));
  TinyModel plain(config);
  const double loss = plain.forward_backward();
  const auto both = with_scaled("abe");
  EXPECT_NEAR(both->forward_backward(), loss, 1e-12);
  expect_same_streams(plain, *both);
  expect_same_gradients(plain, *both, factors);
  EXPECT_GT(std::abs(with_scaled("b")->forward() - loss), 1e-5) << "one coefficient alone must count";
}

struct RowI2 : testing::TestWithParam<std::string> {};

// Under N_out (eps 0) the last matrix and its bias may be scaled by k: their gradients are divided by it, and
// are orthogonal to them; all else stays.
TEST_P(RowI2, OutputNormMakesEveryBranchScaleInvariant) {
  constexpr double k = 3.7;
  ModelConfig config = row_config(GetParam());
  change(config, "norm.out.epsilon", "0.0");
  TinyModel plain(config);
  const double loss = plain.forward_backward();
  int checked = 0;
  for (const Place& place : places_of(config)) {
    if (!place.has_out) continue;
    SCOPED_TRACE(place.name);
    ++checked;
    TinyModel scaled(config);
    std::map<std::string, std::vector<double>> factors;
    for (const Parameter* parameter : last_matrix(scaled, place)) {
      scale(*parameter, k);
      factors[parameter->name] = {k};
    }
    EXPECT_NEAR(scaled.forward_backward(), loss, 1e-12);
    expect_same_streams(plain, scaled);
    expect_same_gradients(plain, scaled, factors);
    double radial = 0, length = 0;
    for (const Parameter* parameter : last_matrix(plain, place)) {
      const auto gradient = TinyModel::gradient(*parameter);
      radial += inner(gradient, values_of(*parameter));
      length += norm_of(gradient);
    }
    ASSERT_GT(length, 1e-5);
    EXPECT_NEAR(radial, 0, 1e-11 * length);
  }
  EXPECT_GT(checked, 0);
}

struct RowI3 : testing::TestWithParam<std::string> {};

/// b = 0 everywhere: the trained parameter where there is one, else the value.
std::unique_ptr<TinyModel> at_zero_step(ModelConfig config, std::int64_t batch) {
  for (const Place& place : places_of(config)) {
    expect_plain(knob_of(place, 'b'));
    if (!is_trained(knob_of(place, 'b'))) change(config, "residual.b.value", "0.0", &place);
  }
  auto model = std::make_unique<TinyModel>(config, batch);
  for (const Place& place : places_of(config)) {
    if (is_trained(knob_of(place, 'b'))) fill(model->parameter(knob_name(place, 'b')), 0);
  }
  return model;
}

/// One pass; the sums of (dL/dx_k)^2, k = 0..K.
std::vector<double> probe_gradient_squares(TinyModel& model) {
  std::vector<double> squares(static_cast<std::size_t>(model.engine().model().sublayers()) + 1);
  auto& probes = model.probes().stream_gradient;
  for (double& square : squares)
    probes.push_back({.square = Tensor(&square, DType::Float64, {1}), .largest_row_square = {}});
  model.forward_backward();
  probes.clear();
  return squares;
}

// b = 0: the model is its embedding and its head; the stream's gradient passes unchanged and nothing in the
// blocks but b has one.
TEST_P(RowI3, ZeroStepIsTheIdentity) {
  const auto model = at_zero_step(row_config(GetParam()), 2);
  const std::vector<double> squares = probe_gradient_squares(*model);
  for (std::int64_t k = 1; k <= model->engine().model().sublayers(); ++k) {
    EXPECT_EQ(distance(model->stream(0), model->stream(k)), 0) << "stream " << k;
  }
  ASSERT_GT(squares.back(), 0);
  for (double square : squares) EXPECT_DOUBLE_EQ(square, squares.back());
  for (const Parameter* parameter : model->engine().parameters().trainable()) {
    if (!parameter->name.starts_with("blocks.") || parameter->name.ends_with(".b")) continue;
    EXPECT_EQ(norm_of(TinyModel::gradient(*parameter)), 0) << parameter->name;
  }
}

// b = 0: dL/db = <z, dL/dx'>, feature by feature for a vector, summed over the sublayers that share it. With
// one sequence, no norm on the embedding and learned positions, dL/dx' is the gradient of the positions.
TEST_P(RowI3, GradientOfTheZeroStepIsTheBranchAgainstTheStreamsGradient) {
  ModelConfig config = row_config(GetParam());
  for (const Place& place : places_of(config)) {
    if (!is_trained(knob_of(place, 'b'))) change(config, "residual.b.trainable", "'scalar'", &place);
  }
  ASSERT_EQ(config.position, "learned");
  ASSERT_EQ(config.embedding_norm.kind, "none");
  const auto model = at_zero_step(config, 1);
  const std::vector<Place> places = places_of(config);
  const double top = probe_gradient_squares(*model).back();
  const auto dx = TinyModel::gradient(model->parameter("embedding.position"));
  ASSERT_NEAR(inner(dx, dx), top, 1e-12 * top);
  std::map<std::string, std::vector<double>> expected;
  const Context context = model->engine().context(&model->probes(), false);
  for (std::size_t k = 0; k < places.size(); ++k) {
    const std::string name = knob_name(places[k], 'b');
    const auto entries = static_cast<std::size_t>(model->parameter(name).shape.elements());
    auto& sum = expected[name];
    sum.resize(entries);
    const Tensor z = model->engine().model().sublayer(static_cast<std::int64_t>(k)).branch_output(context);
    for (std::size_t i = 0; i < dx.size(); ++i) sum[i % entries] += dx[i] * z.as<double>()[i];
  }
  for (const auto& [name, gradient] : expected) {
    ASSERT_GT(norm_of(gradient), 1e-5) << name;
    EXPECT_LT(distance(TinyModel::gradient(model->parameter(name)), gradient), 1e-12) << name;
  }
}

struct RowI4 : testing::TestWithParam<std::string> {};

// Without N_out, b F is F with the last matrix and its bias scaled by b (row i by b_i for a vector): streams
// and upstream gradients are the same, the matrix' own has the factor b. Another b at every sublayer.
TEST_P(RowI4, StepIsAFactorOfTheLastMatrix) {
  ModelConfig stepped_config = row_config(GetParam()), scaled_config = stepped_config;
  const std::vector<Place> places = places_of(stepped_config);
  double next = 0.3;
  for (const Place& place : places) {
    ASSERT_FALSE(place.has_out);
    const KnobConfig& b = knob_of(place, 'b');
    expect_plain(b);
    ASSERT_FALSE(b.per_block);
    if (is_trained(b)) continue;
    ASSERT_EQ(b.depth, "constant");
    ASSERT_EQ(b.width_exponent, 0);
    change(stepped_config, "residual.b.value", number(next += 0.1), &place);
    change(scaled_config, "residual.b.value", "1.0", &place);
  }
  TinyModel stepped(stepped_config), scaled(scaled_config);
  copy_weights(stepped, scaled);
  std::map<std::string, std::vector<double>> factors;
  const auto width = static_cast<std::size_t>(stepped_config.width);
  for (const Place& place : places) {
    std::vector<double> b(width, resolved_sublayer(stepped_config, place.block, place.kind).residual.b.value);
    if (is_trained(knob_of(place, 'b'))) {
      const Parameter& own = stepped.parameter(knob_name(place, 'b'));
      const auto values = values_of(own);
      for (std::size_t i = 0; i < width; ++i) b[i] = values[i % values.size()];
      fill(scaled.parameter(own.name), 1);
    }
    for (const Parameter* parameter : last_matrix(scaled, place)) {
      const auto count = static_cast<std::size_t>(parameter->shape.elements());
      for (std::size_t i = 0; i < count; ++i) TinyModel::value(*parameter)[i] *= b[i * width / count];
      factors[parameter->name] = b;
    }
  }
  EXPECT_NEAR(scaled.forward_backward(), stepped.forward_backward(), 1e-12);
  expect_same_streams(stepped, scaled);
  for (const Place& place : places) {  // <b, dL/db> = <W, dL/dW> + <bias, dL/dbias> of the scaled model
    if (!is_trained(knob_of(place, 'b'))) continue;
    const Parameter& b = stepped.parameter(knob_name(place, 'b'));
    double expected = 0;
    for (const Parameter* parameter : last_matrix(scaled, place)) {
      expected += inner(TinyModel::gradient(*parameter), values_of(*parameter));
    }
    ASSERT_GT(std::abs(expected), 1e-9);
    EXPECT_NEAR(inner(TinyModel::gradient(b), values_of(b)), expected, 1e-11);
    factors[b.name] = {};
  }
  expect_same_gradients(stepped, scaled, factors);
}

INSTANTIATE_TEST_SUITE_P(Rows, RowI1, testing::ValuesIn(rows_naming("I1")), row_test_name);
INSTANTIATE_TEST_SUITE_P(Rows, RowI2, testing::ValuesIn(rows_naming("I2")), row_test_name);
INSTANTIATE_TEST_SUITE_P(Rows, RowI3, testing::ValuesIn(rows_naming("I3")), row_test_name);
INSTANTIATE_TEST_SUITE_P(Rows, RowI4, testing::ValuesIn(rows_naming("I4")), row_test_name);

TEST(RowIdentity, NamesAreWholeWords) {
  EXPECT_EQ(identities_of({.identities = "I1, I11"}), (std::set<std::string>{"I1", "I11"}));
  EXPECT_EQ(identities_of({.identities = "I11"}), (std::set<std::string>{"I11"}));
  EXPECT_EQ(identities_of({.identities = ""}), (std::set<std::string>{}));
}

// What no suite above runs for every row that names it is tested by hand, for these.
TEST(RowIdentity, OtherRowsNameNothingThatIsNotTestedForThem) {
  const std::map<std::string, std::vector<std::string>> by_hand = {
      {"I5", {"layernorm-scaling"}},
      {"I6", {"mix-ln", "hybridnorm", "hybridnorm-star"}},
      {"I9", {"post"}},
      {"I11", {"pre", "peri"}}};
  const std::set<std::string> here = {"I1", "I2", "I3", "I4", "I8"};
  for (const std::string& identity : here) EXPECT_FALSE(rows_naming(identity).empty()) << identity;
  for (const Placement& row : placements()) {
    for (const std::string& identity : identities_of(row)) {
      if (here.contains(identity)) continue;
      ASSERT_TRUE(by_hand.contains(identity)) << row.name << " names " << identity;
      EXPECT_THAT(by_hand.at(identity), testing::Contains(row.name)) << identity;
    }
  }
}

}  // namespace
}  // namespace plumb::test
