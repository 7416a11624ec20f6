#include "comm/host_sums.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <type_traits>
#include <utility>

#include "comm/sum_shares.h"
#include "core/error.h"

namespace plumb {
namespace {
constexpr std::size_t kCacheLine = 64;

/// A count that other processes read; alone in its cache line.
struct alignas(kCacheLine) Count {
  std::uint64_t value = 0;
};
static_assert(std::atomic_ref<std::uint64_t>::is_always_lock_free, "ranks are not in one process");

std::size_t bytes_of(const Tensor& tensor, std::int64_t elements) {
  return static_cast<std::size_t>(elements) * size_of(tensor.dtype);
}
}  // namespace

/// What a rank shows to the others of its host. Zero bytes are its start.
struct HostSums::Segment {
  Count counts[kStages];
  alignas(kCacheLine) Label labels[kAhead];
  alignas(kCacheLine) std::byte slots[kSlots][kCopiedBytes];
};

std::size_t HostSums::segment_bytes() { return sizeof(Segment); }

HostSums::HostSums(HostGroup group, std::vector<std::byte*> segments, std::unique_ptr<HostExchange> exchange)
    : group_(std::move(group)), segments_(std::move(segments)), exchange_(std::move(exchange)) {
  static_assert(std::is_trivially_copyable_v<Segment>);
  PLUMB_CHECK(segments_.size() == group_.ranks.size() && group_.self >= 0 && group_.self < size() &&
                  group_.sharers >= 1 && group_.sharers <= size(),
              "a host of {} ranks with {} segments, of which {} share the work", size(), segments_.size(),
              group_.sharers);
  sources_.resize(group_.ranks.size());
  targets_.reserve(group_.ranks.size());
  reserve(1);
}

void HostSums::add_memory(std::vector<std::byte*> of_ranks, std::size_t bytes) {
  PLUMB_CHECK(of_ranks.size() == group_.ranks.size(), "memory of {} ranks of {}", of_ranks.size(), size());
  memories_.push_back({std::move(of_ranks), bytes, ++numbered_memories_});
}

void HostSums::remove_memory(const std::byte* own) {
  const auto self = static_cast<std::size_t>(group_.self);
  std::erase_if(memories_, [&](const Memory& memory) { return memory.of_ranks[self] == own; });
}

const HostSums::Memory* HostSums::memory_of(const Tensor& tensor) const {
  const auto* begin = static_cast<const std::byte*>(tensor.data);
  for (const Memory& memory : memories_) {
    const std::byte* own = memory.of_ranks[static_cast<std::size_t>(group_.self)];
    if (begin >= own && begin + tensor.bytes() <= own + memory.bytes) return &memory;
  }
  return nullptr;
}

void HostSums::reserve(int sums) {
  PLUMB_CHECK(finished() == started_, "room for sums is made while none is outstanding");
  if (static_cast<std::size_t>(sums) > works_.size()) works_.resize(static_cast<std::size_t>(sums));
  for (Work& work : works_) work.of_ranks.resize(group_.ranks.size());
}

std::uint64_t HostSums::start(const HostSum& sum) {
  PLUMB_CHECK(started_ - finished() < works_.size(), "more than {} sums at a time", works_.size());
  Work& next = work(started_);
  next.sum = sum;
  const Memory* memory = memory_of(sum.tensor);
  next.is_shared = memory != nullptr || size() == 1;
  next.label = {.number = sum.number,
                .elements = sum.tensor.elements(),
                .dtype = sum.tensor.dtype,
                .rounded = sum.rounded,
                .name = sum.name};
  if (memory != nullptr) {
    const auto self = static_cast<std::size_t>(group_.self);
    const std::ptrdiff_t offset = static_cast<std::byte*>(sum.tensor.data) - memory->of_ranks[self];
    next.label.memory = memory->number;
    next.label.offset = offset;
    std::transform(memory->of_ranks.begin(), memory->of_ranks.end(), next.of_ranks.begin(),
                   [&](std::byte* base) { return base + offset; });
  } else {
    next.of_ranks.assign(group_.ranks.size(), static_cast<std::byte*>(sum.tensor.data));
  }
  // As large on every host, also where a rank is alone and nothing is copied.
  const bool is_copied_somewhere = memory == nullptr && group_.largest > 1;
  const std::int64_t bytes = !is_copied_somewhere ? kShareBytes * group_.sharers : kCopiedBytes;
  next.piece = bytes / static_cast<std::int64_t>(size_of(sum.tensor.dtype));
  next.pieces = (sum.tensor.elements() + next.piece - 1) / next.piece;
  return ++started_;
}

std::int64_t HostSums::pieces_done(std::uint64_t place) const {
  const std::uint64_t sum = place - 1;
  return sum < taken_.sum ? work(sum).pieces : sum == taken_.sum ? taken_.piece : 0;
}

HostSums::Segment& HostSums::segment(int rank) const {
  return *reinterpret_cast<Segment*>(segments_[static_cast<std::size_t>(rank)]);
}

std::byte* HostSums::slot_of(int rank, const Cursor& cursor) const {
  return segment(rank).slots[cursor.count % kSlots];
}

void HostSums::step(Cursor& cursor) const {
  ++cursor.count;
  if (++cursor.piece < work(cursor.sum).pieces) return;
  cursor.piece = 0;
  ++cursor.sum;
}

void HostSums::publish(Stage stage, const Cursor& cursor) {
  std::atomic_ref(segment(group_.self).counts[stage].value).store(cursor.count, std::memory_order_release);
}

bool HostSums::all_beyond(Stage stage, std::uint64_t count) {
  if (known_[stage] > count) return true;
  std::uint64_t least = UINT64_MAX;
  for (int rank = 0; rank < size(); ++rank) {
    least =
        std::min(least, std::atomic_ref(segment(rank).counts[stage].value).load(std::memory_order_acquire));
    if (least <= count) return false;
  }
  known_[stage] = least;
  return true;
}

HostSums::Range HostSums::piece_of(const Work& work, const Cursor& cursor) const {
  const std::int64_t begin = cursor.piece * work.piece;
  return {begin, std::min(begin + work.piece, work.sum.tensor.elements())};
}

/// Whole cache lines, so that ranks do not write into the same one.
HostSums::Range HostSums::share_of(const Work& work, const Cursor& cursor, int rank) const {
  const Range piece = piece_of(work, cursor);
  if (rank >= group_.sharers) return {piece.end, piece.end};
  const auto line = static_cast<std::int64_t>(kCacheLine / size_of(work.sum.tensor.dtype));
  const std::int64_t lines = (piece.count() + line - 1) / line;
  const std::int64_t share = (lines + group_.sharers - 1) / group_.sharers * line;
  const std::int64_t begin = std::min(piece.end, piece.begin + rank * share);
  return {begin, std::min(piece.end, begin + share)};
}

std::byte* HostSums::own_elements(const Work& work, std::int64_t element) const {
  return static_cast<std::byte*>(work.sum.tensor.data) + bytes_of(work.sum.tensor, element);
}

/// Where the elements of the tensor of a rank of the group are from `element` on: in its tensor, or in its
/// slot.
std::byte* HostSums::elements_of(int rank, const Work& work, const Cursor& cursor,
                                 std::int64_t element) const {
  if (work.is_shared)
    return work.of_ranks[static_cast<std::size_t>(rank)] + bytes_of(work.sum.tensor, element);
  return slot_of(rank, cursor) + bytes_of(work.sum.tensor, element - piece_of(work, cursor).begin);
}

void HostSums::copy_in(const Work& work) {
  const Range piece = piece_of(work, offered_), share = share_of(work, offered_, group_.self);
  for (const Range part : {Range{piece.begin, share.begin}, Range{share.end, piece.end}}) {
    std::memcpy(elements_of(group_.self, work, offered_, part.begin), own_elements(work, part.begin),
                bytes_of(work.sum.tensor, part.count()));
  }
}

void HostSums::copy_out(const Work& work) {
  for (int rank = 0; rank < group_.sharers; ++rank) {
    if (rank == group_.self) continue;
    const Range share = share_of(work, taken_, rank);
    std::memcpy(own_elements(work, share.begin), elements_of(rank, work, taken_, share.begin),
                bytes_of(work.sum.tensor, share.count()));
  }
}

/// Its label, and the slot if it takes one, are free.
bool HostSums::may_offer(const Work& work) {
  const std::uint64_t ahead = work.is_shared ? kAhead : kSlots;
  return offered_.count < ahead || all_beyond(kTaken, offered_.count - ahead);
}

bool HostSums::offer() {
  bool moved = false;
  while (offered_.sum < started_ && may_offer(work(offered_.sum))) {
    const Work& next = work(offered_.sum);
    if (!next.is_shared) copy_in(next);
    segment(group_.self).labels[offered_.count % kAhead] = next.label;
    step(offered_);
    publish(kOffered, offered_);
    moved = true;
  }
  return moved;
}

bool HostSums::add() {
  bool moved = false;
  while (added_.count < offered_.count && all_beyond(kOffered, added_.count)) {
    if (exchange_ && added_.count - settled_.count == kExchanges) break;
    const Work& next = work(added_.sum);
    check_labels(next);
    const Range share = share_of(next, added_, group_.self);
    if (share.count() > 0) {
      add_share(next, share);
      if (exchange_) {
        const Tensor mine(own_elements(next, share.begin), next.sum.tensor.dtype, {share.count()});
        exchange_->start(static_cast<int>(added_.count % kExchanges), mine, next.sum.rounded,
                         next.sum.name.view());
      }
    }
    step(added_);
    moved = true;
  }
  return moved;
}

/// With one host the sum goes to all at once; otherwise to this rank's tensor, where it is exchanged.
void HostSums::add_share(const Work& work, const Range& share) {
  if (size() == 1) return;
  const auto self = static_cast<std::size_t>(group_.self);
  for (int rank = 0; rank < size(); ++rank)
    sources_[static_cast<std::size_t>(rank)] = elements_of(rank, work, added_, share.begin);
  sources_[self] = own_elements(work, share.begin);
  targets_.clear();
  targets_.push_back(own_elements(work, share.begin));
  if (!exchange_ && !work.is_shared) targets_.push_back(elements_of(group_.self, work, added_, share.begin));
  if (!exchange_ && work.is_shared) {
    for (int rank = 0; rank < size(); ++rank)
      if (rank != group_.self) targets_.push_back(elements_of(rank, work, added_, share.begin));
  }
  sum_in_order(sources_, targets_, share.count(), work.sum.tensor.dtype);
}

bool HostSums::settle() {
  bool moved = false;
  while (settled_.count < added_.count) {
    const Work& next = work(settled_.sum);
    const Range share = share_of(next, settled_, group_.self);
    if (exchange_ && share.count() > 0) {
      if (!exchange_->finished(static_cast<int>(settled_.count % kExchanges))) break;
      hand_out(next, settled_, share);
    }
    step(settled_);
    publish(kSettled, settled_);
    moved = true;
  }
  return moved;
}

void HostSums::hand_out(const Work& work, const Cursor& cursor, const Range& share) {
  if (size() == 1) return;
  for (int rank = 0; rank < size(); ++rank) {
    // Into the tensors of the others, or into this rank's slot, from which they take it.
    if (work.is_shared == (rank == group_.self)) continue;
    std::memcpy(elements_of(rank, work, cursor, share.begin), own_elements(work, share.begin),
                bytes_of(work.sum.tensor, share.count()));
  }
}

bool HostSums::take() {
  bool moved = false;
  while (taken_.count < settled_.count && all_beyond(kSettled, taken_.count)) {
    const Work& next = work(taken_.sum);
    if (!next.is_shared) copy_out(next);
    step(taken_);
    publish(kTaken, taken_);
    moved = true;
  }
  return moved;
}

bool HostSums::advance() {
  if (taken_.sum == started_) return false;
  const bool offered = offer(), added = add(), settled = settle(), taken = take();
  return offered || added || settled || taken;
}

bool HostSums::Label::agrees_with(const Label& other) const {
  return number == other.number && elements == other.elements && dtype == other.dtype &&
         memory == other.memory && offset == other.offset && rounded == other.rounded;
}

std::string HostSums::Label::text() const {
  return fmt::format("'{}' (number {}), {} elements of {}{}{}", name.view(), number, elements, name_of(dtype),
                     rounded ? " rounded to bf16 between hosts" : "",
                     memory == 0 ? "" : fmt::format(" at byte {} of shared memory {}", offset, memory));
}

void HostSums::check_labels(const Work& work) const {
  for (int rank = 0; rank < size(); ++rank) {
    const Label& other = segment(rank).labels[added_.count % kAhead];
    if (other.agrees_with(work.label)) continue;
    const ProcessIdentity& where = process_identity();
    fail(
        "the ranks do not agree on a collective: rank {} brings {}, rank {} {} (rank {} of {}, host {}); "
        "hint: "
        "do they all run the same program and configuration?",
        group_.ranks[static_cast<std::size_t>(group_.self)], work.label.text(),
        group_.ranks[static_cast<std::size_t>(rank)], other.text(), where.rank, where.world, where.host);
  }
}

}  // namespace plumb
