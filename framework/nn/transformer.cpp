#include "nn/transformer.h"

#include <algorithm>

#include "nn/init.h"
#include "nn/random_sites.h"

namespace plumb {

std::string sublayer_name(const ModelConfig& config, std::int64_t sublayer) {
  const auto per_block = static_cast<std::int64_t>(config.block.size());
  const auto place = static_cast<std::ptrdiff_t>(sublayer % per_block);
  const std::string& kind = config.block[static_cast<std::size_t>(place)];
  const auto earlier = std::count(config.block.begin(), config.block.begin() + place, kind);
  return fmt::format("blocks.{}.{}{}", sublayer / per_block, kind,
                     earlier > 0 ? fmt::format("_{}", earlier) : "");
}

namespace {

std::vector<std::unique_ptr<Sublayer>> make_sublayers(const ModelConfig& config, const ModelShape& shape,
                                                      ParameterStore& store, StepValues& values) {
  const auto per_block = static_cast<std::int64_t>(config.block.size());
  const std::int64_t count = config.blocks * per_block;
  std::vector<std::unique_ptr<Sublayer>> list;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::string& kind = config.block[static_cast<std::size_t>(k % per_block)];
    const DepthPosition position{
        .sublayer = k, .sublayers = count, .block = k / per_block, .blocks = config.blocks};
    list.push_back(std::make_unique<Sublayer>(config, resolved_sublayer(config, position.block, kind), kind,
                                              sublayer_name(config, k), position, shape, store, values));
  }
  return list;
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, std::int64_t vocabulary, const ModelShape& shape,
                         ParameterStore& store)
    : config_(config),
      vocabulary_(vocabulary),
      shape_(shape),
      token_table_(
          store.declare({.name = "embedding.token",
                         .shape = {vocabulary, config.width},
                         .init = matrix_init(config.init, MatrixRole::TokenEmbedding, 0, 0, 1, false)})),
      position_table_(config.position != "learned"
                          ? nullptr
                          : store.declare({.name = "embedding.position",
                                           .shape = {config.sequence_length, config.width},
                                           .init = matrix_init(config.init, MatrixRole::PositionEmbedding, 0,
                                                               0, 1, false)})),
      embedding_norm_(config.embedding_norm, config.norm_kind, "embedding_norm", {.width = config.width},
                      shape, store),
      sublayers_(make_sublayers(config, shape, store, step_values_)),
      final_norm_(config.final_norm, config.norm_kind, "final_norm", {.width = config.width}, shape, store) {
  PLUMB_CHECK(shape.tokens <= config.sequence_length, "planned for {} tokens, the model has {} positions",
              shape.tokens, config.sequence_length);
  if (!config.tied_head) {
    head_weight_ = store.declare(
        {.name = "head.weight",
         .shape = {vocabulary, config.width},
         .init = matrix_init(config.init, MatrixRole::Head, config.width, vocabulary, 1, false)});
  }
  if (config.head_bias) {
    head_bias_ = store.declare({.name = "head.bias", .shape = {vocabulary}, .weight_decay = false});
  }
  head_parameters_ = final_norm_.parameters();
  if (head_weight_ != nullptr) head_parameters_.push_back(head_weight_);
  if (head_bias_ != nullptr) head_parameters_.push_back(head_bias_);
  embedding_parameters_ = {token_table_};
  if (position_table_ != nullptr) embedding_parameters_.push_back(position_table_);
  for (Parameter* parameter : embedding_norm_.parameters()) embedding_parameters_.push_back(parameter);
}

void Transformer::plan(Backend& backend, ArenaPlan& plan) {
  const std::int64_t rows = shape_.rows(), width = config_.width;
  const auto keep = [&](const std::string& name) {
    return plan.persistent(name, shape_.compute, {rows, width});
  };
  if (embedding_norm_.present()) raw_embedding_ = keep("embedding.raw");
  for (std::int64_t k = 0; k <= sublayers(); ++k) stream_.push_back(keep(fmt::format("stream.{}", k)));
  head_input_ = final_norm_.present() ? keep("head.input") : stream_.back();
  log_z_ = plan.persistent("head.log_z", shape_.master(), {rows});
  gradient_ = keep("stream.gradient");
  const bool block_skip =
      std::any_of(sublayers_.begin(), sublayers_.end(), [](const auto& s) { return s->has_block_skip(); });
  if (block_skip) block_gradient_ = keep("stream.block_gradient");

  embedding_norm_.plan(backend, plan);
  for (const auto& sublayer : sublayers_) sublayer->plan(backend, plan);
  final_norm_.plan(backend, plan);

  const Tensor row(nullptr, shape_.compute, {rows, width});
  const Tensor table(nullptr, shape_.master(), {vocabulary_, width});
  const Tensor ids(nullptr, DType::Int32, {rows});
  const Tensor log_z(nullptr, shape_.master(), {rows});
  const Tensor bias = head_bias_ != nullptr ? Tensor(nullptr, shape_.master(), {vocabulary_}) : Tensor();
  HeadLossForward forward;
  forward.soft_cap = config_.head_soft_cap;
  forward.h = row;
  forward.weight = Tensor(nullptr, shape_.compute, {vocabulary_, width});
  forward.bias = bias;
  forward.targets = ids;
  forward.log_z = log_z;
  plan.require_workspace(backend.head_loss().head_loss_forward_workspace(forward));
  HeadLossBackward backward;
  backward.soft_cap = config_.head_soft_cap;
  backward.h = backward.dh = row;
  backward.weight = forward.weight;
  backward.bias = backward.dbias = bias;
  backward.targets = ids;
  backward.log_z = log_z;
  backward.dweight = table;
  plan.require_workspace(backend.head_loss().head_loss_backward_workspace(backward));
  EmbeddingBackward embedding;
  embedding.tokens = shape_.tokens;
  embedding.ids = ids;
  embedding.dout = row;
  embedding.dtoken_table = table;
  if (position_table_ != nullptr) {
    embedding.dposition_table = Tensor(nullptr, shape_.master(), {config_.sequence_length, width});
  }
  plan.require_workspace(backend.embedding().embedding_backward_workspace(embedding));
  MomentsArguments moments;
  moments.x = row;
  moments.moments.scalars = Tensor(nullptr, DType::Float64, {kMomentScalars});
  moments.moments.column_sum = Tensor(nullptr, DType::Float64, {width});
  moments.moments.column_square = moments.moments.shift = moments.moments.column_sum;
  plan.require_workspace(backend.moments().moments_workspace(moments));
}

std::vector<Parameter*> Transformer::parameters() const {
  std::vector<Parameter*> list = embedding_parameters_;
  for (const auto& sublayer : sublayers_) {
    for (Parameter* parameter : sublayer->parameters()) list.push_back(parameter);
  }
  for (Parameter* parameter : head_parameters_) list.push_back(parameter);
  return list;
}

Tensor Transformer::stream(const Context& context, std::int64_t k) const {
  return context.tensor(stream_[static_cast<std::size_t>(k)]);
}

Tensor Transformer::head_input(const Context& context) const { return context.tensor(head_input_); }

Tensor Transformer::head_weight() const {
  return head_weight_ != nullptr ? head_weight_->compute : token_table_->compute;
}

Tensor Transformer::head_bias() const { return head_bias_ != nullptr ? head_bias_->value : Tensor(); }

void Transformer::embedding_dropout(const Context& context, const Tensor& x) const {
  if (config_.dropout_embedding == 0 || !context.training) return;
  context.backend.random().dropout(context.stream,
                                   {.probability = config_.dropout_embedding,
                                    .site = {context.seed, kEmbeddingDropoutSite, context.counters},
                                    .rows_per_sequence = shape_.tokens,
                                    .x = x,
                                    .y = x});
}

void Transformer::embed(const Context& context, const Tensor& ids) {
  const Tensor x0 = stream(context, 0);
  const Tensor raw = embedding_norm_.present() ? context.tensor(raw_embedding_) : x0;
  context.backend.embedding().embedding_forward(
      context.stream, {.tokens = shape_.tokens,
                       .scale = config_.embedding_scale,
                       .ids = ids,
                       .token_table = token_table_->value,
                       .position_table = position_table_ != nullptr ? position_table_->value : Tensor(),
                       .out = raw});
  if (embedding_norm_.present()) embedding_norm_.forward(context, raw, x0);
  embedding_dropout(context, x0);
  if (context.probes != nullptr && !context.probes->stream.empty()) {
    context.backend.moments().moments(
        context.stream, {.x = x0, .moments = context.probes->stream[0], .workspace = context.workspace()});
  }
}

void Transformer::forward(const Context& context, const Tensor& ids, const Tensor& targets) {
  embed(context, ids);
  Tensor x_block;
  for (std::int64_t k = 0; k < sublayers(); ++k) {
    const Tensor x = stream(context, k);
    if (starts_block(k)) x_block = x;
    sublayers_[static_cast<std::size_t>(k)]->forward(context, x, x_block, stream(context, k + 1));
  }
  if (final_norm_.present()) final_norm_.forward(context, stream(context, sublayers()), head_input(context));
  PLUMB_CHECK(context.probes != nullptr && context.probes->loss_sums.defined(),
              "a forward pass needs somewhere to put its loss");
  context.backend.head_loss().head_loss_forward(context.stream, {.z_loss = config_.z_loss,
                                                                 .soft_cap = config_.head_soft_cap,
                                                                 .h = head_input(context),
                                                                 .weight = head_weight(),
                                                                 .bias = head_bias(),
                                                                 .targets = targets,
                                                                 .log_z = context.tensor(log_z_),
                                                                 .sums = context.probes->loss_sums,
                                                                 .workspace = context.workspace()});
}

void Transformer::probe_stream_gradient(const Context& context, const Tensor& gradient,
                                        std::int64_t k) const {
  if (context.probes == nullptr || context.probes->stream_gradient_square.empty()) return;
  const Tensor list[] = {gradient};
  context.backend.elementwise().sum_of_squares(
      context.stream, list, context.probes->stream_gradient_square[static_cast<std::size_t>(k)], true);
}

void Transformer::backward(const Context& context, const Tensor& ids, const Tensor& targets,
                           double gradient_scale) {
  const Tensor gradient = context.tensor(gradient_);
  const Tensor block_gradient = context.tensor(block_gradient_);
  context.backend.head_loss().head_loss_backward(
      context.stream, {.z_loss = config_.z_loss,
                       .soft_cap = config_.head_soft_cap,
                       .gradient_scale = gradient_scale,
                       .h = head_input(context),
                       .weight = head_weight(),
                       .bias = head_bias(),
                       .targets = targets,
                       .log_z = context.tensor(log_z_),
                       .dh = gradient,
                       .dweight = head_weight_ != nullptr ? head_weight_->gradient : token_table_->gradient,
                       .dbias = head_bias_ != nullptr ? head_bias_->gradient : Tensor(),
                       .workspace = context.workspace()});
  if (final_norm_.present()) {
    final_norm_.backward(context, stream(context, sublayers()), gradient, gradient, false);
  }
  probe_stream_gradient(context, gradient, sublayers());
  announce_gradients(context, head_parameters_);

  const auto per_block = static_cast<std::int64_t>(config_.block.size());
  for (std::int64_t k = sublayers() - 1; k >= 0; --k) {
    if (block_gradient.defined() && starts_block(k + 1)) {
      context.backend.elementwise().fill(context.stream, block_gradient, 0);
    }
    const Tensor x_block = stream(context, block_of(k) * per_block);
    sublayers_[static_cast<std::size_t>(k)]->backward(context, stream(context, k), x_block, gradient,
                                                      block_gradient);
    if (block_gradient.defined() && starts_block(k)) {
      context.backend.elementwise().add(context.stream, block_gradient, gradient);
    }
    probe_stream_gradient(context, gradient, k);
  }
  embed_backward(context, ids, gradient);
}

void Transformer::embed_backward(const Context& context, const Tensor& ids, const Tensor& gradient) {
  embedding_dropout(context, gradient);
  if (embedding_norm_.present()) {
    embedding_norm_.backward(context, context.tensor(raw_embedding_), gradient, gradient, false);
  }
  context.backend.embedding().embedding_backward(
      context.stream, {.tokens = shape_.tokens,
                       .scale = config_.embedding_scale,
                       .ids = ids,
                       .dout = gradient,
                       .dtoken_table = token_table_->gradient,
                       .dposition_table = position_table_ != nullptr ? position_table_->gradient : Tensor(),
                       .workspace = context.workspace()});
  announce_gradients(context, embedding_parameters_);
}

}  // namespace plumb
