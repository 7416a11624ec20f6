// What the program under test asks of the file system. Linking system_calls.cpp puts recorders in the place
// of the C library's fsync and rename; both still do their work.
#pragma once

#include <string>
#include <vector>

namespace plumb::testing {

/// Records while it lives; one at a time.
class SystemCalls {
 public:
  SystemCalls();
  ~SystemCalls();
  SystemCalls(const SystemCalls&) = delete;
  SystemCalls& operator=(const SystemCalls&) = delete;

  /// "sync <path>" and "rename <from> <to>" in order, with paths below `folder` relative to it.
  std::vector<std::string> since_start(const std::string& folder) const;
  /// The rename number `index` from now, counted from 0, fails with "Input/output error".
  void fail_rename(int index);
};

}  // namespace plumb::testing
