// What the configuration and the launch say to the backend.
#pragma once

#include "backend/loader.h"
#include "comm/bootstrap.h"
#include "config/config.h"

namespace plumb {

BackendOptions backend_options(const ComputeConfig& compute, const Launch& launch);

}  // namespace plumb
