#pragma once

// Compiled once per build, for every library (plumb_library): what most sources include and takes seconds to
// read. Sources still include what they use: a build with PLUMB_PRECOMPILED_HEADERS=OFF has none of this.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
