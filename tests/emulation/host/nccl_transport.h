// Messages between processes that are polled, never waited for: stream operations of several communicators
// interleave in any order, so none may block in MPI.
#pragma once

#include <mpi.h>

#include <cstddef>
#include <span>
#include <vector>

namespace plumb::emulation {

/// Whether MPI has been started and not ended.
bool mpi_is_running();
int world_rank();
int world_size();

/// Tags of one communicator's messages in MPI_COMM_WORLD. Plumb's own messages travel on other communicators.
enum class MessageKind { Hello, Table, Signature, Piece, Result };
int message_tag(int channel, MessageKind kind);

/// A message on its way. Destroyed early, one to be received is cancelled, one that was sent is left to MPI.
class Message {
 public:
  static Message send(int world_rank, int tag, std::span<const std::byte> bytes);
  static Message receive(int world_rank, int tag, std::size_t bytes);  ///< world_rank may be MPI_ANY_SOURCE
  ~Message();
  Message(Message&& other) noexcept;
  Message& operator=(Message&& other) = delete;
  Message(const Message&) = delete;

  bool complete();
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  Message(std::vector<std::byte> bytes, bool receiving) : bytes_(std::move(bytes)), receiving_(receiving) {}

  std::vector<std::byte> bytes_;
  bool receiving_;
  MPI_Request request_ = MPI_REQUEST_NULL;
};

bool all_complete(std::vector<Message>& messages);

}  // namespace plumb::emulation
