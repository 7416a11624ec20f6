// HostSums: sums over ranks, inside a host through memory that its ranks share, between hosts by an exchange.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/stall_notes.h"
#include "core/tensor.h"

namespace plumb {

/// Sums one rank's share over hosts. Over host memory, between the ranks that have the same share.
class HostExchange {
 public:
  HostExchange() = default;
  virtual ~HostExchange() = default;
  HostExchange(const HostExchange&) = delete;
  HostExchange& operator=(const HostExchange&) = delete;

  /// Starts replacing the elements by their sum over hosts. `rounded` (fp32 only): they travel as bf16, see
  /// Communicator::start_rounded_all_reduce. `slot`: of HostSums::kExchanges, free since finished() said so.
  virtual void start(int slot, const Tensor& share, bool rounded, std::string_view name) = 0;
  /// Moves everything and says whether the slot has its sum. Slots are asked in the order of start().
  virtual bool finished(int slot) = 0;
};

/// The ranks that share memory.
struct HostGroup {
  std::vector<int> ranks = {0};  ///< of the world, ascending
  int self = 0;                  ///< this rank's place among them
  /// The first so many of them each sum a share of the elements: as many on every host, so that shares of
  /// different hosts are alike.
  int sharers = 1;
  int largest = 1;  ///< ranks of the largest host of the world
};

/// One sum: in place, the same call on every rank of the world.
struct HostSum {
  Tensor tensor;  ///< contiguous, fp32 or fp64, not empty
  bool rounded = false;
  CollectiveName name;
  std::uint64_t number = 0;  ///< of the stall notes
};

/// A machine that moves only in advance() and never waits there. Sums are cut into pieces, and every piece of
/// all sums, in their order, passes four stages, in each of which a rank is as far as its count says:
///
/// 1. offered: its elements are there for the others;
/// 2. added: it has summed its share, in the order of the ranks, and the exchange between hosts is under way;
/// 3. settled: the sum of its share, over all hosts, is there for the others;
/// 4. taken: it has the whole sum and needs nothing of the piece any more.
///
/// The counts lie in the shared segments, are written with release and read with acquire; they only grow.
/// A piece is added when all ranks of the host have offered it, taken when all have settled it, and offered
/// when all have taken the one kAhead (where it is copied: kSlots) before it. So which rank is ahead never
/// matters, and the order of every sum is fixed: ranks of a host in ascending order, then hosts.
///
/// A tensor that lies in memory of add_memory() is summed where it lies: each rank reads its share from, and
/// writes it to, the memory of all. Any other is copied through a slot of the segment, in pieces that stay in
/// a core's second cache; of its own share nothing is copied in.
///
/// Ranks that bring different sums are told so: Error names them and what they brought.
class HostSums {
 public:
  /// Pieces by which a rank may be ahead: many, because ranks that share a core take turns, of milliseconds.
  static constexpr int kAhead = 64;
  /// The same for pieces that are copied; they need memory.
  static constexpr int kSlots = 8;
  /// Shares on their way between hosts.
  static constexpr int kExchanges = 4;
  /// Of a rank's share of a piece that lies in shared memory. Between hosts this is the size of a message of
  /// MPI, of which larger ones are slower: 475 MiB over two ranks took 87 ms so, 103 ms by 4 to 16 MiB and
  /// 186 ms at once (Open MPI 4.1.4).
  static constexpr std::int64_t kShareBytes = std::int64_t{1} << 20;
  /// Of a piece that is copied: it is still in a core's second cache (1 or 2 MiB) when it is summed.
  static constexpr std::int64_t kCopiedBytes = std::int64_t{256} << 10;

  /// Bytes of a rank's segment.
  static std::size_t segment_bytes();

  /// `segments`: of every rank of the group, zero-filled before any of them begins, aligned to 64 bytes,
  /// alive for as long as this. `exchange`: null where there is one host.
  HostSums(HostGroup group, std::vector<std::byte*> segments, std::unique_ptr<HostExchange> exchange);

  /// Memory of every rank of the group, as this process sees it. All ranks name the same memories in the same
  /// order.
  void add_memory(std::vector<std::byte*> of_ranks, std::size_t bytes);
  /// Precondition: nothing outstanding lies in it.
  void remove_memory(const std::byte* own);

  /// Room for so many sums at a time. Allocates; only while none is outstanding.
  void reserve(int sums);
  /// Starts one; returns its place among all sums so far, 1 for the first. The tensor must stay alive and
  /// untouched until finished() has reached that.
  std::uint64_t start(const HostSum& sum);
  /// Moves what can move; true when anything did.
  bool advance();
  /// How many sums have finished; they do so in order.
  std::uint64_t finished() const { return taken_.sum; }
  /// Pieces of a sum that is not finished, and how many of them are done.
  std::int64_t pieces(std::uint64_t place) const { return work(place - 1).pieces; }
  std::int64_t pieces_done(std::uint64_t place) const;

 private:
  enum Stage { kOffered, kSettled, kTaken, kStages };  ///< those that other ranks look at

  struct Memory {
    std::vector<std::byte*> of_ranks;
    std::size_t bytes = 0;
    std::int64_t number = 0;
  };
  /// What a rank says of its piece, for the others to compare with theirs.
  struct Label {
    std::uint64_t number = 0;
    std::int64_t elements = 0, memory = 0, offset = 0;
    DType dtype = DType::Float32;
    bool rounded = false;
    CollectiveName name;
    bool agrees_with(const Label& other) const;
    std::string text() const;
  };
  struct Work {
    HostSum sum;
    Label label;
    std::vector<std::byte*> of_ranks;  ///< the tensor in the memory of every rank; unused where it is copied
    bool is_shared = false;
    std::int64_t piece = 0;  ///< elements; the last one has what is left
    std::int64_t pieces = 0;
  };
  /// A stage's next piece.
  struct Cursor {
    std::uint64_t sum = 0, count = 0;  ///< sums and pieces that are through
    std::int64_t piece = 0;            ///< of the sum
  };
  /// A piece, and the share of it that a rank of the group sums; in elements of the tensor.
  struct Range {
    std::int64_t begin = 0, end = 0;
    std::int64_t count() const { return end - begin; }
  };

  struct Segment;
  Segment& segment(int rank) const;
  std::byte* slot_of(int rank, const Cursor& cursor) const;

  Work& work(std::uint64_t sum) { return works_[sum % works_.size()]; }
  const Work& work(std::uint64_t sum) const { return works_[sum % works_.size()]; }
  int size() const { return static_cast<int>(group_.ranks.size()); }
  const Memory* memory_of(const Tensor& tensor) const;
  void step(Cursor& cursor) const;
  void publish(Stage stage, const Cursor& cursor);
  bool all_beyond(Stage stage, std::uint64_t count);
  Range piece_of(const Work& work, const Cursor& cursor) const;
  Range share_of(const Work& work, const Cursor& cursor, int rank) const;
  std::byte* own_elements(const Work& work, std::int64_t element) const;
  std::byte* elements_of(int rank, const Work& work, const Cursor& cursor, std::int64_t element) const;
  void copy_in(const Work& work);
  void copy_out(const Work& work);
  void check_labels(const Work& work) const;
  void add_share(const Work& work, const Range& share);
  void hand_out(const Work& work, const Cursor& cursor, const Range& share);
  bool may_offer(const Work& work);
  bool offer();
  bool add();
  bool settle();
  bool take();

  HostGroup group_;
  std::vector<std::byte*> segments_;
  std::unique_ptr<HostExchange> exchange_;
  std::vector<Memory> memories_;
  std::int64_t numbered_memories_ = 0;

  std::vector<Work> works_;
  std::uint64_t started_ = 0;
  Cursor offered_, added_, settled_, taken_;
  std::uint64_t known_[kStages] = {};  ///< all ranks are at least so far
  std::vector<const void*> sources_;   ///< of add_share(): they keep their memory
  std::vector<void*> targets_;
};

}  // namespace plumb
