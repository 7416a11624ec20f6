// Documentation generated from the schema.
#pragma once

#include <string>

namespace plumb {

/// docs/config.md.
std::string config_reference_markdown();
/// A short text for --help: every key on a line with its default, families of keys once.
std::string config_help_text();

}  // namespace plumb
