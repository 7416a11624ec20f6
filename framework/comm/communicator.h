// Communicator: collectives between ranks, over host memory or over that of one kind of device.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "comm/collective_observer.h"
#include "core/error.h"
#include "core/tensor.h"

namespace plumb {

class StallNotes;

/// Max and Min return NaN when any rank's value is NaN, so that a non-finite value is never lost on the way.
enum class ReduceOp { Sum, Max, Min };

/// How sums of fp32 and fp64 go over host memory.
struct SumPath {
  bool shared_memory = true;  ///< inside a host through memory that its ranks share
  bool rounding = false;      ///< with room for start_rounded_all_reduce()
};

/// What every rank knows of the world, and the collectives.
///
/// "Done" depends on whose memory it is. Over host memory a blocking call, or wait(), returns when the result
/// is there. Over device memory (Backend::make_communicator) everything is ordered with one stream: a
/// collective comes after what was issued to that stream before it, and after a blocking call or wait() what
/// is issued to the stream from then on comes after the collective; the host does not wait.
class Communicator {
 public:
  /// Handle of an asynchronous operation; a default one is finished. Copies name the same operation.
  struct Request {
    std::uint64_t ticket = 0;
  };

  /// Seconds that a collective may take unless set_deadline says otherwise.
  static constexpr double kDefaultDeadline = 300;

  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int world() const { return static_cast<int>(hosts_.size()); }
  /// Host name of every rank.
  const std::vector<std::string>& hosts() const { return hosts_; }
  /// Position of this rank among the ranks of its host, and their number.
  int local_rank() const;
  int local_size() const;

  /// A blocking call, or a wait for an asynchronous one, that is not through after so many seconds throws an
  /// Error that names the collective, this rank, its host and the ranks that did not come. (A rank that knows
  /// of a lower one in the same wait leaves that to it for some seconds: stall_notes.h.) The communicator is
  /// of no use afterwards unless the missing ranks do come after all.
  void set_deadline(double seconds);
  double deadline() const { return deadline_; }

  // Collectives: every rank makes the same calls, in the same order, with the same shapes and dtypes.
  // Tensors are contiguous, of a dtype that takes() says yes to, and may be empty. The result has the same
  // bits on all ranks (of a NaN, only that it is one), and in every run with the same world. `name` is for
  // messages; it is copied (47 characters of it) and nothing is allocated.

  /// In place: every rank ends with the reduction over ranks, element by element.
  void all_reduce(std::string_view name, Tensor tensor, ReduceOp op);
  /// send (n) of every rank, received by all ranks as (world, n). The two do not overlap.
  void all_gather(std::string_view name, Tensor send, Tensor receive);
  /// send (world, n): rank r receives the sum over ranks of row r, as (n). The two do not overlap.
  void reduce_scatter(std::string_view name, Tensor send, Tensor receive);
  /// In place: every rank ends with the root's elements.
  void broadcast(std::string_view name, Tensor tensor, int root);
  /// Returns when every rank has called it.
  virtual void barrier(std::string_view name) = 0;

  /// Room for at least so many asynchronous operations at a time (1 or more). The only call that allocates;
  /// not while operations are outstanding.
  virtual void reserve(int requests) = 0;
  /// Starts an all-reduce (sum) in place. The tensor must stay alive and untouched until it has finished.
  /// Operations finish in the order in which they were started. When every reserved request is in use this
  /// waits for the oldest.
  Request start_all_reduce(std::string_view name, Tensor tensor);
  /// The same for fp32, where what goes from host to host is bf16: ranks of a host that share memory are
  /// summed in fp32, each host's sum is rounded, those are added in fp32 in the order of the hosts, and the
  /// result is rounded. Ranks that share no memory count as hosts. Not rounded at all where there is one
  /// host. Needs choose_sum_path() with rounding.
  Request start_rounded_all_reduce(std::string_view name, Tensor tensor);
  /// Whether such a sum is rounded.
  virtual bool rounds() const { return false; }
  /// As start_all_reduce for a tensor (world, n) of which rank r needs row r alone: it ends with the sum over
  /// ranks there, and with anything in the other rows.
  Request start_reduce_scatter(std::string_view name, Tensor tensor);
  /// The other way: row r of rank r replaces row r of every rank.
  Request start_all_gather(std::string_view name, Tensor tensor);

  /// A collective, at the start, while nothing is outstanding; without it sums go between all ranks alike.
  /// Returns why ranks of a host do not share memory although they were to, on all ranks the same, and empty
  /// when all is as asked for. Ranks share a host when their host names are the same and MPI agrees. The bits
  /// of a sum depend on the path, and on which ranks share a host.
  virtual std::string choose_sum_path(const SumPath& path);
  /// Zero-filled memory from which tensors are summed where they lie, aligned to 64 bytes; null where there
  /// is none to be had, on all ranks alike. A collective: all ranks ask for the same, and later pass tensors
  /// at the same place of it. Of no use once the communicator is gone.
  virtual std::shared_ptr<void> allocate(std::string_view name, std::size_t bytes);

  /// Advances everything outstanding; true when this operation has finished. Over host memory its deadline
  /// counts from the first poll() or wait() of it.
  virtual bool poll(Request& request) = 0;
  /// Returns when the operation is done.
  virtual void wait(Request& request) = 0;
  /// Advances everything outstanding; cheap, to be called between the ops of a backward pass, because an
  /// operation moves only while the library is called.
  virtual void progress() = 0;

  /// fp64, fp32, int64 and int32. fp16 is always refused; bf16 unless an implementation that rounds after
  /// every addition takes it for those who ask for that.
  virtual bool takes(DType dtype) const;

  /// What a span of wait() calls costs: seconds that the host waited between the two calls, or that the
  /// stream did. take_waited_seconds() gives them for the oldest span that it was not asked for; of the last
  /// kTimedSpans only, and 0 when there is none. Over device memory it waits until the stream has passed the
  /// span, and spans in a recording (Backend::record) are not timed.
  virtual void begin_wait_clock() { wait_began_ = Clock::now(); }
  virtual void end_wait_clock();
  virtual double take_waited_seconds();

  /// Is told of the collectives from here on; null: nobody. It must outlive them. Over device memory, whose
  /// collectives the host does not move, only of the calls.
  void observe(CollectiveObserver* observer) { observer_ = observer; }

  /// The numbering of collectives and the notes of ranks that wait, shared by all communicators of the
  /// process.
  virtual StallNotes& stall_notes() = 0;

 protected:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kTimedSpans = 8;

  /// Of spans that end one after the other: which to ask for next.
  struct SpanCount {
    std::size_t ended = 0, taken = 0;
    /// Its place in a ring of kTimedSpans; false when there is none.
    bool take(std::size_t* place);
  };

  Communicator() = default;
  /// Null where nobody listens.
  CollectiveObserver* observer() const { return observer_; }
  /// Sets who we are; called once by the constructor of an implementation.
  void set_ranks(int rank, std::vector<std::string> hosts);

 private:
  void check_tensor(std::string_view collective, const Tensor& tensor) const;
  void check_pair(std::string_view collective, const Tensor& part, const Tensor& whole) const;
  void check_rows(std::string_view collective, const Tensor& tensor) const;

  // The public calls check the tensors; these are only reached with at least one element.
  virtual void do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) = 0;
  virtual void do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) = 0;
  virtual void do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) = 0;
  virtual void do_broadcast(std::string_view name, const Tensor& tensor, int root) = 0;
  virtual Request do_start_all_reduce(std::string_view name, const Tensor& tensor) = 0;
  virtual Request do_start_rounded_all_reduce(std::string_view name, const Tensor& tensor);
  // What is right for every implementation, and not fast: all rows to all ranks, and one row at a time.
  virtual Request do_start_reduce_scatter(std::string_view name, const Tensor& tensor);
  virtual Request do_start_all_gather(std::string_view name, const Tensor& tensor);

  int rank_ = 0;
  std::vector<std::string> hosts_ = {""};
  double deadline_ = kDefaultDeadline;
  CollectiveObserver* observer_ = nullptr;
  Clock::time_point wait_began_{};
  std::array<double, kTimedSpans> waited_{};
  SpanCount spans_;
};

}  // namespace plumb
