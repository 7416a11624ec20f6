// Who computes an attention call: our own kernels or the vendor's library.
#pragma once

#include <map>
#include <memory>

#include "backend/loader.h"
#include "backends/cuda/attention_library.h"

namespace plumb::cuda {

/// Remembers its choice for every request and logs it once, with the reason.
class AttentionChooser {
 public:
  AttentionChooser(AttentionChoice wanted, std::unique_ptr<AttentionLibrary> library);

  /// The library when it is to serve the request, null when our own kernels are. Auto takes the library
  /// unless it refuses, or wants a workspace beyond kLargestAutoWorkspace in the backward pass. Error when
  /// the library is wanted and refuses.
  const AttentionLibrary* library_for(const AttentionRequest& request) const;

  /// Deterministic backward passes of a library may store (B,H,T,T), which our own kernels never do.
  static constexpr std::size_t kLargestAutoWorkspace = std::size_t{512} << 20;

 private:
  const AttentionLibrary* choose(const AttentionRequest& request) const;

  AttentionChoice wanted_;
  std::unique_ptr<AttentionLibrary> library_;
  mutable std::map<AttentionRequest, const AttentionLibrary*> chosen_;
};

}  // namespace plumb::cuda
