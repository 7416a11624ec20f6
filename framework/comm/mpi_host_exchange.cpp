#include "comm/mpi_host_exchange.h"

#include <algorithm>
#include <exception>

#include "comm/mpi_check.h"
#include "comm/mpi_reductions.h"
#include "comm/sum_shares.h"
#include "core/error.h"

namespace plumb {

MpiHostExchange::MpiHostExchange(MPI_Comm hosts) : sums_(hosts) {
  PLUMB_MPI(MPI_Comm_set_errhandler(sums_, MPI_ERRORS_RETURN));
  PLUMB_MPI(MPI_Comm_dup(sums_, &gathers_));
  PLUMB_MPI(MPI_Comm_set_errhandler(gathers_, MPI_ERRORS_RETURN));
  PLUMB_MPI(MPI_Comm_size(sums_, &hosts_));
}

MpiHostExchange::~MpiHostExchange() {
  if (sums_ == MPI_COMM_NULL || std::uncaught_exceptions() > 0) return;
  MPI_Comm_free(&gathers_);
  MPI_Comm_free(&sums_);
}

void MpiHostExchange::reserve_rounded() {
  const std::int64_t most = HostSums::kShareBytes / static_cast<std::int64_t>(sizeof(float));
  const auto room = static_cast<std::size_t>((most + hosts_ - 1) / hosts_ * hosts_);
  for (Slot& slot : slots_) {
    slot.send.resize(room);
    slot.receive.resize(room);
  }
}

void MpiHostExchange::start(int slot, const Tensor& share, bool rounded, std::string_view name) {
  PLUMB_CHECK(started_ - finished_ < order_.size(), "more than {} sums between hosts", order_.size());
  order_[started_++ % order_.size()] = slot;
  Slot& next = slots_[static_cast<std::size_t>(slot)];
  next.share = share;
  next.rounded = rounded;
  next.name = CollectiveName(name);
  const auto count = static_cast<int>(share.elements());
  if (!rounded) {
    PLUMB_MPI_OF(name, MPI_Iallreduce(MPI_IN_PLACE, share.data, count, mpi_type_of(share.dtype), MPI_SUM,
                                      sums_, &next.request));
    return;
  }
  next.part = (share.elements() + hosts_ - 1) / hosts_;
  const auto padded = static_cast<std::size_t>(next.part * hosts_);
  PLUMB_CHECK(padded <= next.send.size(), "collective '{}': no room to round {} elements", name, padded);
  round_to_bfloat16(static_cast<const float*>(share.data), next.send.data(), count);
  std::fill(next.send.begin() + count, next.send.begin() + static_cast<std::ptrdiff_t>(padded), bfloat16());
  const auto part = static_cast<int>(next.part);
  PLUMB_MPI_OF(name, MPI_Ialltoall(next.send.data(), part, MPI_UINT16_T, next.receive.data(), part,
                                   MPI_UINT16_T, sums_, &next.request));
}

bool MpiHostExchange::test(Slot& slot) {
  int done = 0;
  PLUMB_MPI_OF(slot.name.view(), MPI_Test(&slot.request, &done, MPI_STATUS_IGNORE));
  return done != 0;
}

void MpiHostExchange::start_gathers() {
  for (; beyond_sum_ < started_; ++beyond_sum_) {
    Slot& oldest = nth(beyond_sum_);
    if (!test(oldest)) return;
    if (oldest.rounded) start_gather(oldest);
  }
}

void MpiHostExchange::start_gather(Slot& slot) {
  sum_rounded_rows(slot.receive.data(), hosts_, slot.part, slot.send.data());
  const auto part = static_cast<int>(slot.part);
  PLUMB_MPI_OF(slot.name.view(), MPI_Iallgather(slot.send.data(), part, MPI_UINT16_T, slot.receive.data(),
                                                part, MPI_UINT16_T, gathers_, &slot.request));
}

bool MpiHostExchange::finished(int slot) {
  start_gathers();
  PLUMB_CHECK(finished_ < started_ && order_[finished_ % order_.size()] == slot,
              "sums between hosts are asked for in another order than they were started");
  Slot& oldest = nth(finished_);
  if (finished_ == beyond_sum_) return false;
  if (oldest.rounded) {
    if (!test(oldest)) return false;
    widen_from_bfloat16(oldest.receive.data(), static_cast<float*>(oldest.share.data),
                        oldest.share.elements());
  }
  ++finished_;
  return true;
}

}  // namespace plumb
