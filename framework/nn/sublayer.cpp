#include "nn/sublayer.h"

#include <algorithm>

#include "core/error.h"
#include "nn/feed_forward.h"
#include "nn/init.h"
#include "nn/linear_branch.h"
#include "nn/observe.h"

namespace plumb {
namespace {

/// Makes the weights of one sublayer under model.init.
class WeightMaker {
 public:
  WeightMaker(const ModelConfig& model, const DepthPosition& position, bool branch_ends_in_norm)
      : model_(model), position_(position), branch_ends_in_norm_(branch_ends_in_norm) {}

  /// What writes to the stream has its unit vectors, on the sphere, down the columns.
  WeightSpec operator()(std::vector<MatrixRole> parts, std::int64_t in, std::int64_t out, bool writes) const {
    WeightSpec spec;
    for (MatrixRole role : parts) {
      spec.init.push_back(matrix_init(model_, {.role = role,
                                               .in = in,
                                               .out = out,
                                               .width = model_.width,
                                               .position = position_,
                                               .branch_ends_in_norm = branch_ends_in_norm_}));
    }
    spec.correlation = model_.init.depth_correlation;
    if (model_.sphere_weights) spec.sphere = writes ? Sphere::Columns : Sphere::Rows;
    return spec;
  }

 private:
  const ModelConfig& model_;
  DepthPosition position_;
  bool branch_ends_in_norm_;
};

std::unique_ptr<Branch> make_branch(const ModelConfig& model, const SublayerConfig& config,
                                    const std::string& kind, const std::string& name,
                                    const DepthPosition& position, const Attention* first_attention,
                                    const ModelShape& shape, ParameterStore& store, StepValues& values) {
  const bool ends_in_norm = norm_kind_from_name(config.norm.out.kind, model.norm_kind) != NormKind::None;
  const WeightMaker weight(model, position, ends_in_norm);
  const std::int64_t width = model.width;
  if (kind == "attention") {
    const std::int64_t heads_width = model.heads * model.resolved_head_width();
    AttentionWeights weights{
        weight({MatrixRole::QueryKey, MatrixRole::QueryKey, MatrixRole::Value}, width, heads_width, false),
        weight({MatrixRole::AttentionOutput}, heads_width, width, true)};
    return std::make_unique<Attention>(model, config, name, position, std::move(weights), first_attention,
                                       shape, store, values);
  }
  if (kind == "ffn") {
    const std::int64_t hidden = ffn_hidden_width(model, activation_from_name(config.activation));
    FeedForwardWeights weights{weight({MatrixRole::FfnInput}, width, hidden, false),
                               weight({MatrixRole::FfnOutput}, hidden, width, true)};
    return std::make_unique<FeedForward>(model, config, name, position, std::move(weights), shape, store,
                                         values);
  }
  if (kind == "linear") {
    return std::make_unique<LinearBranch>(model, config, name,
                                          weight({MatrixRole::Linear}, width, width, true), shape, store);
  }
  fail_input("sublayer kind '{}' is unknown; known: attention, ffn, linear", kind);
}

}  // namespace

Sublayer::Sublayer(const ModelConfig& model, const SublayerConfig& config, const std::string& kind,
                   const std::string& name, const DepthPosition& position, const Attention* first_attention,
                   const ModelShape& shape, ParameterStore& store, StepValues& values)
    : kind_(kind),
      name_(name),
      position_(position),
      shape_(shape),
      width_(model.width),
      dropout_(model.dropout_branch),
      reads_block_input_(config.branch_input == "block"),
      norm_in_(config.norm.in, model.norm_kind, name + ".norm_in", {.width = width_}, shape, store),
      branch_(make_branch(model, config, kind, name, position, first_attention, shape, store, values)),
      attention_(dynamic_cast<Attention*>(branch_.get())),
      norm_out_(config.norm.out, model.norm_kind, name + ".norm_out", {.width = width_}, shape, store),
      norm_post_(config.norm.post, model.norm_kind, name + ".norm_post", {.width = width_}, shape, store),
      identity_(NormConfig{}, "none", name + ".step", {.width = width_}, shape, store),
      a_(config.residual.a, name + ".a", position, {width_, width_}, RandomPurpose::KnobA, store, values),
      b_(config.residual.b, name + ".b", position, {width_, width_}, RandomPurpose::KnobB, store, values),
      c_(config.residual.c, name + ".c", position, {width_, width_}, RandomPurpose::KnobC, store, values),
      e_(config.residual.e, name + ".e", position, {width_, width_}, RandomPurpose::KnobE, store, values),
      p_(config.residual.p, name + ".p", position, {width_, width_}, RandomPurpose::KnobP, store, values) {
  const auto append = [&](const Module& part) {
    for (Parameter* parameter : part.parameters()) parameters_.push_back(parameter);
  };
  append(norm_in_);
  append(*branch_);
  append(norm_out_);
  append(norm_post_);
  for (const Knob* knob : knobs()) {
    if (knob->parameter() != nullptr) parameters_.push_back(knob->parameter());
  }
}

class Sublayer::Input final : public BranchInput {
 public:
  Input(const Sublayer& sublayer, const Tensor& h) : sublayer_(sublayer), h_(h) {}
  Tensor read(const Context& context) const override {
    if (!sublayer_.transforms_input()) return h_;
    const Tensor u = context.tensor(sublayer_.u_);
    if (sublayer_.remakes_input()) {
      sublayer_.norm_in_.forward(context.made_again(), h_, u, sublayer_.c_.coefficient(context));
    }
    return u;
  }

 private:
  const Sublayer& sublayer_;
  const Tensor& h_;
};

bool Sublayer::needs_branch_in_backward() const {
  return b_.is_trained() || p_.is_trained() || shape_.keep_branches;
}

ResidualForward Sublayer::residual_forward_arguments(const Context* context) const {
  ResidualForward arguments;
  arguments.rows_per_sequence = shape_.tokens;
  arguments.tie_skip = a_.config().tie_to_branch;
  if (context == nullptr) return arguments;
  if (!arguments.tie_skip) arguments.a = a_.coefficient(*context);
  arguments.b = b_.coefficient(*context);
  if (has_block_skip()) arguments.e = e_.coefficient(*context);
  if (!norm_post_.present()) arguments.p = p_.coefficient(*context);
  arguments.workspace = context->workspace();
  return arguments;
}

ResidualBackward Sublayer::residual_backward_arguments(const Context* context) const {
  ResidualBackward arguments;
  arguments.rows_per_sequence = shape_.tokens;
  arguments.tie_skip = a_.config().tie_to_branch;
  if (context == nullptr) return arguments;
  if (!arguments.tie_skip) {
    arguments.a = a_.coefficient(*context);
    arguments.da = a_.gradient(*context);
  }
  arguments.b = b_.coefficient(*context);
  arguments.db = b_.gradient(*context);
  if (has_block_skip()) {
    arguments.e = e_.coefficient(*context);
    arguments.de = e_.gradient(*context);
  }
  if (!norm_post_.present()) {
    arguments.p = p_.coefficient(*context);
    arguments.dp = p_.gradient(*context);
  }
  arguments.workspace = context->workspace();
  return arguments;
}

void Sublayer::plan(Backend& backend, ArenaPlan& plan) {
  const std::int64_t rows = shape_.rows();
  const auto keep = [&](const char* suffix) {
    return plan.persistent(name_ + suffix, shape_.compute, {rows, width_});
  };
  const ArenaScope scope(plan);
  const auto scratch = [&](const char* suffix) {
    return plan.transient(name_ + suffix, shape_.compute, {rows, width_});
  };
  // z is there in forward alone, its gradient in backward.
  const bool shares = branch_->reads_input_last();
  dz_ = scratch(".dz");
  du_ = shares ? dz_ : scratch(".du");
  if (transforms_input()) u_ = !remakes_input() ? keep(".u") : shares ? dz_ : scratch(".u");
  if (norm_out_.present()) y_ = keep(".y");
  z_ = needs_branch_in_backward() ? keep(".z") : dz_;
  if (norm_post_.present()) s_ = keep(".s");
  if (feeds_second_stream_) dz_second_ = scratch(".dz_second");
  for (Knob* knob : {&a_, &b_, &c_, &e_, &p_}) knob->plan(shape_, plan);
  for (Module* part :
       std::initializer_list<Module*>{&norm_in_, branch_.get(), &norm_out_, &norm_post_, &identity_}) {
    part->plan(backend, plan);
  }
  plan_residual(backend, plan);
}

void Sublayer::plan_residual(Backend& backend, ArenaPlan& plan) const {
  const Tensor row(nullptr, shape_.compute, {shape_.rows(), width_});
  const Tensor vector(nullptr, shape_.master(), {width_});
  const Tensor column(nullptr, DType::Float64, {width_});
  const MomentsView moments{Tensor(nullptr, DType::Float64, {kMomentScalars}), column, column, column};
  MomentsArguments step;
  step.x = vector.reshaped({width_, 1});
  step.moments.scalars = moments.scalars;
  plan.require_workspace(backend.moments().moments_workspace(step));
  ResidualForward forward = residual_forward_arguments(nullptr);
  forward.x = forward.z = forward.x_block = forward.out = row;
  forward.stream_moments = forward.branch_moments = moments;
  forward.alignment.scalars = Tensor(nullptr, DType::Float64, {kAlignmentScalars});
  plan.require_workspace(backend.residual().residual_forward_workspace(forward));
  ResidualBackward backward = residual_backward_arguments(nullptr);
  backward.x = backward.z = backward.x_block = backward.dout = backward.dx = backward.dz = backward.dx_block =
      row;
  backward.da.feature = backward.db.feature = backward.de.feature = backward.dp.feature = vector;
  plan.require_workspace(backend.residual().residual_backward_workspace(backward));
  plan_gradient_observation(backend, plan, row);
  plan_activation_observation(backend, plan, row, shape_.tokens);
}

void Sublayer::apply_branch_dropout(const Context& context, const Tensor& z) const {
  if (dropout_ == 0 || !context.training) return;
  const RandomSite site{context.seed, random_site(position_.sublayer, RandomPurpose::BranchDropout),
                        context.counters};
  context.backend.random().dropout(
      context.stream,
      {.probability = dropout_, .site = site, .rows_per_sequence = shape_.tokens, .x = z, .y = z});
}

void Sublayer::run_branch(const Context& context, const Tensor& h, bool makes_output) {
  for (const Knob* knob : knobs()) knob->begin(context);
  Tensor u = h;
  if (transforms_input()) {
    u = context.tensor(u_);
    norm_in_.forward(context, h, u, c_.coefficient(context));
  }
  const Tensor z = makes_output ? context.tensor(z_) : Tensor();
  if (norm_out_.present()) {
    const Tensor y = context.tensor(y_);
    branch_->forward(context, u, y);
    norm_out_.forward(context, y, z);
  } else {
    branch_->forward(context, u, z);
  }
  if (makes_output) apply_branch_dropout(context, z);
}

void Sublayer::branch_forward(const Context& context, const Tensor& h) {
  run_branch(context, h, true);
  observe_branch(context, context.tensor(z_));
}

void Sublayer::make_again(const Context& context, const Tensor& h, const Tensor& x, const Tensor& x_block,
                          const Tensor& out) {
  run_branch(context, h, norm_out_.present() || norm_post_.present() || needs_branch_in_backward());
  if (norm_post_.present()) combine_forward(context, x, x_block, out);
}

void Sublayer::observe_branch(const Context& context, const Tensor& z) const {
  if (context.probes == nullptr || context.probes->branch_values.empty()) return;
  const ActivationProbe& probe = context.probes->branch_values[static_cast<std::size_t>(position_.sublayer)];
  observe_magnitudes(context, z, probe);
  observe_similarity(context, z, probe);
}

const ResidualProbe* Sublayer::residual_probe(const Context& context) const {
  if (context.probes == nullptr || context.probes->residual.empty()) return nullptr;
  return &context.probes->residual[static_cast<std::size_t>(position_.sublayer)];
}

// Here, because a trained b may pass through a transform that a pass begins with.
void Sublayer::probe_step(const Context& context) const {
  const ResidualProbe* probe = residual_probe(context);
  if (probe == nullptr) return;
  const Coefficient b = b_.coefficient(context);
  const auto add = [&](const Tensor& factor, const MomentsView& moments) {
    if (!factor.defined()) return;
    context.backend.moments().moments(
        context.stream,
        {.x = factor.reshaped({factor.elements(), 1}), .moments = moments, .workspace = context.workspace()});
  };
  add(b.scalar, probe->step_scalar);
  add(b.feature, probe->step_feature);
}

void Sublayer::combine_forward(const Context& context, const Tensor& x, const Tensor& x_block,
                               const Tensor& out) {
  const auto k = static_cast<std::size_t>(position_.sublayer);
  const Probes* probes = context.probes;
  const bool probes_stream = probes != nullptr && !probes->stream.empty() && !feeds_second_stream_;
  const MomentsView stream_moments = probes_stream ? probes->stream[k + 1] : MomentsView{};
  ResidualForward residual = residual_forward_arguments(&context);
  residual.x = x;
  residual.z = context.tensor(z_);
  if (has_block_skip()) residual.x_block = x_block;
  residual.out = norm_post_.present() ? context.tensor(s_) : out;
  if (probes != nullptr && !probes->branch.empty()) residual.branch_moments = probes->branch[k];
  if (!norm_post_.present()) residual.stream_moments = stream_moments;
  if (const ResidualProbe* probe = residual_probe(context)) residual.alignment = probe->alignment;
  probe_step(context);
  context.backend.residual().residual_forward(context.stream, residual);
  if (norm_post_.present()) {
    norm_post_.forward(context, residual.out, out, p_.coefficient(context), stream_moments);
  }
}

void Sublayer::accumulate_forward(const Context& context, const Tensor& y, const Tensor& out) {
  ResidualForward residual;
  residual.rows_per_sequence = shape_.tokens;
  residual.x = y;
  residual.z = context.tensor(z_);
  residual.b = b_.coefficient(context);
  residual.out = out;
  residual.workspace = context.workspace();
  context.backend.residual().residual_forward(context.stream, residual);
}

void Sublayer::step_forward(const Context& context, const Tensor& out) {
  if (context.probes != nullptr && !context.probes->branch.empty()) {
    context.backend.moments().moments(
        context.stream, {.x = context.tensor(z_),
                         .moments = context.probes->branch[static_cast<std::size_t>(position_.sublayer)],
                         .workspace = context.workspace()});
  }
  probe_step(context);
  identity_.forward(context, context.tensor(z_), out, b_.coefficient(context));
}

void Sublayer::combine_backward(const Context& context, const Tensor& x, const Tensor& x_block,
                                const Tensor& gradient, const Tensor& dx_block) {
  if (norm_post_.present()) {
    norm_post_.backward(context, context.tensor(s_), gradient, gradient, false, p_.coefficient(context),
                        p_.gradient(context));
  }
  ResidualBackward residual = residual_backward_arguments(&context);
  residual.x = x;
  if (needs_branch_in_backward()) residual.z = context.tensor(z_);
  if (has_block_skip()) {
    residual.x_block = x_block;
    residual.dx_block = dx_block;
  }
  residual.dout = gradient;
  residual.dx = gradient;
  residual.dz = context.tensor(dz_);
  context.backend.residual().residual_backward(context.stream, residual);
}

void Sublayer::accumulate_backward(const Context& context, const Tensor& dout) {
  ResidualBackward residual;
  residual.rows_per_sequence = shape_.tokens;
  if (needs_branch_in_backward()) residual.z = context.tensor(z_);
  residual.b = b_.coefficient(context);
  residual.db = b_.gradient(context);
  residual.dout = dout;
  residual.dx = dout;  // a = 1: it stays as it is
  residual.dz = context.tensor(dz_second_);
  residual.workspace = context.workspace();
  context.backend.residual().residual_backward(context.stream, residual);
  context.backend.elementwise().add(context.stream, residual.dz, context.tensor(dz_));
}

void Sublayer::step_backward(const Context& context, const Tensor& dout) {
  identity_.backward(context, context.tensor(z_), dout, context.tensor(dz_), false, b_.coefficient(context),
                     b_.gradient(context));
}

void Sublayer::branch_backward(const Context& context, const Tensor& h, const Tensor& dh) {
  const Tensor dz = context.tensor(dz_);
  if (context.probes != nullptr) {
    observe_gradient(context, dz, context.probes->branch_gradient, position_.sublayer);
  }
  apply_branch_dropout(context, dz);
  if (norm_out_.present()) norm_out_.backward(context, context.tensor(y_), dz, dz, false);
  const Tensor du = context.tensor(du_);
  branch_->backward(context, Input(*this, h), dz, du);
  if (transforms_input()) {
    norm_in_.backward(context, h, du, dh, /*accumulate=*/true, c_.coefficient(context), c_.gradient(context));
  } else {
    context.backend.elementwise().add(context.stream, du, dh);
  }
  for (const Knob* knob : knobs()) knob->finish_gradient(context);
  announce_gradients(context, parameters_);
}

}  // namespace plumb
