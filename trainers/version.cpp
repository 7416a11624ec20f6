#include "version.h"

#include <fmt/format.h>

#include "core/error.h"
#include "revision.h"

namespace plumb {

std::string version_number() { return PLUMB_VERSION; }

std::string git_revision() { return PLUMB_GIT_REVISION; }

std::string build_description() { return PLUMB_BUILD; }

std::string version_text() {
  return fmt::format("plumb {} (revision {}; {})", version_number(), git_revision(), build_description());
}

}  // namespace plumb
