// LocalCommunicator: a world of one rank, without MPI.
#pragma once

#include <string>

#include "comm/communicator.h"
#include "comm/stall_notes.h"

namespace plumb {

/// Every collective over one rank is the identity. Never touches MPI, so that a program started without a
/// launcher needs neither its daemons nor its environment.
class LocalCommunicator final : public Communicator {
 public:
  explicit LocalCommunicator(std::string host);

  void barrier(std::string_view name) override;
  void reserve(int requests) override;
  bool poll(Request& request) override;
  void wait(Request& request) override;
  void progress() override;
  StallNotes& stall_notes() override { return notes_; }

 private:
  void do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) override;
  void do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) override;
  void do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) override;
  void do_broadcast(std::string_view name, const Tensor& tensor, int root) override;
  Request do_start_all_reduce(std::string_view name, const Tensor& tensor) override;

  NoStallNotes notes_;
};

}  // namespace plumb
