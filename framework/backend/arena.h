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

/// Collects slots, all 64-byte aligned:
///   lasting     live as long as the arena
///   persistent  what backward needs from forward: lasting, too, unless they are asked for in a span that
///               backward makes again (RecomputedSpan): then they live until another span is passed through
///   transient   live until the scope in which they were asked for ends; later scopes reuse their bytes
class ArenaPlan {
 public:
  enum class Region { Lasting, Recomputed, Transient };
  struct Entry {
    std::string name;
    DType dtype;
    Shape shape;
    std::size_t offset = 0;  ///< from the start of its region
    Region region = Region::Lasting;
  };

  Slot lasting(std::string name, DType dtype, Shape shape);
  Slot persistent(std::string name, DType dtype, Shape shape);
  Slot transient(std::string name, DType dtype, Shape shape);
  void begin_scope();
  void end_scope();
  /// Spans share their bytes; they do not nest.
  void begin_recomputed();
  void end_recomputed();
  /// Asks for at least that much workspace; ops run one after the other and share it.
  void require_workspace(std::size_t bytes);

  const std::vector<Entry>& entries() const { return entries_; }
  std::size_t lasting_bytes() const { return lasting_bytes_; }
  /// Of the largest span.
  std::size_t recomputed_bytes() const { return recomputed_peak_; }
  std::size_t transient_bytes() const { return transient_peak_; }
  std::size_t workspace_bytes() const { return workspace_bytes_; }
  std::size_t bytes() const { return lasting_bytes_ + recomputed_peak_ + transient_peak_ + workspace_bytes_; }

 private:
  /// The next bytes of a region that is filled up to `filled`.
  Slot place(std::string name, DType dtype, Shape shape, Region region, std::size_t& filled);

  std::vector<Entry> entries_;
  std::vector<std::size_t> scopes_;
  bool in_recomputed_ = false;
  std::size_t lasting_bytes_ = 0, recomputed_bytes_ = 0, recomputed_peak_ = 0, transient_bytes_ = 0,
              transient_peak_ = 0, workspace_bytes_ = 0;
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

/// A part of a model whose persistent slots hold until another such part runs, because backward makes them
/// again. Does nothing unless `enabled`.
class RecomputedSpan {
 public:
  RecomputedSpan(ArenaPlan& plan, bool enabled) : plan_(enabled ? &plan : nullptr) {
    if (plan_ != nullptr) plan_->begin_recomputed();
  }
  ~RecomputedSpan() {
    if (plan_ != nullptr) plan_->end_recomputed();
  }
  RecomputedSpan(const RecomputedSpan&) = delete;
  RecomputedSpan& operator=(const RecomputedSpan&) = delete;

 private:
  ArenaPlan* plan_;
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
