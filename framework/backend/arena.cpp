#include "backend/arena.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace plumb {
namespace {
constexpr std::size_t kAlignment = 64;
std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
}  // namespace

Slot ArenaPlan::persistent(std::string name, DType dtype, Shape shape) {
  entries_.push_back({std::move(name), dtype, shape, persistent_bytes_, false});
  persistent_bytes_ += aligned(static_cast<std::size_t>(shape.elements()) * size_of(dtype));
  return Slot{static_cast<int>(entries_.size()) - 1};
}

Slot ArenaPlan::transient(std::string name, DType dtype, Shape shape) {
  PLUMB_CHECK(!scopes_.empty(), "transient slot '{}' asked for outside a scope", name);
  entries_.push_back({std::move(name), dtype, shape, transient_bytes_, true});
  transient_bytes_ += aligned(static_cast<std::size_t>(shape.elements()) * size_of(dtype));
  transient_peak_ = std::max(transient_peak_, transient_bytes_);
  return Slot{static_cast<int>(entries_.size()) - 1};
}

void ArenaPlan::begin_scope() { scopes_.push_back(transient_bytes_); }

void ArenaPlan::end_scope() {
  PLUMB_CHECK(!scopes_.empty(), "end_scope without begin_scope");
  transient_bytes_ = scopes_.back();
  scopes_.pop_back();
}

void ArenaPlan::require_workspace(std::size_t bytes) {
  workspace_bytes_ = std::max(workspace_bytes_, aligned(bytes));
}

Arena::Arena(Backend& backend, const ArenaPlan& plan) : buffer_(backend.allocate(plan.bytes())) {
  auto* base = static_cast<char*>(buffer_.data());
  tensors_.reserve(plan.entries().size());
  for (const ArenaPlan::Entry& entry : plan.entries()) {
    char* region = entry.transient ? base + plan.persistent_bytes() : base;
    tensors_.emplace_back(region + entry.offset, entry.dtype, entry.shape);
  }
  workspace_ = {base + plan.persistent_bytes() + plan.transient_bytes(), plan.workspace_bytes()};
}

}  // namespace plumb
