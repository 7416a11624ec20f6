#include "session.h"

#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "cores.h"
#include "nn/placement.h"

namespace plumb {

Session::Session(double deadline_seconds) : launch_(detect_launch()) {
  configure_logging(LogLevel::Info, launch_.rank, launch_.world);
  communicator_ = make_communicator(launch_, {.deadline = deadline_seconds});
  // Here, where all ranks meet: later one of them may have failed.
  default_thread_count_ = fair_threads(*communicator_, cores_of(allowed_processors()));
}

Session::Session(const Launch& launch, std::unique_ptr<Communicator> communicator)
    : launch_(launch), communicator_(std::move(communicator)) {}

void Session::choose_sum_path(const SumPath& path) {
  if (has_sum_path_ || world() == 1) return;
  has_sum_path_ = true;
  const std::string absence = communicator_->choose_sum_path(path);
  if (!is_first()) return;
  if (!absence.empty()) log_warning("{}: gradients go by messages inside a host, which is slower", absence);
  if (path.rounding && !communicator_->rounds()) {
    log_info(
        "communication.gradient_dtype = \"bf16\" rounds nothing: all ranks share the memory of one host, "
        "where sums stay in fp32");
  }
}

bool Session::all_succeed(const std::function<void()>& body) {
  std::string failure;
  try {
    body();
  } catch (const std::exception& error) {
    failure = error.what();
    if (failure.empty()) failure = "unknown error";
  }
  const std::vector<RankFailure> failures = agree_on_failure(*communicator_, failure);
  if (failures.empty()) return true;
  if (is_first()) log_error("{}", failure_line(failures, *communicator_));
  return false;
}

bool Session::require_one_rank(const char* command) {
  return all_succeed([&] {
    if (world() > 1) fail_input("{} runs on one rank: start it without mpirun", command);
  });
}

std::string Session::from_first(const std::function<std::string()>& body) {
  std::string text, failure;
  if (is_first()) {
    try {
      text = body();
    } catch (const std::exception& error) {
      failure = error.what();
    }
  }
  failure = broadcast_text(*communicator_, failure);
  if (!failure.empty()) throw InputError(failure);
  return broadcast_text(*communicator_, text);
}

std::vector<ConfigSource> Session::read_config(const std::vector<std::string>& files) {
  std::vector<ConfigSource> sources;
  from_first([&] {
    sources = read_sources({files.begin(), files.end()});
    return std::string();
  });
  sources.resize(files.size());
  for (ConfigSource& source : sources) {
    source.name = broadcast_text(*communicator_, source.name);
    source.text = broadcast_text(*communicator_, source.text);
  }
  return sources;
}

SumPath sum_path(const CommunicationConfig& communication) {
  return {.shared_memory = communication.shared_memory, .rounding = communication.gradient_dtype == "bf16"};
}

std::string broadcast_text(Communicator& communicator, const std::string& text) {
  std::int64_t bytes = static_cast<std::int64_t>(text.size());
  communicator.broadcast("text length", Tensor(&bytes, DType::Int64, {1}), 0);
  if (bytes == 0) return "";
  std::vector<std::int64_t> words(static_cast<std::size_t>(bytes + 7) / 8);
  if (communicator.rank() == 0) std::memcpy(words.data(), text.data(), text.size());
  communicator.broadcast("text",
                         Tensor(words.data(), DType::Int64, {static_cast<std::int64_t>(words.size())}), 0);
  return std::string(reinterpret_cast<const char*>(words.data()), static_cast<std::size_t>(bytes));
}

int leave_after_error(int status) {
  abort_all_ranks(status);
  return status;
}

PresetProvider placement_presets() { return {placement_settings, placement_names}; }

}  // namespace plumb
