// Checks that involve several keys; each key by itself was checked when it was read (schema.h).
#pragma once

#include "config/load.h"
#include "core/error.h"

namespace plumb {

/// Throws InputError of one line that names the keys, where they were set, and what would be valid. Fills
/// loaded.warnings. Included: a key that was set to something but that nothing reads.
void validate(LoadedConfig& loaded);

namespace detail {
/// The part about the model as a whole: streams, sphere weights, init, the optimiser's depth scaling.
void validate_combinations(const LoadedConfig& loaded);
/// The part about sublayers: tied and scheduled knobs, the ranges of overrides.
void validate_sublayers(const LoadedConfig& loaded);
/// Where a key under model was set as a sublayer has it: the last override that covers the sublayer and sets
/// the key, else the base's.
std::string origin_in_sublayer(const LoadedConfig& loaded, const std::string& key, std::int64_t block,
                               const std::string& kind);
/// Ramps without a length, lists of the wrong one and the like, of model.<name>.
void check_ramp(const KnobConfig& knob, const std::string& name, const std::string& origin);
/// Takes out what a placement's row sets and the user's own settings leave unread: model.placement =
/// "deepnorm" with model.residual.a.depth = "constant" has no use for the row's exponent.
void drop_displaced(LoadedConfig& loaded);
/// The same for the norm of a second stream that the user has unset.
void drop_displaced_streams(LoadedConfig& loaded);
/// Keys that are not at their default while the key they depend on says that they are not read.
void validate_all_read(const LoadedConfig& loaded);
}  // namespace detail

}  // namespace plumb
