// Shared by the tests of framework/config: placements and a minimal configuration.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config/load.h"
#include "core/error.h"

namespace plumb {

inline PresetProvider test_presets() {
  return {[](const ModelConfig& model) -> std::optional<PresetSettings> {
            const std::string& name = model.placement;
            if (name == "none") return PresetSettings{};
            if (name == "peri") {
              return PresetSettings{
                  "norm.in.kind = 'standard'\nnorm.out.kind = 'standard'\nnorm.final.kind = 'standard'\n",
                  ""};
            }
            if (name == "scheduled") {
              return PresetSettings{
                  "residual.a = {depth = 'power', depth_exponent = 0.25}\n"
                  "norm.in = {kind = 'standard', epsilon = 1e-6}\n"
                  "[[override]]\nblocks = [0, 0]\nresidual.a.depth_exponent = 0.5\n",
                  ""};
            }
            if (name == "two-halves") {
              return PresetSettings{
                  "residual.b.value = 0.5\n"
                  "[[override]]\nblocks = [0.0, 0.5]\nnorm.in.kind = 'standard'\n"
                  "[[override]]\nblocks = [0.5, 1.0]\nnorm.out.kind = 'standard'\n",
                  ""};
            }
            // Known because keys of theirs say so; model.placement_... is all that these tests look at.
            if (name == "mix-ln" || name == "res-post-norm") return PresetSettings{};
            if (name == "ngpt") {
              return PresetSettings{"sphere_weights = true\n", "optimizer.weight_decay = 0.0\n"};
            }
            return std::nullopt;
          },
          [] {
            return std::vector<std::string>{"none",          "peri", "two-halves", "mix-ln",
                                            "res-post-norm", "ngpt", "scheduled"};
          }};
}

/// What every configuration needs, on three lines, so that text that follows starts at line 4.
inline std::string minimal() {
  return "data.kind = 'markov'\n"
         "training.sequences_per_step = 8\n"
         "\n";
}

inline LoadedConfig load_text(const std::string& text, const std::vector<std::string>& set_overrides = {}) {
  return load_config(std::vector<ConfigSource>{{"configs/x.toml", text}}, set_overrides, test_presets());
}

/// The message of the InputError that loading minimal() and then `text` gives; "" if there is none.
inline std::string error_of(const std::string& text, const std::vector<std::string>& set_overrides = {}) {
  try {
    load_text(minimal() + text, set_overrides);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace plumb
