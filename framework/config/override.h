// [[model.override]] tables: reading them, and which sublayers they cover.
#pragma once

#include <string>

#include "config/config.h"
#include "config/toml_reader.h"

namespace plumb {

/// One table. Types, ranges and keys are checked here; `source` is what messages call its file, "--set" or
/// "placement peri".
OverrideConfig read_override(const TomlValue& table, const std::string& source);

/// True when the override applies to sublayers of this kind in this block.
bool covers(const OverrideConfig& change, std::int64_t blocks, std::int64_t block, const std::string& kind);

/// "file.toml:12", or just the source where there are no lines.
std::string origin_text(const std::string& source, std::int64_t line);

/// "did you mean ..." with the nearest key, for an unknown one.
[[noreturn]] void fail_unknown_key(const std::string& origin, const std::string& key);

}  // namespace plumb
