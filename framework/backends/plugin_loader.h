// Finds and opens backends that are shared libraries.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "backend/loader.h"

namespace plumb {

/// Where libplumb_<stem>.so is: in $PLUMB_PLUGIN_DIR, beside the program, in ../lib/plumb beside the
/// program's folder, or in the build tree that made this program. Nothing when it is in none of them.
std::optional<std::filesystem::path> find_plugin(const std::string& stem);

/// Opens it and makes its backend `name`. Error when it cannot be opened (the dynamic linker's own words).
std::unique_ptr<Backend> make_plugin_backend(const std::filesystem::path& library, const char* name,
                                             const BackendOptions& options);

}  // namespace plumb
