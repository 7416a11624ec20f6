#include "host/nccl_transport.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <utility>

#include "core/error.h"

namespace plumb::emulation {
namespace {

void check_mpi(int code, const char* what) {
  if (code != MPI_SUCCESS) fail("emulated NCCL: {}: MPI error {}", what, code);
}

int message_bytes(std::size_t bytes) {
  PLUMB_CHECK(bytes <= static_cast<std::size_t>(std::numeric_limits<int>::max()),
              "emulated NCCL: a message of {} bytes", bytes);
  return static_cast<int>(bytes);
}

}  // namespace

bool mpi_is_running() {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized != 0 && finalized == 0;
}

int world_rank() {
  int rank = 0;
  if (mpi_is_running()) check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank");
  return rank;
}

int world_size() {
  int size = 1;
  if (mpi_is_running()) check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size");
  return size;
}

int message_tag(int channel, MessageKind kind) {
  constexpr int kFirst = 1 << 28;  // above what programs use
  return kFirst + channel * 8 + static_cast<int>(kind);
}

Message Message::send(int world_rank, int tag, std::span<const std::byte> bytes) {
  Message message(std::vector<std::byte>(bytes.begin(), bytes.end()), false);
  check_mpi(MPI_Isend(message.bytes_.data(), message_bytes(bytes.size()), MPI_BYTE, world_rank, tag,
                      MPI_COMM_WORLD, &message.request_),
            "MPI_Isend");
  return message;
}

Message Message::receive(int world_rank, int tag, std::size_t bytes) {
  Message message(std::vector<std::byte>(bytes), true);
  check_mpi(MPI_Irecv(message.bytes_.data(), message_bytes(bytes), MPI_BYTE, world_rank, tag, MPI_COMM_WORLD,
                      &message.request_),
            "MPI_Irecv");
  return message;
}

Message::Message(Message&& other) noexcept
    : bytes_(std::move(other.bytes_)),
      receiving_(other.receiving_),
      request_(std::exchange(other.request_, MPI_REQUEST_NULL)) {}

Message::~Message() {
  if (request_ == MPI_REQUEST_NULL || !mpi_is_running()) return;
  int done = 0;
  MPI_Test(&request_, &done, MPI_STATUS_IGNORE);
  if (done != 0) return;
  if (receiving_) {
    MPI_Cancel(&request_);
    MPI_Wait(&request_, MPI_STATUS_IGNORE);
    return;
  }
  // MPI may still read the bytes, so they stay: the receiver may never come.
  static auto& left_behind = *std::make_unique<std::deque<std::vector<std::byte>>>().release();
  left_behind.push_back(std::move(bytes_));
  MPI_Request_free(&request_);
}

bool Message::complete() {
  if (request_ == MPI_REQUEST_NULL) return true;
  int done = 0;
  check_mpi(MPI_Test(&request_, &done, MPI_STATUS_IGNORE), "MPI_Test");
  return done != 0;
}

bool all_complete(std::vector<Message>& messages) {
  return std::all_of(messages.begin(), messages.end(), [](Message& message) { return message.complete(); });
}

}  // namespace plumb::emulation
