// What `plumb doctor` found: each finding with its fix.
#pragma once

#include <string>

namespace plumb {

enum class Grade { Good, Note, Problem };

struct Finding {
  Grade verdict = Grade::Good;
  std::string subject;  ///< "NCCL"
  std::string text;     ///< one line
  std::string fix;      ///< what to do; empty = nothing
};

}  // namespace plumb
