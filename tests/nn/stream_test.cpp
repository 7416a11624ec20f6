// Stream adapters: their forward passes against plain loops, and mixed streams at their start against the pre
// placement.
#include <gmock/gmock.h>

#include "nn/tiny_model.h"

namespace plumb::test {
namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

constexpr std::size_t kWidth = 12;

ModelConfig linear_config(const std::string& streams) {
  ModelConfig config = tiny_config();
  config.block = {"linear", "linear"};
  config.streams.kind = streams;
  config.streams.count = 3;
  return config;
}

/// The rows [first, first + count) of a flat (.., columns) array.
Rows rows_of(const std::vector<double>& flat, std::size_t columns) {
  Rows rows;
  for (std::size_t at = 0; at < flat.size(); at += columns) {
    rows.emplace_back(flat.begin() + static_cast<std::ptrdiff_t>(at),
                      flat.begin() + static_cast<std::ptrdiff_t>(at + columns));
  }
  return rows;
}

Row vector_of(TinyModel& model, const std::string& name) {
  const Parameter& parameter = model.parameter(name);
  return {TinyModel::value(parameter), TinyModel::value(parameter) + parameter.shape.elements()};
}

/// W x + b; no bias where `bias` is empty.
Row affine(TinyModel& model, const std::string& weight, const std::string& bias, const Row& x) {
  const Rows w = rows_of(vector_of(model, weight), x.size());
  Row y = bias.empty() ? Row(w.size()) : vector_of(model, bias);
  for (std::size_t o = 0; o < w.size(); ++o) {
    for (std::size_t i = 0; i < x.size(); ++i) y[o] += w[o][i] * x[i];
  }
  return y;
}

/// Layer norm with the gain and bias of `name`, or RMS norm without either where `name` is empty; eps 1e-5.
Row normed(TinyModel& model, const std::string& name, const Row& x) {
  const double count = static_cast<double>(x.size());
  double mean = 0, square = 0;
  if (!name.empty()) {
    for (double v : x) mean += v / count;
  }
  for (double v : x) square += (v - mean) * (v - mean) / count;
  Row y;
  for (double v : x) y.push_back((v - mean) / std::sqrt(square + 1e-5));
  if (name.empty()) return y;
  const Row gain = vector_of(model, name + ".gain"), bias = vector_of(model, name + ".bias");
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = y[i] * gain[i] + bias[i];
  return y;
}

Row sum(const Row& a, const Row& b, double factor = 1) {
  Row y = a;
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += factor * b[i];
  return y;
}

/// What the final norm, or the head, reads.
Rows head_input(TinyModel& model) {
  const Tensor x = model.engine().model().head_input(model.engine().context(&model.probes(), false));
  return rows_of({x.as<double>(), x.as<double>() + x.elements()}, kWidth);
}

void expect_rows_near(const Rows& measured, const Rows& expected, const std::string& what) {
  ASSERT_EQ(measured.size(), expected.size()) << what;
  for (std::size_t row = 0; row < expected.size(); ++row) {
    EXPECT_THAT(measured[row], testing::Pointwise(testing::DoubleNear(1e-11), expected[row])) << what << row;
  }
}

class TwoStreams : public testing::TestWithParam<const char*> {};

// residual: h = X, X' = N_post(X + b F(h)), Y' = Y + b F(h), end X + N(Y); siamese: h = X + N_k(Y) as well.
TEST_P(TwoStreams, FollowTheirFormula) {
  const bool siamese = std::string(GetParam()) == "siamese";
  ModelConfig config = linear_config(GetParam());
  config.base.norm.post.kind = "layernorm";
  config.stream_norm.kind = "layernorm";
  config.base.residual.b.value = 0.8;
  if (siamese) config.base.norm.in.kind = config.final_norm.kind = "layernorm";
  TinyModel model(config);
  model.forward();

  const Rows start = rows_of(model.stream(0), kWidth);
  const std::size_t tokens = start.size() / 2;
  Rows x(start.begin(), start.begin() + static_cast<std::ptrdiff_t>(tokens)), y = x;
  expect_rows_near(Rows(start.begin() + static_cast<std::ptrdiff_t>(tokens), start.end()), y, "Y_0 ");
  for (std::int64_t k = 0; k < 4; ++k) {
    const std::string name = sublayer_name(config, k);
    for (std::size_t row = 0; row < tokens; ++row) {
      Row h = x[row];
      if (siamese) h = normed(model, name + ".norm_in", sum(h, normed(model, name + ".norm_stream", y[row])));
      const Row f = affine(model, name + ".matrix.weight", name + ".matrix.bias", h);
      x[row] = normed(model, name + ".norm_post", sum(x[row], f, 0.8));
      y[row] = sum(y[row], f, 0.8);
    }
    Rows both = x;
    both.insert(both.end(), y.begin(), y.end());
    expect_rows_near(rows_of(model.stream(k + 1), kWidth), both, name);
  }
  for (std::size_t row = 0; row < tokens; ++row) {
    x[row] = sum(x[row], normed(model, "stream_norm", y[row]));
    if (siamese) x[row] = normed(model, "final_norm", x[row]);
  }
  expect_rows_near(head_input(model), x, "end ");
}

INSTANTIATE_TEST_SUITE_P(Kinds, TwoStreams, testing::Values("residual", "siamese"),
                         [](const auto& info) { return std::string(info.param); });

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// n streams of one token, n + 2 weights for each: [ read, write, mix_1 .. mix_n ].
struct Weights {
  Row read, write;
  Rows mix;
};

Weights unpack(const Row& flat, std::size_t n) {
  Weights weights;
  for (const Row& row : rows_of(flat, n + 2)) {
    weights.read.push_back(row[0]);
    weights.write.push_back(row[1]);
    weights.mix.emplace_back(row.begin() + 2, row.end());
  }
  return weights;
}

/// base + s tanh(W N(X_i)) of every stream.
Weights hyper_weights(TinyModel& model, const std::string& name, const Rows& x) {
  Row flat = vector_of(model, name + ".streams.base");
  const Row scales = vector_of(model, name + ".streams.scales");
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Row raw =
        affine(model, name + ".streams.projection.weight", "", normed(model, name + ".norm_stream", x[i]));
    for (std::size_t j = 0; j < raw.size(); ++j) {
      flat[i * raw.size() + j] += scales[j == 1 ? 1 : 0] * std::tanh(raw[j]);
    }
  }
  return unpack(flat, x.size());
}

/// sigmoid, 2 sigmoid and Sinkhorn(exp) of base + s W RMS([X_1 .. X_n]).
Weights manifold_weights(TinyModel& model, const std::string& name, const Rows& x, int iterations) {
  Row flat = vector_of(model, name + ".streams.base"), all;
  const Row scales = vector_of(model, name + ".streams.scales");
  const std::size_t n = x.size();
  for (const Row& stream : x) all.insert(all.end(), stream.begin(), stream.end());
  const Row raw = affine(model, name + ".streams.projection.weight", "", normed(model, "", all));
  for (std::size_t i = 0; i < flat.size(); ++i)
    flat[i] += scales[std::min<std::size_t>(i % (n + 2), 2)] * raw[i];
  Weights weights = unpack(flat, n);
  for (double& read : weights.read) read = sigmoid(read);
  for (double& write : weights.write) write = 2 * sigmoid(write);
  for (Row& row : weights.mix) {
    for (double& entry : row) entry = std::exp(entry);
  }
  for (int iteration = 0; iteration < iterations; ++iteration) {
    for (std::size_t j = 0; j < n; ++j) {  // what new stream j is made of
      double total = 0;
      for (const Row& row : weights.mix) total += row[j];
      for (Row& row : weights.mix) row[j] /= total;
    }
    for (Row& row : weights.mix) {  // where old stream i goes
      double total = 0;
      for (double entry : row) total += entry;
      for (double& entry : row) entry /= total;
    }
  }
  return weights;
}

class MixedStreamKinds : public testing::TestWithParam<const char*> {};

// h = sum_i read_i X_i;  X'_j = sum_i mix_ij X_i + write_j b F(N(h));  end N(sum_i X_i).
TEST_P(MixedStreamKinds, FollowTheirFormula) {
  const std::string kind = GetParam();
  constexpr std::size_t n = 3;
  ModelConfig config = linear_config(kind == "mhc" ? "mhc" : "hyper");
  config.streams.dynamic = kind == "hyper_dynamic";
  config.streams.sinkhorn_iterations = 3;
  config.base.norm.in.kind = config.final_norm.kind = "layernorm";
  config.base.residual.b.value = 0.7;
  if (kind == "hyper_dynamic") config.stream_norm.kind = "layernorm";
  if (kind == "mhc") {
    config.stream_norm.kind = "rmsnorm";
    config.stream_norm.gain = false;
  }
  TinyModel model(config);
  for (const Parameter& parameter : model.engine().parameters().all()) {
    // Off 0.01, and off the far logits of -8.
    const bool scales = parameter.name.ends_with(".streams.scales");
    if (!scales && !parameter.name.ends_with(".streams.base")) continue;
    for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) {
      double& value = TinyModel::value(parameter)[i];
      value = scales ? 0.5 + 3 * value : std::max(value, -1.0) + 0.1 * static_cast<double>(i % 4);
    }
  }
  model.forward();

  const std::size_t tokens = 2 * static_cast<std::size_t>(config.sequence_length);
  Rows streams = rows_of(model.stream(0), kWidth);
  ASSERT_EQ(streams.size(), n * tokens);
  for (std::size_t row = 0; row < tokens; ++row)
    EXPECT_EQ(streams[n * row], streams[n * row + 2]) << "copies";
  for (std::int64_t k = 0; k < 4; ++k) {
    const std::string name = sublayer_name(config, k);
    for (std::size_t row = 0; row < tokens; ++row) {
      const Rows x(streams.begin() + static_cast<std::ptrdiff_t>(n * row),
                   streams.begin() + static_cast<std::ptrdiff_t>(n * (row + 1)));
      const Weights weights = kind == "mhc"             ? manifold_weights(model, name, x, 3)
                              : kind == "hyper_dynamic" ? hyper_weights(model, name, x)
                                                        : unpack(vector_of(model, name + ".streams.base"), n);
      Row h(kWidth);
      for (std::size_t i = 0; i < n; ++i) h = sum(h, x[i], weights.read[i]);
      const Row f =
          affine(model, name + ".matrix.weight", name + ".matrix.bias", normed(model, name + ".norm_in", h));
      for (std::size_t j = 0; j < n; ++j) {
        Row out(kWidth);
        for (std::size_t i = 0; i < n; ++i) out = sum(out, x[i], weights.mix[i][j]);
        streams[n * row + j] = sum(out, f, 0.7 * weights.write[j]);
      }
    }
    expect_rows_near(rows_of(model.stream(k + 1), kWidth), streams, name);
  }
  Rows end;
  for (std::size_t row = 0; row < tokens; ++row) {
    Row merged(kWidth);
    for (std::size_t i = 0; i < n; ++i) merged = sum(merged, streams[n * row + i]);
    end.push_back(normed(model, "final_norm", merged));
  }
  expect_rows_near(head_input(model), end, "end ");
}

// At the start all streams are the plain one, and their sum is n times it, which the final norm (eps 0) does
// not see: same loss and same gradients with the same weights.
TEST_P(MixedStreamKinds, StartAsThePrePlacement) {
  const std::string kind = GetParam();
  ModelConfig config = tiny_config();
  use_placement(config, "pre");
  config.final_norm.epsilon = 0;
  TinyModel plain(config);
  const double loss = plain.forward_backward();
  for (const std::int64_t count : {1, 2, 4}) {
    SCOPED_TRACE(count);
    config.streams = {
        .kind = kind == "mhc" ? "mhc" : "hyper", .count = count, .dynamic = kind == "hyper_dynamic"};
    TinyModel mixed(config);
    for (const Parameter& parameter : mixed.engine().parameters().all()) {
      const Parameter* same = plain.engine().parameters().find(parameter.name);
      const auto values =
          same != nullptr ? vector_of(plain, parameter.name) : draw_initial_values(parameter, 1);
      std::copy(values.begin(), values.end(), TinyModel::value(parameter));
    }
    // A single manifold stream reads sigmoid(8), which its input norm all but undoes.
    const double tolerance = kind == "mhc" && count == 1 ? 1e-6 : 1e-10;
    EXPECT_NEAR(mixed.forward_backward(), loss, tolerance);
    for (const Parameter* parameter : plain.engine().parameters().trainable()) {
      const auto expected = TinyModel::gradient(*parameter);
      EXPECT_LT(distance(TinyModel::gradient(mixed.parameter(parameter->name)), expected),
                10 * tolerance * (norm_of(expected) + 0.1))
          << parameter->name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, MixedStreamKinds, testing::Values("hyper_static", "hyper_dynamic", "mhc"),
                         [](const auto& info) { return std::string(info.param); });

// x' = x + F_1(N(x)) + F_2(N(x)) over a block of two, whatever stands between them.
TEST(ParallelSublayers, AllReadTheInputOfTheirBlock) {
  ModelConfig config = linear_config("single");
  config.base.norm.in.kind = "layernorm";
  config.base.branch_input = "block";
  TinyModel model(config);
  model.forward();
  for (std::int64_t k = 0; k < 4; ++k) {
    const std::string name = sublayer_name(config, k);
    Rows expected = rows_of(model.stream(k), kWidth);
    const Rows block = rows_of(model.stream(k - k % 2), kWidth);
    for (std::size_t row = 0; row < expected.size(); ++row) {
      const Row f = affine(model, name + ".matrix.weight", name + ".matrix.bias",
                           normed(model, name + ".norm_in", block[row]));
      expected[row] = sum(expected[row], f);
    }
    expect_rows_near(rows_of(model.stream(k + 1), kWidth), expected, name);
  }
}

}  // namespace
}  // namespace plumb::test
