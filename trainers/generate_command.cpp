// plumb generate: text from a checkpoint, one token at a time over a sliding window.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "checkpointed_model.h"
#include "commands.h"
#include "core/error.h"
#include "core/rng.h"
#include "data/tokenizer.h"
#include "session.h"

namespace plumb {
namespace {

/// Logits of one position of the last forward pass, as float64 on the host, soft cap applied.
class LogitReader {
 public:
  explicit LogitReader(Engine& engine) : engine_(engine) {
    const Transformer& model = engine.model();
    row_ = engine.backend().allocate(static_cast<std::size_t>(model.vocabulary()) *
                                     size_of(model.shape().compute));
    wide_ = engine.backend().allocate(static_cast<std::size_t>(model.vocabulary()) *
                                      size_of(model.shape().master()));
    const LinearForward shape = arguments(Tensor(nullptr, model.shape().compute, {1, model.config().width}));
    workspace_ = engine.backend().allocate(engine.backend().linear().linear_forward_workspace(shape) + 64);
  }

  std::vector<double> read(std::int64_t position) {
    Backend& backend = engine_.backend();
    const Transformer& model = engine_.model();
    LinearForward product =
        arguments(model.head_input(engine_.context(nullptr, false)).row_range(position, 1));
    product.workspace = {workspace_.data(), workspace_.bytes()};
    backend.linear().linear_forward(engine_.stream(), product);
    const auto count = static_cast<std::size_t>(model.vocabulary());
    const DType master = model.shape().master();
    const Tensor wide(wide_.data(), master, product.y.shape);
    backend.elementwise().copy(engine_.stream(), product.y, wide);
    std::vector<double> logits(count);
    if (master == DType::Float64) {
      backend.download(engine_.stream(), wide.data, logits.data(), count * sizeof(double));
      engine_.stream().synchronize();
    } else {
      std::vector<float> narrow(count);
      backend.download(engine_.stream(), wide.data, narrow.data(), count * sizeof(float));
      engine_.stream().synchronize();
      std::copy(narrow.begin(), narrow.end(), logits.begin());
    }
    const double cap = model.config().head_soft_cap;
    if (cap > 0) {
      for (double& logit : logits) logit = cap * std::tanh(logit / cap);
    }
    return logits;
  }

 private:
  LinearForward arguments(const Tensor& x) const {
    const Transformer& model = engine_.model();
    LinearForward product;
    product.x = x;
    product.weight = model.head_weight(engine_.context(nullptr, false));
    product.bias = model.head_bias();
    product.y = Tensor(row_.data(), model.shape().compute, {1, model.vocabulary()});
    return product;
  }

  Engine& engine_;
  Buffer row_, wide_, workspace_;
};

/// Index drawn from softmax(logits / temperature) over the top_k largest (0 = all); temperature 0: the
/// largest.
std::size_t draw(const std::vector<double>& logits, double temperature, std::int64_t top_k, double uniform) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (temperature == 0) return order.front();
  if (top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(top_k)));
  std::vector<double> cumulative;
  double sum = 0;
  for (std::size_t index : order) {
    sum += std::exp((logits[index] - logits[order.front()]) / temperature);
    cumulative.push_back(sum);
  }
  const auto place =
      std::upper_bound(cumulative.begin(), cumulative.end(), uniform * sum) - cumulative.begin();
  return order[std::min(order.size() - 1, static_cast<std::size_t>(place))];
}

}  // namespace

int run_generate(const GenerateOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb generate")) return 2;
  CheckpointedModel loaded = load_checkpointed_model(options.checkpoint, options.device, options.dtype,
                                                     /*batch=*/1, session.default_thread_count());
  if (!loaded.config.model.causal)
    fail_input("{}: model.causal = false, so it cannot generate", options.checkpoint);
  if (loaded.config.data.kind != "tokens") {
    fail_input("{}: trained on data.kind = \"{}\", which is no text", options.checkpoint,
               loaded.config.data.kind);
  }
  const auto tokenizer = make_tokenizer(loaded.config.data.tokenizer);
  Engine& engine = *loaded.engine;
  const auto window = static_cast<std::size_t>(loaded.config.model.sequence_length);
  std::vector<std::int32_t> text;
  for (std::uint16_t token : tokenizer->encode(options.prompt)) text.push_back(token);
  if (text.empty()) fail_input("--prompt is empty: give at least one character");

  Buffer sums = engine.backend().allocate(kHeadLossSums * sizeof(double));
  Probes probes;
  probes.loss_sums = Tensor(sums.data(), DType::Float64, {kHeadLossSums});
  LogitReader reader(engine);
  const RandomStream random{options.seed, 0, 0};
  std::vector<std::int32_t> inputs(window), targets(window, -1);
  fmt::print("{}", options.prompt);
  for (std::int64_t n = 0; n < options.tokens; ++n) {
    const std::size_t used = std::min(window, text.size());
    std::fill(inputs.begin(), inputs.end(), 0);
    std::copy(text.end() - static_cast<std::ptrdiff_t>(used), text.end(), inputs.begin());
    engine.upload_batch(inputs, targets, 0);
    engine.forward(probes, /*training=*/false);
    const auto logits = reader.read(static_cast<std::int64_t>(used) - 1);
    if (!std::all_of(logits.begin(), logits.end(), [](double logit) { return std::isfinite(logit); }))
      fail_input("{}: the checkpoint's logits are not finite", loaded.path.string());
    const std::size_t next =
        draw(logits, options.temperature, options.top_k, random.uniform(static_cast<std::uint64_t>(n)));
    text.push_back(static_cast<std::int32_t>(next));
    const auto token = static_cast<std::uint16_t>(next);
    if (static_cast<int>(next) < tokenizer->vocabulary_size())
      fmt::print("{}", tokenizer->decode({&token, 1}));
    std::fflush(stdout);
  }
  fmt::print("\n");
  return 0;
}

}  // namespace plumb
