// Joins the ranks' parts of a trace into one file.
#pragma once

#include <filesystem>
#include <vector>

namespace plumb {

struct MergedTrace {
  std::filesystem::path path;  ///< RUN/trace.json
  int world = 0;
  std::vector<int> missing{};  ///< ranks whose parts are not in the folder
};

/// Joins the parts in RUN/trace, as many as there are, a line at a time. InputError where there is none, or
/// one that is not whole or of another run.
MergedTrace merge_traces(const std::filesystem::path& run);

}  // namespace plumb
