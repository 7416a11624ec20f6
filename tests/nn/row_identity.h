// Rows and their sublayers, for the tests of the identities that rows name.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "nn/placed_config.h"
#include "nn/tiny_model.h"

namespace plumb::test {

/// The numbers in a row's text: "I1, I11" -> {"I1", "I11"}.
inline std::set<std::string> identities_of(const Placement& row) {
  std::set<std::string> out;
  std::string word;
  for (const char letter : std::string(row.identities) + ",") {
    const bool ends = letter == ',' || letter == ' ';
    if (!ends) word += letter;
    if (!ends || word.empty()) continue;
    out.insert(word);
    word.clear();
  }
  return out;
}

inline std::vector<std::string> rows_naming(const std::string& identity) {
  std::vector<std::string> names;
  for (const Placement& row : placements()) {
    if (identities_of(row).contains(identity)) names.emplace_back(row.name);
  }
  return names;
}

inline std::string row_test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

/// Six blocks, so that res-post-norm has its extra norm. Branches of size 1, whatever the row's own init.
inline ModelConfig row_config(const std::string& row) {
  return load_placed(row, {"model.blocks=6", "model.width=12", "model.heads=2", "model.sequence_length=5",
                           "model.init.kind=gpt2", "model.init.standard_deviation=0.3",
                           "model.init.embedding=normal", "model.init.embedding_standard_deviation=0.7"})
      .config.model;
}

/// One sublayer of a model as its row leaves it.
struct Place {
  std::int64_t block;
  std::string kind, name;
  SublayerConfig config;
  bool has_out, has_post;
};

inline std::vector<Place> places_of(const ModelConfig& config) {
  std::vector<Place> places;
  for (std::int64_t block = 0; block < config.blocks; ++block) {
    for (const std::string& kind : config.block) {
      const SublayerConfig sublayer = resolved_sublayer(config, block, kind);
      const auto present = [&](const NormConfig& norm) {
        return norm_kind_from_name(norm.kind, config.norm_kind) != NormKind::None;
      };
      const auto k = static_cast<std::int64_t>(places.size());
      places.push_back({block, kind, sublayer_name(config, k), sublayer, present(sublayer.norm.out),
                        present(sublayer.norm.post)});
    }
  }
  return places;
}

/// After everything that the row itself says: at one place, or everywhere.
inline void change(ModelConfig& config, const std::string& key, const std::string& value,
                   const Place* place = nullptr) {
  OverrideConfig change;
  if (place != nullptr) {
    change.blocks = {static_cast<double>(place->block), static_cast<double>(place->block)};
    change.sublayer = place->kind;
  }
  change.settings = {{key, value}};
  config.overrides.push_back(change);
}
inline std::string number(double value) { return fmt::format("{:#.17g}", value); }

inline const KnobConfig& knob_of(const Place& place, char knob) {
  const SublayerKnobs& knobs = place.config.residual;
  return knob == 'a' ? knobs.a : knob == 'b' ? knobs.b : knobs.e;
}
inline bool is_trained(const KnobConfig& knob) { return knob.trainable != "none"; }
/// The name of its trained parameter.
inline std::string knob_name(const Place& place, char knob) {
  if (knob_of(place, knob).per_block) return fmt::format("blocks.{}.{}", place.block, knob);
  return fmt::format("{}.{}", place.name, knob);
}

/// What is stored is the coefficient itself.
inline void expect_plain(const KnobConfig& knob) {
  EXPECT_EQ(knob.storage, "value");
  EXPECT_EQ(knob.transform, "identity");
  EXPECT_EQ(knob.time, "constant");
  EXPECT_EQ(knob.keep_probability, 1);
  EXPECT_FALSE(knob.tie_to_branch);
}

inline std::vector<double> values_of(const Parameter& parameter) {
  const double* data = TinyModel::value(parameter);
  return {data, data + parameter.shape.elements()};
}
inline void scale(const Parameter& parameter, double factor) {
  for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) TinyModel::value(parameter)[i] *= factor;
}
inline void fill(const Parameter& parameter, double value) {
  std::fill_n(TinyModel::value(parameter), parameter.shape.elements(), value);
}

/// The matrix that a branch ends in, and its bias if it has one.
inline std::vector<Parameter*> last_matrix(TinyModel& model, const Place& place) {
  const std::string name = place.name + (place.kind == "attention" ? ".projection" : ".contract");
  std::vector<Parameter*> out = {&model.parameter(name + ".weight")};
  if (Parameter* bias = model.engine().parameters().find(name + ".bias")) out.push_back(bias);
  return out;
}

}  // namespace plumb::test
