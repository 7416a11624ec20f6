// Tables of rows with a name each.
#pragma once

#include <string_view>
#include <vector>

#include "core/error.h"

namespace plumb {

/// The row of that name; `what` is what messages call it.
template <class Row>
const Row& row_named(const std::vector<Row>& rows, std::string_view name, const char* what) {
  for (const Row& row : rows) {
    if (row.name == name) return row;
  }
  fail("unknown {} '{}'", what, name);
}

}  // namespace plumb
