// What a backend in a shared library looks like to the loader. Program and plug-in come from one build: C++
// types and exceptions pass between them.
#pragma once

#include "backend/loader.h"
#include "core/error.h"

namespace plumb {

/// Changes with Backend, BackendOptions or PluginRequest.
inline constexpr int kPluginAbi = 5;

struct PluginRequest {
  const char* name;  ///< the backend asked for
  BackendOptions options;
  ProcessIdentity identity;
};

/// The plug-in's one symbol, `plumb_make_backend`. The caller owns the Backend; throws Error.
using MakeBackend = Backend*(int abi, const PluginRequest* request);
inline constexpr const char* kMakeBackendSymbol = "plumb_make_backend";

}  // namespace plumb
