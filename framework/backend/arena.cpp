#include "backend/arena.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace plumb {
namespace {
constexpr std::size_t kAlignment = 64;
std::size_t aligned(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
}  // namespace

Slot ArenaPlan::place(std::string name, DType dtype, Shape shape, Region region, std::size_t& filled) {
  entries_.push_back({std::move(name), dtype, shape, filled, region});
  filled += aligned(static_cast<std::size_t>(shape.elements()) * size_of(dtype));
  return Slot{static_cast<int>(entries_.size()) - 1};
}

Slot ArenaPlan::lasting(std::string name, DType dtype, Shape shape) {
  return place(std::move(name), dtype, shape, Region::Lasting, lasting_bytes_);
}

Slot ArenaPlan::persistent(std::string name, DType dtype, Shape shape) {
  if (!in_recomputed_) return lasting(std::move(name), dtype, shape);
  const Slot slot = place(std::move(name), dtype, shape, Region::Recomputed, recomputed_bytes_);
  recomputed_peak_ = std::max(recomputed_peak_, recomputed_bytes_);
  return slot;
}

Slot ArenaPlan::transient(std::string name, DType dtype, Shape shape) {
  PLUMB_CHECK(!scopes_.empty(), "transient slot '{}' asked for outside a scope", name);
  const Slot slot = place(std::move(name), dtype, shape, Region::Transient, transient_bytes_);
  transient_peak_ = std::max(transient_peak_, transient_bytes_);
  return slot;
}

void ArenaPlan::begin_recomputed() {
  PLUMB_CHECK(!in_recomputed_, "a recomputed span within another");
  in_recomputed_ = true;
  recomputed_bytes_ = 0;
}

void ArenaPlan::end_recomputed() {
  PLUMB_CHECK(in_recomputed_, "end_recomputed without begin_recomputed");
  in_recomputed_ = false;
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
  char* const recomputed = base + plan.lasting_bytes();
  char* const transient = recomputed + plan.recomputed_bytes();
  tensors_.reserve(plan.entries().size());
  for (const ArenaPlan::Entry& entry : plan.entries()) {
    char* const region = entry.region == ArenaPlan::Region::Lasting      ? base
                         : entry.region == ArenaPlan::Region::Recomputed ? recomputed
                                                                         : transient;
    tensors_.emplace_back(region + entry.offset, entry.dtype, entry.shape);
  }
  workspace_ = {transient + plan.transient_bytes(), plan.workspace_bytes()};
}

}  // namespace plumb
