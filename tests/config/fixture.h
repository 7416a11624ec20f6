// Shared by the tests of framework/config: three placements and a minimal configuration.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config/load.h"
#include "core/error.h"

namespace plumb {

inline PresetProvider test_presets() {
  return {[](const std::string& name) -> std::optional<std::string> {
            if (name == "none") return "";
            if (name == "peri") {
              return "norm.in.kind = 'standard'\nnorm.out.kind = 'standard'\nnorm.final.kind = 'standard'\n";
            }
            if (name == "two-halves") {
              return "residual.b.value = 0.5\n"
                     "[[override]]\nblocks = [0.0, 0.5]\nnorm.in.kind = 'standard'\n"
                     "[[override]]\nblocks = [0.5, 1.0]\nnorm.out.kind = 'standard'\n";
            }
            return std::nullopt;
          },
          [] {
            return std::vector<std::string>{"none", "peri", "two-halves"};
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
