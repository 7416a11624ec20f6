// Checks that involve several keys; each key by itself was checked when it was read (schema.h).
#pragma once

#include "config/load.h"

namespace plumb {

/// Throws InputError of one line that names the keys, where they were set, and what would be valid. Fills
/// loaded.warnings. Included: a key that was set to something but that nothing reads.
void validate(LoadedConfig& loaded);

namespace detail {
/// The part about sublayers: tied and scheduled knobs, the ranges of overrides.
void validate_sublayers(const LoadedConfig& loaded);
/// Keys that are not at their default while the key they depend on says that they are not read.
void validate_all_read(const LoadedConfig& loaded);
}  // namespace detail

}  // namespace plumb
