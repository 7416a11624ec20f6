// Attention by tiles with a running softmax: FlashAttention, arXiv 2205.14135. Only tiles of (kQueryTile,
// kKeyTile) logits exist at any time.
#include <array>
#include <cmath>

#include "backends/cpu/attention_tiles.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/running_softmax.h"
#include "core/maximum.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

/// One thread's scratch of a forward pass, and which head it holds.
struct ForwardScratch {
  ForwardScratch(WorkspaceCarver& carver, const HeadGeometry& geometry)
      : k_transposed(carver.take<float>(geometry.transposed_size())),
        v(carver.take<float>(geometry.rows_size())),
        q(carver.take<float>(geometry.tile_size())),
        mixed(carver.take<float>(geometry.tile_size())),
        logits(carver.take<float>(kQueryTile * kKeyTile)) {}
  float *k_transposed, *v, *q, *mixed, *logits;
};

/// One for each tile of queries of every head of every sequence, the tiles counting fastest.
std::int64_t task_count(const AttentionShape& shape, const HeadGeometry& geometry) {
  return shape.batch * shape.heads * geometry.query_tiles;
}

/// kWithEntropy: arguments.entropy_sums is wanted.
template <class Element, bool kWithEntropy>
class Forward {
 public:
  explicit Forward(const AttentionForward& arguments)
      : arguments_(arguments), shape_(arguments.shape), geometry_(shape_), dropout_(shape_) {}

  void run() const {
    WorkspaceCarver carver(arguments_.workspace);
    const int threads = thread_count();
    auto* largest = carver.take<float>(threads * kLanes);  // a cache line for each thread
    std::fill(largest, largest + threads * kLanes, kMinusInfinity);
    auto* entropies = carver.take<double>(kWithEntropy ? task_count(shape_, geometry_) : 0);
    const ThreadScratch<ForwardScratch> scratch(carver, geometry_);
    parallel_chunks(task_count(shape_, geometry_),
                    task_grain(kQueryTile * geometry_.tokens * geometry_.width),
                    [&](int thread, std::int64_t begin, std::int64_t end) {
                      largest[thread * kLanes] = run_tasks(scratch.of(thread), begin, end, entropies);
                    });
    if constexpr (kWithEntropy) {
      // In the order of the tasks, whatever threads had them.
      auto* sums = arguments_.entropy_sums.as<double>();
      for (std::int64_t task = 0; task < task_count(shape_, geometry_); ++task)
        sums[task / geometry_.query_tiles % shape_.heads] += entropies[task];
    }
    if (!arguments_.max_logit.defined()) return;
    auto* maximum = arguments_.max_logit.as<double>();
    for (int thread = 0; thread < threads; ++thread) {
      *maximum = maximum_or_nan(*maximum, static_cast<double>(largest[thread * kLanes]));
    }
  }

 private:
  /// Tasks count query tiles fastest, so a thread unpacks a head once. Returns the largest logit.
  float run_tasks(const ForwardScratch& scratch, std::int64_t begin, std::int64_t end,
                  double* entropies) const {
    float largest = kMinusInfinity;
    std::int64_t group = kTileRows;
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t plane = task / geometry_.query_tiles;
      const std::int64_t sequence = plane / shape_.heads, head = plane % shape_.heads;
      if (task == begin || task % geometry_.query_tiles == 0) {
        unpack_transposed(head_row<Element>(arguments_.k, shape_, sequence, head, 0), arguments_.k.row_stride,
                          geometry_, scratch.k_transposed);
        unpack_rows(head_row<Element>(arguments_.v, shape_, sequence, head, 0), arguments_.v.row_stride,
                    geometry_.tokens, geometry_, 1.0F, scratch.v);
        group = masked_group(shape_, {{scratch.v, geometry_.rows_size()}});
      }
      const std::int64_t next = std::min(plane + 1, (end - 1) / geometry_.query_tiles);
      const float tile = run_query_tile(scratch, sequence, head, task % geometry_.query_tiles * kQueryTile,
                                        group, next, kWithEntropy ? entropies + task : nullptr);
      largest = maximum_or_nan(largest, tile);
    }
    return largest;
  }

  /// next: the plane after this one, or this one itself.
  float run_query_tile(const ForwardScratch& scratch, std::int64_t sequence, std::int64_t head,
                       std::int64_t first, std::int64_t group, std::int64_t next, double* entropy) const {
    const std::int64_t queries = std::min(kQueryTile, geometry_.tokens - first);
    const std::int64_t padded = geometry_.padded_width;
    std::array<RunningSoftmax, kQueryTile> rows{};
    unpack_rows(head_row<Element>(arguments_.q, shape_, sequence, head, first), arguments_.q.row_stride,
                queries, geometry_, static_cast<float>(shape_.scale), scratch.q);
    std::fill(scratch.mixed, scratch.mixed + queries * padded, 0.0F);
    for_key_tiles(shape_, first, queries, [&](const Tile& tile) {
      multiply_keys(tile, scratch.q, padded, scratch.k_transposed + tile.first_key,
                    geometry_.transposed_stride, geometry_.width, scratch.logits);
      for (std::int64_t i = 0; i < queries; ++i) {
        if (tile.first_key == 0)
          fetch_token<Element>(shape_, next, first + i, {&arguments_.q, &arguments_.k, &arguments_.v});
        absorb_row(scratch, tile, sequence, head, i, rows[static_cast<std::size_t>(i)]);
      }
      add_over_keys(tile, group, scratch.logits, scratch.v + tile.first_key * padded, scratch.mixed, padded);
    });
    return finish_rows(scratch, sequence, head, first, queries, rows.data(), entropy);
  }

  void absorb_row(const ForwardScratch& scratch, const Tile& tile, std::int64_t sequence, std::int64_t head,
                  std::int64_t i, RunningSoftmax& row) const {
    float* logits = scratch.logits + i * kKeyTile;
    const std::int64_t visible = tile.visible(i), held = tile.held(i);
    if (shape_.soft_cap > 0) apply_soft_cap(logits, held, shape_.soft_cap);
    const float correction = row.template absorb<kWithEntropy>(logits, visible, held);
    if (tile.first_key > 0) {
      float* mixed = scratch.mixed + i * geometry_.padded_width;
      for (std::int64_t d = 0; d < geometry_.padded_width; ++d) mixed[d] *= correction;
    }
    if (dropout_.active()) {
      dropout_.apply(sequence, head, tile.first_query + i, tile.first_key, visible, logits);
    }
  }

  /// Divides by the sums and writes the outputs; returns the largest logit of the tile.
  float finish_rows(const ForwardScratch& scratch, std::int64_t sequence, std::int64_t head,
                    std::int64_t first, std::int64_t queries, const RunningSoftmax* rows,
                    double* entropy) const {
    auto* log_sum_exp =
        arguments_.log_sum_exp.as<float>() + (sequence * shape_.heads + head) * shape_.tokens + first;
    float largest = kMinusInfinity;
    if constexpr (kWithEntropy) *entropy = 0;
    for (std::int64_t i = 0; i < queries; ++i) {
      const float log_sum = std::log(rows[i].sum);
      if constexpr (kWithEntropy) *entropy += static_cast<double>(rows[i].entropy(log_sum));
      const float inverse = 1.0F / rows[i].sum;
      float* mixed = scratch.mixed + i * geometry_.padded_width;
      for (std::int64_t d = 0; d < geometry_.padded_width; ++d) mixed[d] *= inverse;
      log_sum_exp[i] = rows[i].largest + log_sum;
      largest = maximum_or_nan(largest, rows[i].largest_or_nan());
    }
    pack_rows(scratch.mixed, geometry_, queries,
              head_row<Element>(arguments_.out, shape_, sequence, head, first), arguments_.out.row_stride);
    return largest;
  }

  const AttentionForward& arguments_;
  const AttentionShape& shape_;
  HeadGeometry geometry_;
  AttentionDropout dropout_;
};

template <class Element>
void run_forward(const AttentionForward& arguments) {
  if (arguments.entropy_sums.defined()) {
    Forward<Element, true>(arguments).run();
  } else {
    Forward<Element, false>(arguments).run();
  }
}

}  // namespace

void CpuAttention::attention_forward(Stream& /*stream*/, const AttentionForward& arguments) const {
  check_attention("attention_forward", arguments.shape,
                  {{"q", arguments.q}, {"k", arguments.k}, {"v", arguments.v}, {"out", arguments.out}},
                  arguments.log_sum_exp);
  optional_vector<double>("attention_forward", "max_logit", arguments.max_logit, 1);
  optional_vector<double>("attention_forward", "entropy_sums", arguments.entropy_sums, arguments.shape.heads);
  if (arguments.q.dtype == DType::BFloat16) {
    run_forward<bfloat16>(arguments);
  } else {
    run_forward<float>(arguments);
  }
}

std::size_t CpuAttention::attention_forward_workspace(const AttentionForward& arguments) const {
  const HeadGeometry geometry(arguments.shape);
  WorkspaceCarver carver;
  carver.take<float>(thread_count() * kLanes);
  if (arguments.entropy_sums.defined()) carver.take<double>(task_count(arguments.shape, geometry));
  ThreadScratch<ForwardScratch>(carver, geometry);
  return carver.bytes();
}

}  // namespace plumb::cpu
