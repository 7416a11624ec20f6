// Arena: all activations and scratch of a model in one Buffer, sized before step 0. Modules ask for slots
// while planning; after the arena is made they turn slots into tensors, and nothing allocates any more.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "core/tensor.h"

namespace plumb {

/// A place in the arena; valid for the plan that gave it.
struct Slot {
  int index = -1;
  bool defined() const { return index >= 0; }
};

/// Collects slots. Persistent ones live as long as the arena (what backward needs from forward). Transient
/// ones live until the scope in which they were asked for ends; later scopes reuse their bytes. All are
/// 64-byte aligned.
class ArenaPlan {
 public:
  struct Entry {
    std::string name;
    DType dtype;
    Shape shape;
    std::size_t offset = 0;  ///< from the start of its region
    bool transient = false;
  };

  Slot persistent(std::string name, DType dtype, Shape shape);
  Slot transient(std::string name, DType dtype, Shape shape);
  void begin_scope();
  void end_scope();
  /// Asks for at least that much workspace; ops run one after the other and share it.
  void require_workspace(std::size_t bytes);

  const std::vector<Entry>& entries() const { return entries_; }
  std::size_t persistent_bytes() const { return persistent_bytes_; }
  std::size_t transient_bytes() const { return transient_peak_; }
  std::size_t workspace_bytes() const { return workspace_bytes_; }
  std::size_t bytes() const { return persistent_bytes_ + transient_peak_ + workspace_bytes_; }

 private:
  std::vector<Entry> entries_;
  std::vector<std::size_t> scopes_;
  std::size_t persistent_bytes_ = 0, transient_bytes_ = 0, transient_peak_ = 0, workspace_bytes_ = 0;
};

/// Begins a transient scope and ends it when it goes out of scope itself.
class ArenaScope {
 public:
  explicit ArenaScope(ArenaPlan& plan) : plan_(plan) { plan_.begin_scope(); }
  ~ArenaScope() { plan_.end_scope(); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  ArenaPlan& plan_;
};

class Arena {
 public:
  Arena(Backend& backend, const ArenaPlan& plan);
  /// The slot's tensor; an undefined slot gives an empty tensor.
  Tensor tensor(Slot slot) const {
    return slot.defined() ? tensors_[static_cast<std::size_t>(slot.index)] : Tensor();
  }
  Workspace workspace() const { return workspace_; }
  std::size_t bytes() const { return buffer_.bytes(); }

 private:
  Buffer buffer_;
  std::vector<Tensor> tensors_;
  Workspace workspace_;
};

}  // namespace plumb
