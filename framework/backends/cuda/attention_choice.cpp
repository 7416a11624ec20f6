#include "backends/cuda/attention_choice.h"

#include <utility>

#include "core/error.h"
#include "core/log.h"

namespace plumb::cuda {
namespace {

/// Why Auto does not take the library, empty when it does.
std::string objection(const AttentionLibrary& library, const AttentionRequest& request) {
  const std::string refusal = library.refusal(request);
  if (!refusal.empty()) return fmt::format("{} is refused: {}", library.name(), refusal);
  const std::size_t bytes = library.workspace(request);
  if (bytes <= AttentionChooser::kLargestAutoWorkspace) return "";
  return fmt::format("{} would take {} MiB of workspace, more than {}", library.name(), bytes >> 20,
                     AttentionChooser::kLargestAutoWorkspace >> 20);
}

}  // namespace

AttentionChooser::AttentionChooser(AttentionChoice wanted, std::unique_ptr<AttentionLibrary> library)
    : wanted_(wanted), library_(std::move(library)) {}

const AttentionLibrary* AttentionChooser::library_for(const AttentionRequest& request) const {
  const auto known = chosen_.find(request);
  if (known != chosen_.end()) return known->second;
  const AttentionLibrary* library = choose(request);
  chosen_.emplace(request, library);
  return library;
}

const AttentionLibrary* AttentionChooser::choose(const AttentionRequest& request) const {
  if (wanted_ == AttentionChoice::Own) {
    log_info("{}: own kernels, as asked for", to_string(request));
    return nullptr;
  }
  if (wanted_ == AttentionChoice::Library) {
    const std::string refusal = library_->refusal(request);
    if (!refusal.empty()) {
      fail("compute.attention = \"library\", but {} does not take {}: {}", library_->name(),
           to_string(request), refusal);
    }
  } else if (const std::string reason = objection(*library_, request); !reason.empty()) {
    log_info("{}: own kernels; {}", to_string(request), reason);
    return nullptr;
  }
  log_info("{}: {}, {}", to_string(request), library_->name(), library_->plan(request));
  return library_.get();
}

}  // namespace plumb::cuda
