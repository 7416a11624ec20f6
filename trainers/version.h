// What was built: for --version, the manifest and `plumb doctor`.
#pragma once

#include <string>

namespace plumb {

/// "0.1.0".
std::string version_number();
/// Revision of the source tree at build time, "unknown" outside a checkout.
std::string git_revision();
/// "GNU 12.2.0, Release".
std::string build_description();
/// Several lines for --version.
std::string version_text();

}  // namespace plumb
