#include "nn/transformer.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "nn/init.h"
#include "nn/observe.h"
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

MatrixSite table_site(const ModelConfig& config, MatrixRole role, std::int64_t rows) {
  return {.role = role,
          .in = config.width,
          .out = rows,
          .width = config.width,
          .position = {.sublayers = config.blocks * static_cast<std::int64_t>(config.block.size()),
                       .blocks = config.blocks}};
}

Parameter table(const ModelConfig& config, const std::string& name, MatrixRole role, std::int64_t rows) {
  const bool is_head = role == MatrixRole::Head;
  const bool on_sphere = config.sphere_weights && role != MatrixRole::PositionEmbedding;
  return {.name = name,
          .shape = {rows, config.width},
          .init = matrix_init(config, table_site(config, role, rows)),
          .role = is_head ? ParameterRole::Head : ParameterRole::Embedding,
          .sphere = on_sphere ? Sphere::Rows : Sphere::None};
}

/// Norms of the model itself, not of a sublayer.
NormExtent outer_extent(const ModelConfig& config) {
  return {.width = config.width, .role = ParameterRole::FinalVector};
}

}  // namespace

std::vector<std::unique_ptr<Sublayer>> Transformer::make_sublayers(ParameterStore& store) {
  const auto per_block = static_cast<std::int64_t>(config_.block.size());
  const std::int64_t count = config_.blocks * per_block;
  std::vector<std::unique_ptr<Sublayer>> list;
  Attention* first_attention = nullptr;
  for (std::int64_t k = 0; k < count; ++k) {
    const std::string& kind = config_.block[static_cast<std::size_t>(k % per_block)];
    const DepthPosition position{
        .sublayer = k, .sublayers = count, .block = k / per_block, .blocks = config_.blocks};
    const std::string name = sublayer_name(config_, k);
    streams_->declare_sublayer(name, position);
    list.push_back(std::make_unique<Sublayer>(config_, resolved_sublayer(config_, position.block, kind), kind,
                                              name, position, first_attention, shape_, store, step_values_));
    streams_->attach(*list.back());
    Attention* attention = list.back()->attention();
    if (attention == nullptr) continue;
    if (attention->reads_first_values()) first_attention->keep_values_for_later();
    if (first_attention == nullptr) first_attention = attention;
  }
  streams_->declare_end();
  return list;
}

Transformer::Transformer(const ModelConfig& config, std::int64_t vocabulary, const ModelShape& shape,
                         ParameterStore& store)
    : config_(config),
      vocabulary_(vocabulary),
      shape_(shape),
      token_table_(store.declare(table(config, "embedding.token", MatrixRole::TokenEmbedding, vocabulary))),
      position_table_(config.position != "learned"
                          ? nullptr
                          : store.declare(table(config, "embedding.position", MatrixRole::PositionEmbedding,
                                                config.sequence_length))),
      embedding_norm_(config.embedding_norm, config.norm_kind, "embedding_norm", outer_extent(config), shape,
                      store),
      streams_(make_stream_adapter({config_, shape_, store})),
      sublayers_(make_sublayers(store)),
      final_norm_(config.final_norm, config.norm_kind, "final_norm", outer_extent(config), shape, store),
      logit_gain_(config.logit_gain, "head.gain", {}, {vocabulary, config.width, ParameterRole::FinalVector},
                  store, step_values_) {
  for (const auto& sublayer : sublayers_) sublayer_names_.push_back(sublayer->name());
  PLUMB_CHECK(!shape.keep_branches || shape.recompute != Recompute::Block,
              "branches that are made again cannot be kept");
  PLUMB_CHECK(shape.tokens <= config.sequence_length, "planned for {} tokens, the model has {} positions",
              shape.tokens, config.sequence_length);
  if (!config.tied_head) {
    head_weight_ = store.declare(table(config, "head.weight", MatrixRole::Head, vocabulary));
  }
  if (config.head_bias) {
    head_bias_ = store.declare(
        {.name = "head.bias", .shape = {vocabulary}, .role = ParameterRole::Head, .weight_decay = false});
  }
  head_parameters_ = streams_->end_parameters();
  for (Parameter* parameter : final_norm_.parameters()) head_parameters_.push_back(parameter);
  for (Parameter* parameter : {logit_gain_.parameter(), head_weight_, head_bias_}) {
    if (parameter != nullptr) head_parameters_.push_back(parameter);
  }
  embedding_parameters_ = {token_table_};
  if (position_table_ != nullptr) embedding_parameters_.push_back(position_table_);
  for (Parameter* parameter : embedding_norm_.parameters()) embedding_parameters_.push_back(parameter);
}

void Transformer::plan(Backend& backend, ArenaPlan& plan) {
  const auto keep = [&](const std::string& name) {
    return plan.persistent(name, shape_.compute, {shape_.rows(), config_.width});
  };
  if (embedding_norm_.present()) raw_embedding_ = keep("embedding.raw");
  if (final_norm_.present()) {
    // No sublayer runs between its forward pass and that of the loss backward.
    const ArenaScope scope(plan);
    head_input_ = plan.transient("head.input", shape_.compute, {shape_.rows(), config_.width});
  }
  log_z_ = plan.persistent("head.log_z", shape_.master(), {shape_.rows()});
  if (!logit_gain_.is_one()) {
    gained_head_ = plan.persistent("head.gained", shape_.compute, {vocabulary_, config_.width});
    dgained_head_ = plan.persistent("head.gained_gradient", shape_.master(), {vocabulary_, config_.width});
  }
  embedding_norm_.plan(backend, plan);
  streams_->plan(backend, plan);
  const auto per_block = static_cast<std::size_t>(sublayers_per_block());
  for (std::size_t first = 0; first < sublayers_.size(); first += per_block) {
    const RecomputedSpan span(plan, shape_.recompute == Recompute::Block);
    for (std::size_t k = first; k < first + per_block; ++k) {
      streams_->plan_sublayer(backend, plan, *sublayers_[k]);
      sublayers_[k]->plan(backend, plan);
    }
  }
  final_norm_.plan(backend, plan);
  logit_gain_.plan(shape_, plan);
  plan_ops(backend, plan);
}

void Transformer::plan_ops(Backend& backend, ArenaPlan& plan) const {
  const std::int64_t rows = shape_.rows(), width = config_.width;
  const Tensor row(nullptr, shape_.compute, {rows, width});
  const Tensor table(nullptr, shape_.master(), {vocabulary_, width});
  const Tensor ids(nullptr, DType::Int32, {rows});
  const Tensor log_z(nullptr, shape_.master(), {rows});
  const Tensor weight(nullptr, shape_.compute, {vocabulary_, width});
  const Tensor vector(nullptr, shape_.master(), {vocabulary_});
  HeadLossForward forward;
  forward.soft_cap = config_.head_soft_cap;
  forward.h = row;
  forward.weight = weight;
  forward.bias = head_bias_ != nullptr ? vector : Tensor();
  forward.targets = ids;
  forward.log_z = log_z;
  plan.require_workspace(backend.head_loss().head_loss_forward_workspace(forward));
  HeadLossBackward backward;
  backward.soft_cap = config_.head_soft_cap;
  backward.h = backward.dh = row;
  backward.weight = weight;
  backward.bias = backward.dbias = forward.bias;
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
  if (!logit_gain_.is_one()) {
    plan.require_workspace(backend.parameter().row_gain_backward_workspace({.x = weight,
                                                                            .scalar = {},
                                                                            .gain = vector,
                                                                            .dy = table,
                                                                            .dx = table,
                                                                            .dgain = vector,
                                                                            .workspace = {}}));
  }
}

std::vector<Parameter*> Transformer::parameters() const {
  std::vector<Parameter*> list = embedding_parameters_;
  for (Parameter* parameter : streams_->parameters()) list.push_back(parameter);
  for (const auto& sublayer : sublayers_) {
    for (Parameter* parameter : sublayer->parameters()) list.push_back(parameter);
  }
  const std::vector<Parameter*> end = streams_->end_parameters();
  for (Parameter* parameter : head_parameters_) {
    if (std::find(end.begin(), end.end(), parameter) == end.end()) list.push_back(parameter);
  }
  return list;
}

double Transformer::embedding_scale() const {
  const double by_width =
      config_.embedding_scale_by == "sqrt(width)" ? std::sqrt(static_cast<double>(config_.width)) : 1;
  return config_.embedding_scale * by_width;
}

Tensor Transformer::head_input(const Context& context) const {
  return final_norm_.present() ? context.tensor(head_input_) : streams_->merged(context);
}

Tensor Transformer::plain_head() const {
  return head_weight_ != nullptr ? head_weight_->compute : token_table_->compute;
}

Tensor Transformer::head_weight(const Context& context) const {
  return logit_gain_.is_one() ? plain_head() : context.tensor(gained_head_);
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
  const Tensor x0 = streams_->embedding(context);
  const Tensor raw = embedding_norm_.present() ? context.tensor(raw_embedding_) : x0;
  context.backend.embedding().embedding_forward(
      context.stream, {.tokens = shape_.tokens,
                       .scale = embedding_scale(),
                       .ids = ids,
                       .token_table = token_table_->value,
                       .position_table = position_table_ != nullptr ? position_table_->value : Tensor(),
                       .out = raw});
  if (embedding_norm_.present()) embedding_norm_.forward(context, raw, x0);
  embedding_dropout(context, x0);
  streams_->begin(context);
  streams_->probe_state(context, 0);
  streams_->observe_state(context, 0);
}

void Transformer::forward_sublayer(const Context& context, std::int64_t k) {
  const auto index = static_cast<std::size_t>(k);
  const PhaseRange range(context.backend, sublayer_names_[index].c_str());
  streams_->forward(context, *sublayers_[index]);
  streams_->observe_state(context, k + 1);
}

void Transformer::gain_head(const Context& context) {
  logit_gain_.begin(context);
  if (logit_gain_.is_one()) return;
  const Coefficient gain = logit_gain_.coefficient(context);
  context.backend.parameter().row_gain_forward(
      context.stream,
      {.x = plain_head(), .scalar = gain.scalar, .gain = gain.feature, .y = context.tensor(gained_head_)});
}

void Transformer::forward(const Context& context, const Tensor& ids, const Tensor& targets) {
  embed(context, ids);
  for (std::int64_t k = 0; k < sublayers(); ++k) forward_sublayer(context, k);
  streams_->merge(context);
  if (final_norm_.present()) final_norm_.forward(context, streams_->merged(context), head_input(context));
  gain_head(context);
  PLUMB_CHECK(context.probes != nullptr && context.probes->loss_sums.defined(),
              "a forward pass needs somewhere to put its loss");
  const PhaseRange range(context.backend, "head and loss");
  context.backend.head_loss().head_loss_forward(context.stream, {.z_loss = config_.z_loss,
                                                                 .soft_cap = config_.head_soft_cap,
                                                                 .h = head_input(context),
                                                                 .weight = head_weight(context),
                                                                 .bias = head_bias(),
                                                                 .targets = targets,
                                                                 .log_z = context.tensor(log_z_),
                                                                 .sums = context.probes->loss_sums,
                                                                 .workspace = context.workspace()});
}

void Transformer::probe_state_gradient(const Context& context, std::int64_t k) const {
  if (context.probes == nullptr) return;
  observe_gradient(context, streams_->state_gradient(context), context.probes->stream_gradient, k);
}

void Transformer::head_backward(const Context& context, const Tensor& targets, double gradient_scale) {
  const Tensor gradient = streams_->merged_gradient(context);
  const Tensor plain_gradient = head_weight_ != nullptr ? head_weight_->gradient : token_table_->gradient;
  const bool gained = !logit_gain_.is_one();
  const Tensor dweight = gained ? context.tensor(dgained_head_) : plain_gradient;
  if (gained) context.backend.elementwise().fill(context.stream, dweight, 0);
  context.backend.head_loss().head_loss_backward(
      context.stream, {.z_loss = config_.z_loss,
                       .soft_cap = config_.head_soft_cap,
                       .gradient_scale = gradient_scale,
                       .loss_scale = context.loss_scale,
                       .h = head_input(context),
                       .weight = head_weight(context),
                       .bias = head_bias(),
                       .targets = targets,
                       .log_z = context.tensor(log_z_),
                       .dh = gradient,
                       .dweight = dweight,
                       .dbias = head_bias_ != nullptr ? head_bias_->gradient : Tensor(),
                       .workspace = context.workspace()});
  if (gained) {
    const Coefficient gain = logit_gain_.coefficient(context);
    context.backend.parameter().row_gain_backward(context.stream,
                                                  {.x = plain_head(),
                                                   .scalar = gain.scalar,
                                                   .gain = gain.feature,
                                                   .dy = dweight,
                                                   .dx = plain_gradient,
                                                   .dgain = logit_gain_.gradient(context).feature,
                                                   .workspace = context.workspace()});
  }
  if (final_norm_.present()) {
    final_norm_.backward(context, streams_->merged(context), gradient, gradient, false);
  }
}

// The last sublayer's result is the state at the start of the next block, which is still there.
void Transformer::make_block_again(const Context& context, std::int64_t last) {
  const Context again = context.made_again();
  const PhaseRange range(context.backend, kRecomputeRange);
  for (std::int64_t k = last + 1 - sublayers_per_block(); k <= last; ++k) {
    const auto index = static_cast<std::size_t>(k);
    const PhaseRange part(context.backend, sublayer_names_[index].c_str());
    if (k < last) {
      streams_->forward(again, *sublayers_[index]);
    } else {
      streams_->make_again(again, *sublayers_[index]);
    }
  }
}

void Transformer::backward(const Context& context, const Tensor& ids, const Tensor& targets,
                           double gradient_scale) {
  {
    const PhaseRange range(context.backend, "head and loss");
    head_backward(context, targets, gradient_scale);
  }
  streams_->begin_backward(context);
  probe_state_gradient(context, sublayers());
  announce_gradients(context, head_parameters_);
  for (auto sublayer = sublayers_.rbegin(); sublayer != sublayers_.rend(); ++sublayer) {
    const std::int64_t k = (*sublayer)->position().sublayer;
    // What forward left of the last block is still there.
    const bool ends_block = (k + 1) % sublayers_per_block() == 0;
    if (shape_.recompute == Recompute::Block && ends_block && k + 1 < sublayers()) {
      make_block_again(context, k);
    }
    const PhaseRange range(context.backend, sublayer_names_[static_cast<std::size_t>(k)].c_str());
    streams_->backward(context, **sublayer);
    probe_state_gradient(context, k);
  }
  streams_->end_backward(context);
  embed_backward(context, ids);
}

void Transformer::embed_backward(const Context& context, const Tensor& ids) {
  const Tensor gradient = streams_->merged_gradient(context);
  embedding_dropout(context, gradient);
  if (embedding_norm_.present()) {
    embedding_norm_.backward(context, context.tensor(raw_embedding_), gradient, gradient, false);
  }
  context.backend.embedding().embedding_backward(
      context.stream, {.tokens = shape_.tokens,
                       .scale = embedding_scale(),
                       .ids = ids,
                       .dout = gradient,
                       .dtoken_table = token_table_->gradient,
                       .dposition_table = position_table_ != nullptr ? position_table_->gradient : Tensor(),
                       .workspace = context.workspace()});
  announce_gradients(context, embedding_parameters_);
}

}  // namespace plumb
