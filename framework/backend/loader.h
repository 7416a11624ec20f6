// Makes the backend that the configuration names.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace plumb {

/// Names that make_backend knows in this build: "reference", "cpu".
std::vector<std::string> backend_names();

/// "auto" takes the best that this machine has (cpu today). A name that is known but absent here, or unknown,
/// is an InputError that says what is missing and what is there. So is a processor without the instruction
/// sets that this build is made for, whatever the name.
std::unique_ptr<Backend> make_backend(const std::string& name);

}  // namespace plumb
