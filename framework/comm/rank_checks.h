// What all ranks must have in common, or must not, before they train together. Each check is a collective
// over the host's communicator, and fails on all ranks alike.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/error.h"

namespace plumb {

/// What two ranks must have in common before they train one model.
struct ModelHash {
  std::uint64_t tensors = 0;  ///< names, shapes and dtypes, in order
  std::uint64_t values = 0;   ///< every value, bit by bit
};

/// InputError when two ranks have the same device; `identity` is DeviceFacts::identity, empty for devices
/// that ranks may share.
void check_devices_differ(Communicator& communicator, const std::string& identity);

/// Compares settings of NCCL, "NAME=value" each, in any order. InputError when a variable that all ranks must
/// have alike is not the same on all: one line with the name, the values, a rank with its host for each.
/// Returns such lines of variables that name a thing of one host (an interface, a file), which may differ.
std::vector<std::string> check_settings_agree(Communicator& communicator,
                                              const std::vector<std::string>& own);

/// Error naming the ranks whose model is not that of most ranks (of rank 0's, where there is no majority).
void check_models_agree(Communicator& communicator, const ModelHash& own);

}  // namespace plumb
