#include "comm/stall_notes.h"

#include <algorithm>

namespace plumb {

CollectiveName::CollectiveName(std::string_view name) {
  std::copy_n(name.begin(), std::min(name.size(), text.size() - 1), text.begin());
}

}  // namespace plumb
