// plumb placements: the rows of framework/nn/placement_rows.cpp, and what follows from one at a depth.
#include <fmt/format.h>

#include <cstdio>

#include "commands.h"
#include "config/nearest.h"
#include "core/error.h"
#include "nn/placement.h"
#include "placement_text.h"
#include "session.h"

namespace plumb {

int run_placements(const PlacementsOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb placements")) return 2;
  if (options.name.empty()) {
    fmt::print("{}", options.json ? placement_table_json() : placement_table_text());
    return 0;
  }
  const Placement* row = find_placement(options.name);
  if (row == nullptr) {
    fail_input("placement '{}' is unknown; did you mean '{}'? known: {}", options.name,
               nearest_word(options.name, placement_names()), fmt::join(placement_names(), ", "));
  }
  const PlacementDescription description = describe_placement(*row, {.layers = options.layers});
  fmt::print("{}", options.json ? placement_json(description) : placement_text(description));
  return 0;
}

}  // namespace plumb
