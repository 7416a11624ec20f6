#include "data/token_source.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "data/permutation.h"
#include "data/random_sites.h"

namespace plumb {
namespace {
void check_arguments(const TokenFile* file, int vocabulary, std::int64_t sequence_length) {
  PLUMB_CHECK(file != nullptr && sequence_length >= 1, "a token file and sequences of {} tokens",
              sequence_length);
  if (vocabulary < 1 || vocabulary > 65536) {
    fail_input("a vocabulary of {} tokens: 16-bit token files hold 1 to 65536 of them", vocabulary);
  }
}

/// inputs = tokens[start ..], targets = tokens[start + 1 ..].
void copy_window(const TokenFile& file, int vocabulary, std::uint64_t start, std::span<std::int32_t> inputs,
                 std::span<std::int32_t> targets) {
  const auto window = file.tokens().subspan(start, inputs.size() + 1);
  std::int32_t largest = window.back();
  for (std::size_t t = 0; t < inputs.size(); ++t) {
    inputs[t] = window[t];
    targets[t] = window[t + 1];
    largest = std::max(largest, inputs[t]);
  }
  if (largest >= vocabulary) file.check_vocabulary(vocabulary);  // throws, and says where
}
}  // namespace

TokenSource::TokenSource(std::shared_ptr<const TokenFile> file, int vocabulary, std::int64_t sequence_length,
                         std::uint64_t seed)
    : file_(std::move(file)), vocabulary_(vocabulary), sequence_length_(sequence_length), seed_(seed) {
  check_arguments(file_.get(), vocabulary, sequence_length);
  const std::uint64_t tokens = file_->tokens().size();
  const auto length = static_cast<std::uint64_t>(sequence_length);
  if (tokens < length + 1) {
    fail_input("token file {} has {} tokens, a training sequence needs {} (sequence length {} and one more)",
               file_->path().string(), tokens, length + 1, length);
  }
  // One window fewer than fits at offset 0 leaves room for every offset below T.
  windows_ = std::max<std::uint64_t>(1, (tokens - length) / length);
  offsets_ = std::min(length, tokens - windows_ * length);
}

std::uint64_t TokenSource::window_start(std::uint64_t sequence) const {
  const std::uint64_t epoch = sequence / windows_;
  const auto words = RandomStream{seed_, 0, kWindowOffsetSite}.block(epoch);
  const std::uint64_t offset = uniform_below(offsets_, words[0], words[1]);
  const KeyedPermutation order(windows_, {seed_, static_cast<std::uint32_t>(epoch), kWindowOrderSite});
  return offset + order(sequence % windows_) * static_cast<std::uint64_t>(sequence_length_);
}

void TokenSource::fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
                       std::span<std::int32_t> targets) const {
  copy_window(*file_, vocabulary_, window_start(sequence), inputs, targets);
}

ValidationSource::ValidationSource(std::shared_ptr<const TokenFile> file, int vocabulary,
                                   std::int64_t sequence_length)
    : file_(std::move(file)), vocabulary_(vocabulary), sequence_length_(sequence_length) {
  check_arguments(file_.get(), vocabulary, sequence_length);
  if (file_->tokens().size() < 2) {
    fail_input("token file {} has 1 token; validation needs at least 2", file_->path().string());
  }
  const auto length = static_cast<std::uint64_t>(sequence_length);
  sequences_ = (total_targets() + length - 1) / length;
}

void ValidationSource::fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
                            std::span<std::int32_t> targets) const {
  std::fill(targets.begin(), targets.end(), kNoTarget);
  if (sequence >= sequences_) {
    std::fill(inputs.begin(), inputs.end(), 0);
    return;
  }
  const auto length = static_cast<std::uint64_t>(sequence_length_);
  const std::uint64_t first = sequence * length;  // position of the first input whose target is new
  const std::uint64_t last_start = total_targets() >= length ? total_targets() - length : 0;
  const std::uint64_t start = std::min(first, last_start);
  const auto used = static_cast<std::size_t>(std::min(length, total_targets() - start));
  copy_window(*file_, vocabulary_, start, inputs.first(used), targets.first(used));
  std::fill_n(targets.begin(), first - start, kNoTarget);
  std::fill(inputs.begin() + static_cast<std::ptrdiff_t>(used), inputs.end(), 0);
}

}  // namespace plumb
