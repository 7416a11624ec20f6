// Session: this process among the ranks of a job, and how all ranks start and fail together.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/bootstrap.h"
#include "config/load.h"
#include "core/error.h"

namespace plumb {

class Session {
 public:
  /// Joins the launch that the environment describes and sets up logging: rank 0 speaks.
  explicit Session(double deadline_seconds = Communicator::kDefaultDeadline);

  /// A session of that communicator, whose ranks may be planned ones (comm/planned_communicator.h). Neither
  /// logging nor threads are touched.
  Session(const Launch& launch, std::unique_ptr<Communicator> communicator);

  const Launch& launch() const { return launch_; }
  Communicator& communicator() { return *communicator_; }
  int rank() const { return communicator_->rank(); }
  int world() const { return communicator_->world(); }
  bool is_first() const { return rank() == 0; }
  /// Threads for this rank when the configuration leaves it open: the cores that it may run on, of which
  /// those that other ranks of the host may run on too are shared out evenly (fair_threads in cores.h).
  int default_thread_count() const { return default_thread_count_; }

  /// Communicator::choose_sum_path, the first time; later calls do nothing. Rank 0 says where the path is not
  /// as asked for. A collective.
  void choose_sum_path(const SumPath& path);

  /// Runs the body on every rank; true when it succeeded on all. When it failed (InputError or Error) on any,
  /// rank 0 prints one line, and every rank gets false and is to leave with status 2.
  bool all_succeed(const std::function<void()>& body);
  /// all_succeed() of a check that there is one rank; `command` is what the message calls the program.
  bool require_one_rank(const char* command);
  /// Rank 0 runs the body; every rank gets its text. A failure of the body is an InputError on every rank
  /// alike. A collective.
  std::string from_first(const std::function<std::string()>& body);
  /// Rank 0 reads the files; every rank gets their texts. A file that cannot be read is an InputError on
  /// every rank alike. A collective.
  std::vector<ConfigSource> read_config(const std::vector<std::string>& files);

 private:
  Launch launch_;
  std::unique_ptr<Communicator> communicator_;
  int default_thread_count_ = 1;
  bool has_sum_path_ = false;
};

SumPath sum_path(const CommunicationConfig& communication);

/// Every rank ends with rank 0's text.
std::string broadcast_text(Communicator& communicator, const std::string& text);

/// For main() after an error that other ranks may not know of: ends them too; returns the status.
int leave_after_error(int status);

/// The rows of nn/placement.h as load_config asks for them.
PresetProvider placement_presets();

}  // namespace plumb
