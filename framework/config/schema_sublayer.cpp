// Keys of the block equation: norm slots, knobs and what else may differ from sublayer to sublayer.
#include "config/schema.h"

namespace plumb::detail {
namespace {

std::vector<FieldSpec<NormConfig>> norm_fields() {
  const Condition present = {"kind", {"layernorm", "rmsnorm", "dyt", "derf", "l2"}};
  const Condition divides = {"kind", {"layernorm", "rmsnorm", "l2"}};
  const Condition pointwise = {"kind", {"dyt", "derf"}};
  const Condition shifts = {"kind", {"layernorm", "dyt", "derf"}};
  return {
      {"kind", &NormConfig::kind, one_of({"none", "standard", "layernorm", "rmsnorm", "dyt", "derf", "l2"}),
       "", "The norm in this slot; standard is model.norm_kind."},
      {"epsilon", &NormConfig::epsilon, at_least(0), "", "Added to what is under the root.", {divides}},
      {"gain_init",
       &NormConfig::gain_init,
       anything(),
       "",
       "Initial value of the gain.",
       {present, {"gain", {"true"}}}},
      {"gain", &NormConfig::gain, anything(), "", "The norm has a gain.", {present}},
      {"bias",
       &NormConfig::bias,
       anything(),
       "",
       "The norm has a bias; rmsnorm and l2 never have one.",
       {shifts}},
      {"trainable",
       &NormConfig::trainable,
       anything(),
       "",
       "Gain, bias and alpha are trained; false: they stay as "
       "initialised.",
       {present}},
      {"decay", &NormConfig::decay, anything(), "", "Gain and bias have weight decay.", {present}},
      {"alpha_init", &NormConfig::alpha_init, above(0), "", "Initial slope of dyt and derf.", {pointwise}},
  };
}

const std::vector<std::string>& prores_names() {
  static const std::vector<std::string> names = {"prores-linear",
                                                 "prores-linear-sqrt",
                                                 "prores-linear-square",
                                                 "prores-equal",
                                                 "prores-reverse",
                                                 "prores-stagewise-0",
                                                 "prores-stagewise-1/L",
                                                 "prores-stagewise-1/sqrt(L)",
                                                 "prores-stagewise-1/sqrt(l)"};
  return names;
}

std::vector<std::string> with_prores(std::vector<std::string> names) {
  names.insert(names.end(), prores_names().begin(), prores_names().end());
  return names;
}

std::vector<FieldSpec<KnobConfig>> value_fields() {
  return {
      {"value", &KnobConfig::value, anything(), "", "The coefficient, before the factors below."},
      {"width_exponent", &KnobConfig::width_exponent, anything(), "",
       "Factor model.width to this power; 0: 1."},
  };
}

std::vector<FieldSpec<KnobConfig>> depth_fields() {
  const ReadWhen over_depth = {
      {"depth",
       {"1/L", "1/sqrt(L)", "1/l", "1/sqrt(l)", "sqrt(l)", "linear", "cosine", "power", "depth-mup",
        "completep", "deepscalelm-skip", "deepscalelm-branch", "list"}}};
  const ReadWhen based = {{"depth", {"power", "depth-mup", "completep"}}};
  return {
      {"depth", &KnobConfig::depth,
       one_of({"constant", "1/L", "1/sqrt(L)", "1/l", "1/sqrt(l)", "linear", "cosine", "power", "depth-mup",
               "completep", "layerscale", "deepscalelm-skip", "deepscalelm-branch", "sqrt(l)", "list"}),
       "",
       "Factor over depth: L is the number of units, l = 1..L the unit's own number "
       "([schedules](placements.md#residual-schedules))."},
      {"counts", &KnobConfig::counts, one_of({"sublayers", "blocks"}), "", "The unit that L and l count.",
       over_depth},
      {"list",
       &KnobConfig::list,
       anything(),
       "",
       "One factor per counted unit, from the bottom.",
       {{"depth", {"list"}}}},
      {"depth_end",
       &KnobConfig::depth_end,
       anything(),
       "",
       "Factor of the last unit; that of the first is 1.",
       {{"depth", {"linear", "cosine"}}}},
      {"depth_base", &KnobConfig::depth_base, above(0), "units", "The L at which the factor is 1.", based},
      {"depth_exponent",
       &KnobConfig::depth_exponent,
       anything(),
       "",
       "The factor is (L / depth_base)^depth_exponent; completep: -alpha.",
       {{"depth", {"power", "completep"}}}},
  };
}

/// `names`: what `time` may be.
std::vector<FieldSpec<KnobConfig>> time_fields(const std::vector<std::string>& names) {
  const ReadWhen ramp = {{"time", {}}};
  return {
      {"time", &KnobConfig::time, one_of(names), "",
       "Factor over time: linear goes from time_start to 1 over ramp_steps "
       "([schedules](placements.md#residual-schedules))."},
      {"ramp_steps", &KnobConfig::ramp_steps, between(0, 1e12), "optimiser steps",
       "Length of the ramp, of the first unit's where it depends on depth.", ramp},
      {"time_start", &KnobConfig::time_start, anything(), "", "Factor at step 0.", {{"time", {"linear"}}}},
  };
}

FieldSpec<KnobConfig> time_counts_field() {
  return {"time_counts",
          &KnobConfig::time_counts,
          one_of({"sublayers", "blocks"}),
          "",
          "The unit that l and L count in `time`.",
          {{"time", prores_names()}}};
}

std::vector<FieldSpec<KnobConfig>> trained_fields() {
  return {
      {"trainable", &KnobConfig::trainable, one_of({"none", "scalar", "vector"}), "",
       "Train the coefficient, from value * depth factor on, as one number or one per feature."},
      {"storage",
       &KnobConfig::storage,
       one_of({"value", "unit", "1/sqrt(width)"}),
       "",
       "What the trained number itself starts from; a fixed factor makes up the difference to the "
       "coefficient's start, and with Adam multiplies its learning rate (nGPT).",
       {{"trainable", {"scalar", "vector"}}}},
      {"decay",
       &KnobConfig::decay,
       anything(),
       "",
       "The trained coefficient has weight decay.",
       {{"trainable", {"scalar", "vector"}}}},
  };
}

template <class... Lists>
std::vector<FieldSpec<KnobConfig>> joined_fields(Lists... lists) {
  std::vector<FieldSpec<KnobConfig>> all;
  for (const auto& list : {lists...}) all.insert(all.end(), list.begin(), list.end());
  return all;
}

/// Value and schedules of a coefficient of a sublayer.
std::vector<FieldSpec<KnobConfig>> schedule_fields() {
  return joined_fields(value_fields(), depth_fields(),
                       time_fields(with_prores({"constant", "linear", "branchnorm"})),
                       std::vector<FieldSpec<KnobConfig>>{time_counts_field()}, trained_fields());
}

/// Of a factor that stands outside the blocks: it has no depth.
std::vector<FieldSpec<KnobConfig>> outer_gain_fields() {
  return joined_fields(value_fields(), time_fields({"constant", "linear", "branchnorm"}), trained_fields());
}

std::vector<FieldSpec<KnobConfig>> knob_fields(const std::string& knob) {
  std::vector<FieldSpec<KnobConfig>> fields = schedule_fields();
  fields.push_back({"per_block",
                    &KnobConfig::per_block,
                    anything(),
                    "",
                    "One trained number for all sublayers of a block; its depth schedule counts blocks.",
                    {{"trainable", {"scalar", "vector"}}}});
  fields.push_back(
      {"transform",
       &KnobConfig::transform,
       one_of({"identity", "absolute", "gpas"}),
       "",
       "From the trained number to the coefficient: absolute |.| (nGPT), gpas 1 - SiLU(.), which "
       "starts at 1 (GPAS).",
       {{"trainable", {"scalar", "vector"}}}});
  fields.push_back({"keep_probability", &KnobConfig::keep_probability, above_up_to(0, 1), "probability",
                    "Below 1: times a Bernoulli draw per sequence, divided by this probability (stochastic "
                    "depth)."});
  fields.push_back({"keep_depth", &KnobConfig::keep_depth, one_of({"constant", "linear"}), "",
                    "linear: the keep probability falls from 1 at the bottom to keep_probability at the "
                    "top."});
  if (knob == "a") {
    fields.push_back({"tie_to_branch", &KnobConfig::tie_to_branch, anything(), "", "a = 1 - b (nGPT)."});
  }
  if (knob == "p") {
    fields.push_back({"stop_gradient", &KnobConfig::stop_gradient, anything(), "",
                      "The gradient passes as if p were 1 (GPAS)."});
  }
  return fields;
}

std::vector<FieldSpec<SublayerConfig>> other_fields() {
  const std::vector<std::string> kinds = {"layernorm", "rmsnorm", "dyt", "derf", "l2"};
  return {
      {"activation",
       &SublayerConfig::activation,
       one_of({"gelu", "gelu_tanh", "relu", "relu_squared", "silu", "swiglu", "geglu"}),
       "",
       "Of the FFN; swiglu and geglu are gated.",
       {},
       "ffn"},
      {"qk_norm_extent",
       &SublayerConfig::qk_norm_extent,
       one_of({"head", "full"}),
       "",
       "The qk slot norms each head by itself (one gain for all heads) or all heads together.",
       {{"model.norm.qk.kind", kinds}},
       "attention"},
      {"v_norm_extent",
       &SublayerConfig::v_norm_extent,
       one_of({"head", "full"}),
       "",
       "The same for the v slot.",
       {{"model.norm.v.kind", kinds}},
       "attention"},
      {"head_gains",
       &SublayerConfig::head_gains,
       anything(),
       "",
       "One trainable gain per head on the attention output, from 1 on.",
       {},
       "attention"},
      {"branch_input", &SublayerConfig::branch_input, one_of({"stream", "block"}), "",
       "What N_in reads: the stream, or the stream at the start of the block (parallel sublayers)."},
      {"branch_biases", &SublayerConfig::branch_biases, anything(), "",
       "One trainable number, from 0 on, is added before every matrix and before the activation (Fixup)."},
  };
}

template <class Struct, class Find>
void append_sublayer_part(std::vector<Field>& fields, const std::string& table, const std::string& pattern,
                          const std::vector<FieldSpec<Struct>>& specs, Find find,
                          const std::string& acts_in = "") {
  const std::size_t first = fields.size();
  append_fields(fields, table, pattern, specs,
                [find](Config& config) -> Struct& { return find(config.model.base); });
  for (std::size_t i = 0; i < specs.size(); ++i) {
    Field& field = fields[first + i];
    field.sublayer_member = [member = specs[i].member, find](SublayerConfig& sublayer) {
      return locate(find(sublayer), member);
    };
    if (!acts_in.empty()) field.acts_in = acts_in;
  }
}

void append_norms(std::vector<Field>& fields) {
  struct Slot {
    const char* name;
    NormConfig SublayerNorms::*member;
    const char* acts_in;
  };
  constexpr Slot kSlots[] = {{"in", &SublayerNorms::in, ""},
                             {"out", &SublayerNorms::out, ""},
                             {"post", &SublayerNorms::post, ""},
                             {"qk", &SublayerNorms::qk, "attention"},
                             {"v", &SublayerNorms::v, "attention"},
                             {"pre_projection", &SublayerNorms::pre_projection, "attention"},
                             {"ffn_inner", &SublayerNorms::ffn_inner, "ffn"}};
  for (const Slot& slot : kSlots) {
    append_sublayer_part(
        fields, std::string("model.norm.") + slot.name, "model.norm.<slot>", norm_fields(),
        [member = slot.member](SublayerConfig& sublayer) -> NormConfig& { return sublayer.norm.*member; },
        slot.acts_in);
  }
  append_fields(fields, "model.norm.embedding", "model.norm.<slot>", norm_fields(),
                [](Config& c) -> NormConfig& { return c.model.embedding_norm; });
  append_fields(fields, "model.norm.final", "model.norm.<slot>", norm_fields(),
                [](Config& c) -> NormConfig& { return c.model.final_norm; });
  append_fields(fields, "model.norm.stream", "model.norm.<slot>", norm_fields(),
                [](Config& c) -> NormConfig& { return c.model.stream_norm; });
}

void append_knobs(std::vector<Field>& fields) {
  struct Knob {
    const char* name;
    KnobConfig SublayerKnobs::*member;
  };
  constexpr Knob kKnobs[] = {{"a", &SublayerKnobs::a},
                             {"b", &SublayerKnobs::b},
                             {"c", &SublayerKnobs::c},
                             {"e", &SublayerKnobs::e},
                             {"p", &SublayerKnobs::p}};
  for (const Knob& knob : kKnobs) {
    append_sublayer_part(fields, std::string("model.residual.") + knob.name, "model.residual.<knob>",
                         knob_fields(knob.name),
                         [member = knob.member](SublayerConfig& sublayer) -> KnobConfig& {
                           return sublayer.residual.*member;
                         });
  }
}

void append_gains(std::vector<Field>& fields) {
  struct Gain {
    const char* name;
    KnobConfig SublayerGains::*member;
    const char* acts_in;
  };
  constexpr Gain kGains[] = {{"qk", &SublayerGains::qk, "attention"},
                             {"value", &SublayerGains::value, "attention"},
                             {"first_value", &SublayerGains::first_value, "attention"},
                             {"ffn", &SublayerGains::ffn, "ffn"}};
  for (const Gain& gain : kGains) {
    append_sublayer_part(
        fields, std::string("model.gain.") + gain.name, "model.gain.<gain>", schedule_fields(),
        [member = gain.member](SublayerConfig& sublayer) -> KnobConfig& { return sublayer.gain.*member; },
        gain.acts_in);
  }
  append_fields(fields, "model.gain.logits", "model.gain.<gain>", outer_gain_fields(),
                [](Config& c) -> KnobConfig& { return c.model.logit_gain; });
}

}  // namespace

void append_sublayer_fields(std::vector<Field>& fields) {
  append_sublayer_part(fields, "model", "model", other_fields(),
                       [](SublayerConfig& sublayer) -> SublayerConfig& { return sublayer; });
  append_norms(fields);
  append_knobs(fields);
  append_gains(fields);
}

}  // namespace plumb::detail
