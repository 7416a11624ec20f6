#include "export/gpt2_requirements.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "config/schema.h"

namespace plumb {
namespace {

/// A row about the keys under model that match: one '*' stands for any text.
struct Requirement {
  std::string_view keys;
  /// Whether GPT-2 has it, given the model with one sublayer's settings as its base; null: any value will do.
  bool (*holds)(const ModelConfig& model) = nullptr;
  std::string_view wanted = "";
};

bool is_layernorm(const ModelConfig& model, const NormConfig& norm) {
  return norm.kind == "layernorm" || (norm.kind == "standard" && model.norm_kind == "layernorm");
}

double usual_scale(const ModelConfig& model) {
  return 1 / std::sqrt(static_cast<double>(model.resolved_head_width()));
}

/// The first row that matches a key holds for it. A key that no row matches must be at its default: there
/// GPT-2 does what the equation of a sublayer does without the key, and a key to come is refused until a row
/// says otherwise.
constexpr Requirement kRequirements[] = {
    // Sizes, and what config.json says.
    {"model.blocks"},
    {"model.width"},
    {"model.heads"},
    {"model.sequence_length"},
    {"model.vocabulary"},
    {"model.ffn_hidden"},
    {"model.tied_head"},
    {"model.dropout.*"},
    // How a model came about.
    {"model.placement*"},
    {"model.norm_kind"},
    {"model.init.*"},
    {"model.z_loss"},
    {"model.sphere_weights"},
    {"model.norm.*.gain_init"},
    {"model.norm.*.trainable"},
    {"model.norm.*.decay"},
    // What GPT-2 has otherwise than the default.
    {"model.head_width",
     [](const ModelConfig& model) { return model.resolved_head_width() * model.heads == model.width; },
     "heads of model.width / model.heads"},
    {"model.attention_scale",
     [](const ModelConfig& model) {
       return model.attention_scale == 0 || model.attention_scale == usual_scale(model);
     },
     "1/sqrt(head_width)"},
    {"model.norm.in.kind", [](const ModelConfig& model) { return is_layernorm(model, model.base.norm.in); },
     "\"layernorm\""},
    {"model.norm.final.kind", [](const ModelConfig& model) { return is_layernorm(model, model.final_norm); },
     "\"layernorm\""},
    {"model.norm.in.epsilon",
     [](const ModelConfig& model) { return model.base.norm.in.epsilon == model.final_norm.epsilon; },
     "one epsilon for all norms, model.norm.final.epsilon"},
    {"model.norm.final.epsilon"},
    {"model.activation",
     [](const ModelConfig& model) { return !gpt2_activation(model.base.activation).empty(); },
     "\"gelu_tanh\", \"gelu\", \"relu\" or \"silu\""},
};

bool matches(std::string_view pattern, std::string_view key) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == key;
  const std::string_view head = pattern.substr(0, star), tail = pattern.substr(star + 1);
  return key.size() >= head.size() + tail.size() && key.starts_with(head) && key.ends_with(tail);
}

const Requirement* requirement_of(std::string_view key) {
  for (const Requirement& row : kRequirements) {
    if (matches(row.keys, key)) return &row;
  }
  return nullptr;
}

/// Empty where GPT-2 has the field's value in `config`, else what it has.
std::string obstacle(const Field& field, const Config& config) {
  const Requirement* row = requirement_of(field.key);
  if (row != nullptr) {
    return row->holds == nullptr || row->holds(config.model) ? std::string() : std::string(row->wanted);
  }
  const std::string wanted = toml_text(field_default(field));
  return toml_text(field_value(field, config)) == wanted ? std::string() : wanted;
}

std::string setting_text(const Field& field, const Config& config) {
  const std::string text = fmt::format("{} = {}", field.key, toml_text(field_value(field, config)));
  return text.ends_with("= \"standard\"") ? fmt::format("{} (\"{}\")", text, config.model.norm_kind) : text;
}

/// One sublayer, with its settings as the base of a configuration.
struct Place {
  std::string kind, text;
  Config config;
};

std::vector<Place> places_of(const Config& config) {
  std::vector<Place> places;
  for (std::int64_t block = 0; block < config.model.blocks; ++block) {
    for (const std::string& kind : config.model.block) {
      Place place{.kind = kind, .text = fmt::format(" in blocks.{}.{}", block, kind), .config = config};
      place.config.model.base = resolved_sublayer(config.model, block, kind);
      places.push_back(std::move(place));
    }
    if (config.model.overrides.empty()) {  // they are all alike
      for (Place& place : places) place.text.clear();
      break;
    }
  }
  return places;
}

void refuse(const std::string& subject, const Field& field, const Config& config, const std::string& place,
            const std::string& wanted) {
  fail_input("{}: {}{}, which GPT-2's code cannot express; it has {}", subject, setting_text(field, config),
             place, wanted);
}

}  // namespace

void check_gpt2_expresses(const Config& config, const std::string& subject) {
  const std::vector<Place> places = places_of(config);
  for (const Field& field : config_fields()) {
    if (!field.key.starts_with("model.")) continue;
    if (!field.sublayer_member) {
      const std::string wanted = obstacle(field, config);
      if (!wanted.empty()) refuse(subject, field, config, "", wanted);
      continue;
    }
    for (const Place& place : places) {
      if (!field.acts_in.empty() && field.acts_in != place.kind) continue;
      const std::string wanted = obstacle(field, place.config);
      if (!wanted.empty()) refuse(subject, field, place.config, place.text, wanted);
    }
  }
  // One function for all blocks.
  for (const Place& place : places) {
    if (place.kind != "ffn" ||
        place.config.model.base.activation == places.back().config.model.base.activation)
      continue;
    refuse(subject, *find_field("model.activation"), place.config, place.text,
           "one activation for all blocks");
  }
}

std::string_view gpt2_activation(std::string_view activation) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kNames = {
      {{"gelu_tanh", "gelu_new"}, {"gelu", "gelu"}, {"relu", "relu"}, {"silu", "silu"}}};
  for (const auto& [ours, theirs] : kNames) {
    if (activation == ours) return theirs;
  }
  return "";
}

}  // namespace plumb
