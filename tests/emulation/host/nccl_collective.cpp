#include "host/nccl_collective.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "host/device_memory.h"
#include "host/errors.h"
#include "host/faults.h"
#include "host/nccl_reduction.h"
#include "host/nccl_transport.h"

namespace plumb::emulation {
namespace {

using Bytes = std::vector<std::byte>;

/// What the ranks must agree on.
struct Signature {
  std::uint64_t number;
  std::uint64_t count;
  CollectiveKind kind;
  std::int32_t type, reduction, root;

  bool operator==(const Signature&) const = default;
};

std::string describe(const Signature& s) {
  constexpr const char* kNames[] = {"AllReduce", "ReduceScatter", "AllGather", "Broadcast"};
  std::string text = fmt::format("#{} {} of {} {}", s.number, kNames[static_cast<int>(s.kind)], s.count,
                                 name_of(static_cast<ncclDataType_t>(s.type)));
  if (s.kind == CollectiveKind::AllReduce || s.kind == CollectiveKind::ReduceScatter)
    text += fmt::format(", {}", name_of(static_cast<ncclRedOp_t>(s.reduction)));
  if (s.kind == CollectiveKind::Broadcast) text += fmt::format(" from rank {}", s.root);
  return text;
}

class CollectiveOperation final : public Operation {
 public:
  CollectiveOperation(ncclComm& communicator, const CollectiveCall& call, cudaStream_t stream)
      : communicator_(communicator),
        call_(call),
        signature_{communicator.issued++, call.count, call.kind, call.type, call.reduction, call.root},
        text_(describe(signature_)) {
    communicator.streams[signature_.number] = stream;
    if (strikes(Fault::NcclAsync)) {
      never_completes_ = true;
      communicator.error =
          refuse(ncclRemoteError, "injected by PLUMB_EMULATION_FAULT: " + text_, &communicator);
    }
  }

  const char* name() const override { return text_.c_str(); }
  bool waits_outside() const override { return is_first(); }
  cudaStream_t needs() const override { return is_first() ? nullptr : communicator_.streams.begin()->second; }
  std::string waits_for() const override {
    return is_first() ? "rank(s) " + absent() : "an earlier collective of its communicator";
  }

  Advance advance() override {
    if (communicator_.is_over()) return is_first() ? finish() : Advance::Blocked;
    if (!is_first()) return Advance::Blocked;
    switch (phase_) {
      case Phase::Waiting:
        return announce();
      case Phase::Agreeing:
        return never_completes_ || !all_complete(arriving_) ? still_waiting() : begin();
      case Phase::Reducing:
        return all_complete(arriving_) ? reduce_own_part() : still_waiting();
      case Phase::Collecting:
        return all_complete(arriving_) && all_complete(leaving_) ? write_result() : still_waiting();
    }
    return Advance::Blocked;
  }

 private:
  enum class Phase { Waiting, Agreeing, Reducing, Collecting };
  struct Range {
    std::size_t begin, end;  ///< bytes
    bool empty() const { return begin == end; }
  };

  bool is_first() const { return communicator_.finished == signature_.number; }
  bool reduces() const {
    return call_.kind == CollectiveKind::AllReduce || call_.kind == CollectiveKind::ReduceScatter;
  }
  bool collects() const { return call_.kind != CollectiveKind::ReduceScatter; }

  /// The part of the whole that a rank reduces, or has from the start, and gives to the others.
  Range part_of(int rank) const {
    const std::size_t bytes = element_bytes(call_.type);
    const auto index = static_cast<std::size_t>(rank);
    if (call_.kind == CollectiveKind::Broadcast)
      return rank == call_.root ? Range{0, call_.count * bytes} : Range{0, 0};
    if (call_.kind != CollectiveKind::AllReduce)
      return {index * call_.count * bytes, (index + 1) * call_.count * bytes};
    const auto size = static_cast<std::size_t>(communicator_.size);
    const std::size_t share = (call_.count + size - 1) / size;
    return {std::min<std::size_t>(index * share, call_.count) * bytes,
            std::min<std::size_t>((index + 1) * share, call_.count) * bytes};
  }

  void send(int rank, MessageKind kind, std::span<const std::byte> bytes) {
    leaving_.push_back(Message::send(communicator_.members[static_cast<std::size_t>(rank)].world_rank,
                                     message_tag(communicator_.channel, kind), bytes));
  }
  void receive(int rank, MessageKind kind, std::size_t bytes) {
    arriving_.push_back(Message::receive(communicator_.members[static_cast<std::size_t>(rank)].world_rank,
                                         message_tag(communicator_.channel, kind), bytes));
    senders_.push_back(rank);
  }
  template <class Function>
  void for_others(Function function) {
    for (int rank = 0; rank < communicator_.size; ++rank) {
      if (rank != communicator_.rank) function(rank);
    }
  }

  Advance enter(Phase phase) {
    phase_ = phase;
    return Advance::Progress;
  }

  Advance announce() {
    began_ = std::chrono::steady_clock::now();
    if (!never_completes_) {
      for_others([&](int rank) {
        send(rank, MessageKind::Signature, std::as_bytes(std::span(&signature_, 1)));
        receive(rank, MessageKind::Signature, sizeof(Signature));
      });
    }
    return enter(Phase::Agreeing);
  }

  void check_agreement() {
    bool agree = true;
    std::string all = fmt::format("rank {} issued {}", communicator_.rank, text_);
    for (std::size_t i = 0; i < arriving_.size(); ++i) {
      Signature other{};
      std::memcpy(&other, arriving_[i].bytes().data(), sizeof other);
      agree = agree && other == signature_;
      all += fmt::format("; rank {} issued {}", senders_[i], describe(other));
    }
    if (agree) return;
    communicator_.error = refuse(ncclInvalidUsage, "collectives differ: " + all, &communicator_);
    fail("NCCL collectives differ: {}", all);
  }

  /// All ranks are here. The input is taken, and the output is NaN until the collective is done.
  Advance begin() {
    check_agreement();
    const std::string fault = buffer_fault(call_, communicator_);
    if (!fault.empty()) fail("{}", fault);
    const std::size_t bytes = element_bytes(call_.type);
    if (call_.kind != CollectiveKind::Broadcast || communicator_.rank == call_.root) {
      const auto* data = static_cast<const std::byte*>(call_.send);
      input_.assign(data, data + send_count(call_, communicator_.size) * bytes);
    }
    std::memset(call_.receive, 0xff, receive_count(call_, communicator_.size) * bytes);
    next_messages();
    if (!reduces()) {
      own_part_ = input_;
      return share_own_part();
    }
    const Range own = part_of(communicator_.rank);
    for_others([&](int rank) {
      const Range theirs = part_of(rank);
      if (!theirs.empty())
        send(rank, MessageKind::Piece, std::span(input_).subspan(theirs.begin, theirs.end - theirs.begin));
      if (!own.empty()) receive(rank, MessageKind::Piece, own.end - own.begin);
    });
    return enter(Phase::Reducing);
  }

  Advance reduce_own_part() {
    const Range own = part_of(communicator_.rank);
    own_part_.resize(own.end - own.begin);
    if (!own.empty()) {
      std::vector<std::span<const std::byte>> ranks(static_cast<std::size_t>(communicator_.size));
      ranks[static_cast<std::size_t>(communicator_.rank)] =
          std::span(input_).subspan(own.begin, own.end - own.begin);
      for (std::size_t i = 0; i < arriving_.size(); ++i)
        ranks[static_cast<std::size_t>(senders_[i])] = arriving_[i].bytes();
      reduce(call_.type, call_.reduction, ranks, own_part_);
    }
    next_messages();
    return share_own_part();
  }

  Advance share_own_part() {
    if (collects()) {
      for_others([&](int rank) {
        const Range theirs = part_of(rank);
        if (!own_part_.empty()) send(rank, MessageKind::Result, own_part_);
        if (!theirs.empty()) receive(rank, MessageKind::Result, theirs.end - theirs.begin);
      });
    }
    return enter(Phase::Collecting);
  }

  Advance write_result() {
    auto* output = static_cast<std::byte*>(call_.receive);
    const std::size_t own_begin = collects() ? part_of(communicator_.rank).begin : 0;
    std::copy(own_part_.begin(), own_part_.end(), output + own_begin);
    for (std::size_t i = 0; i < arriving_.size(); ++i) {
      const std::span<const std::byte> bytes = arriving_[i].bytes();
      std::copy(bytes.begin(), bytes.end(), output + part_of(senders_[i]).begin);
    }
    return finish();
  }

  /// Of the phase before, nothing is waited for any more; what was sent is still under way.
  void next_messages() {
    arriving_.clear();
    senders_.clear();
  }

  Advance finish() {
    ++communicator_.finished;
    communicator_.streams.erase(signature_.number);
    arriving_.clear();
    leaving_.clear();
    return Advance::Done;
  }

  std::string absent() const {
    if (never_completes_) return "none: it never completes, as PLUMB_EMULATION_FAULT asks";
    std::string ranks;
    for (std::size_t i = 0; i < arriving_.size(); ++i) {
      if (!arrived_[i]) ranks += fmt::format("{}{}", ranks.empty() ? "" : ", ", senders_[i]);
    }
    return ranks.empty() ? "none: what was sent has not been taken" : ranks;
  }

  Advance still_waiting() {
    arrived_.assign(arriving_.size(), false);
    for (std::size_t i = 0; i < arriving_.size(); ++i) arrived_[i] = arriving_[i].complete();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
    if (seconds > nccl_timeout())
      fail("NCCL: rank {} of {} has waited {:.1f} s in {} for rank(s) {}", communicator_.rank,
           communicator_.size, seconds, text_, absent());
    return Advance::Blocked;
  }

  ncclComm& communicator_;
  CollectiveCall call_;
  Signature signature_;
  std::string text_;
  bool never_completes_ = false;
  Phase phase_ = Phase::Waiting;
  std::chrono::steady_clock::time_point began_;
  std::vector<Message> leaving_, arriving_;
  std::vector<int> senders_;  ///< of `arriving_`
  std::vector<bool> arrived_;
  Bytes input_, own_part_;
};

/// Whether the smaller buffer may be a part of the larger one: at its own place only.
bool in_place(const CollectiveCall& call, int rank) {
  const std::size_t offset = static_cast<std::size_t>(rank) * call.count * element_bytes(call.type);
  const auto *send = static_cast<const char*>(call.send), *receive = static_cast<const char*>(call.receive);
  switch (call.kind) {
    case CollectiveKind::ReduceScatter:
      return receive == send + offset;
    case CollectiveKind::AllGather:
      return send == receive + offset;
    default:
      return send == receive;
  }
}

}  // namespace

std::uint64_t send_count(const CollectiveCall& call, int size) {
  return call.kind == CollectiveKind::ReduceScatter ? call.count * static_cast<std::uint64_t>(size)
                                                    : call.count;
}
std::uint64_t receive_count(const CollectiveCall& call, int size) {
  return call.kind == CollectiveKind::AllGather ? call.count * static_cast<std::uint64_t>(size) : call.count;
}

std::string buffer_fault(const CollectiveCall& call, const ncclComm& communicator) {
  const std::size_t bytes = element_bytes(call.type);
  const std::size_t send_bytes = send_count(call, communicator.size) * bytes;
  const std::size_t receive_bytes = receive_count(call, communicator.size) * bytes;
  const bool sends = call.kind != CollectiveKind::Broadcast || communicator.rank == call.root;
  for (const void* buffer : {call.send, static_cast<const void*>(call.receive)}) {
    if (reinterpret_cast<std::uintptr_t>(buffer) % bytes != 0)
      return "NCCL: a buffer is misaligned for its type";
  }
  if (sends) {
    std::string fault = range_fault("NCCL", "send buffer", call.send, send_bytes);
    if (!fault.empty()) return fault;
  }
  std::string fault = range_fault("NCCL", "receive buffer", call.receive, receive_bytes);
  if (!fault.empty() || !sends || in_place(call, communicator.rank)) return fault;
  const auto *send = static_cast<const char*>(call.send), *receive = static_cast<const char*>(call.receive);
  if (send < receive + receive_bytes && receive < send + send_bytes)
    return "NCCL: the buffers overlap, but not as an in-place call has them";
  return {};
}

Recipe collective(ncclComm& communicator, const CollectiveCall& call) {
  return [&communicator, call](cudaStream_t stream) {
    if (communicator.is_over())
      lose_device(cudaErrorLaunchFailure,
                  "NCCL: a graph runs a collective of a communicator that is no more");
    return std::make_unique<CollectiveOperation>(communicator, call, stream);
  };
}

}  // namespace plumb::emulation
