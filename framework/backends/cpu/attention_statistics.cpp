// Largest logit and entropies of attention that something else computed, by the tiles of its forward pass.
#include <algorithm>
#include <cmath>

#include "backends/cpu/attention_tiles.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/running_softmax.h"
#include "core/maximum.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

/// One thread's scratch.
struct StatisticsScratch {
  StatisticsScratch(WorkspaceCarver& carver, const HeadGeometry& geometry)
      : k_transposed(carver.take<float>(geometry.transposed_size())),
        q(carver.take<float>(geometry.tile_size())),
        logits(carver.take<float>(kQueryTile * kKeyTile)) {}
  float *k_transposed, *q, *logits;
};

/// What is known of one head of one sequence.
struct HeadStatistics {
  double entropy = 0;
  float largest = kMinusInfinity;
};

template <class Element>
class Statistics {
 public:
  explicit Statistics(const AttentionStatistics& arguments)
      : arguments_(arguments), shape_(arguments.shape), geometry_(shape_) {}

  void run() const {
    const std::int64_t heads = shape_.heads, planes = shape_.batch * heads;
    WorkspaceCarver carver(arguments_.workspace);
    auto* found = carver.take<HeadStatistics>(planes);
    const ThreadScratch<StatisticsScratch> scratch(carver, geometry_);
    parallel_chunks(planes, task_grain(geometry_.tokens * geometry_.tokens * geometry_.width),
                    [&](int thread, std::int64_t begin, std::int64_t end) {
                      const StatisticsScratch own = scratch.of(thread);
                      for (std::int64_t plane = begin; plane < end; ++plane)
                        found[plane] = run_head(own, plane);
                    });
    for (std::int64_t plane = 0; plane < planes; ++plane) {
      if (arguments_.entropy_sums.defined())
        arguments_.entropy_sums.as<double>()[plane % heads] += found[plane].entropy;
      if (arguments_.max_logit.defined()) {
        auto* maximum = arguments_.max_logit.as<double>();
        *maximum = maximum_or_nan(*maximum, static_cast<double>(found[plane].largest));
      }
    }
  }

 private:
  HeadStatistics run_head(const StatisticsScratch& scratch, std::int64_t plane) const {
    const std::int64_t sequence = plane / shape_.heads, head = plane % shape_.heads;
    unpack_transposed(head_row<Element>(arguments_.k, shape_, sequence, head, 0), arguments_.k.row_stride,
                      geometry_, scratch.k_transposed);
    HeadStatistics found;
    for (std::int64_t first = 0; first < geometry_.tokens; first += kQueryTile) {
      const std::int64_t queries = std::min(kQueryTile, geometry_.tokens - first);
      unpack_rows(head_row<Element>(arguments_.q, shape_, sequence, head, first), arguments_.q.row_stride,
                  queries, geometry_, static_cast<float>(shape_.scale), scratch.q);
      const float* log_sum_exp = arguments_.log_sum_exp.as<float>() + plane * geometry_.tokens + first;
      for_key_tiles(shape_, first, queries, [&](const Tile& tile) {
        tile_product<false>({scratch.q, geometry_.padded_width, 1}, scratch.k_transposed + tile.first_key,
                            geometry_.transposed_stride, scratch.logits, kKeyTile, queries, tile.width,
                            geometry_.width);
        for (std::int64_t i = 0; i < queries; ++i)
          see_row(scratch.logits + i * kKeyTile, tile, i, log_sum_exp[i], found);
      });
      for (std::int64_t i = 0; i < queries; ++i)
        if (std::isnan(log_sum_exp[i])) found.largest = log_sum_exp[i];
    }
    return found;
  }

  /// Sums p (log_sum_exp - s), which has no difference of large numbers in it: the probabilities sum to one.
  void see_row(float* logits, const Tile& tile, std::int64_t i, float log_sum_exp,
               HeadStatistics& found) const {
    if (shape_.soft_cap > 0) apply_soft_cap(logits, tile.width, shape_.soft_cap);
    // Whole vectors, as the softmax has them. A NaN that largest_of passes over is in log_sum_exp too.
    const std::int64_t visible = tile.visible(i), width = tile.width;
    std::fill(logits + visible, logits + width, kMinusInfinity);
    found.largest = maximum_or_nan(found.largest, largest_of(logits, width));
    for (std::int64_t j = 0; j < width; ++j) {
      const float surprise = log_sum_exp - logits[j];
      logits[j] = vector_exp(-surprise) * surprise;
    }
    std::fill(logits + visible, logits + width, 0.0F);
    found.entropy += static_cast<double>(sum_of(logits, width));
  }

  const AttentionStatistics& arguments_;
  const AttentionShape& shape_;
  HeadGeometry geometry_;
};

}  // namespace

void CpuAttention::attention_statistics(Stream& /*stream*/, const AttentionStatistics& arguments) const {
  const char* op = "attention_statistics";
  check_attention(op, arguments.shape, {{"q", arguments.q}, {"k", arguments.k}}, arguments.log_sum_exp);
  optional_vector<double>(op, "entropy_sums", arguments.entropy_sums, arguments.shape.heads);
  optional_vector<double>(op, "max_logit", arguments.max_logit, 1);
  if (arguments.q.dtype == DType::BFloat16) {
    Statistics<bfloat16>(arguments).run();
  } else {
    Statistics<float>(arguments).run();
  }
}

std::size_t CpuAttention::attention_statistics_workspace(const AttentionStatistics& arguments) const {
  const HeadGeometry geometry(arguments.shape);
  WorkspaceCarver carver;
  carver.take<HeadStatistics>(arguments.shape.batch * arguments.shape.heads);
  ThreadScratch<StatisticsScratch>(carver, geometry);
  return carver.bytes();
}

}  // namespace plumb::cpu
