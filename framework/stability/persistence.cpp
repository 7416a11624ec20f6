#include "stability/persistence.h"

#include <cmath>

namespace plumb {

double persistence_limit(double series) { return 12 + std::log(series); }

}  // namespace plumb
