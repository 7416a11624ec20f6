// Attention by tiles with a running softmax: the backward pass of arXiv 2307.08691. Only tiles of
// (kQueryTile, kKeyTile) logits exist at any time.
#include <array>
#include <cmath>

#include "backends/cpu/attention_tiles.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/running_softmax.h"
#include "core/parallel_for.h"

namespace plumb::cpu {
namespace {

/// One thread's scratch of a backward pass.
struct BackwardScratch {
  BackwardScratch(WorkspaceCarver& carver, const HeadGeometry& geometry)
      : k(carver.take<float>(geometry.rows_size())),
        dk(carver.take<float>(geometry.rows_size())),
        dv(carver.take<float>(geometry.rows_size())),
        k_transposed(carver.take<float>(geometry.transposed_size())),
        v_transposed(carver.take<float>(geometry.transposed_size())),
        q(carver.take<float>(geometry.tile_size())),
        dout(carver.take<float>(geometry.tile_size())),
        dq(carver.take<float>(geometry.tile_size())),
        p(carver.take<float>(kQueryTile * kKeyTile)),
        dp(carver.take<float>(kQueryTile * kKeyTile)) {}
  float *k, *dk, *dv, *k_transposed, *v_transposed, *q, *dout, *dq, *p, *dp;
};

/// A thread owns a head: dk and dv of its keys are sums over queries in ascending order.
template <class Element>
class Backward {
 public:
  explicit Backward(const AttentionBackward& arguments)
      : arguments_(arguments), shape_(arguments.shape), geometry_(shape_), dropout_(shape_) {}

  void run() const {
    WorkspaceCarver carver(arguments_.workspace);
    const ThreadScratch<BackwardScratch> scratch(carver, geometry_);
    parallel_chunks(shape_.batch * shape_.heads,
                    task_grain(3 * geometry_.tokens * geometry_.tokens * geometry_.width),
                    [&](int thread, std::int64_t begin, std::int64_t end) {
                      const BackwardScratch own = scratch.of(thread);
                      for (std::int64_t plane = begin; plane < end; ++plane) {
                        run_head(own, plane, std::min(plane + 1, end - 1));
                      }
                    });
  }

 private:
  /// Planes count (sequence, head), heads fastest; next is the plane after this one, or the last one itself.
  void run_head(const BackwardScratch& scratch, std::int64_t plane, std::int64_t next) const {
    const std::int64_t sequence = plane / shape_.heads, head = plane % shape_.heads;
    const auto* k = head_row<Element>(arguments_.k, shape_, sequence, head, 0);
    const auto* v = head_row<Element>(arguments_.v, shape_, sequence, head, 0);
    unpack_rows(k, arguments_.k.row_stride, geometry_.tokens, geometry_, 1.0F, scratch.k);
    unpack_transposed(k, arguments_.k.row_stride, geometry_, scratch.k_transposed);
    unpack_transposed(v, arguments_.v.row_stride, geometry_, scratch.v_transposed);
    const std::int64_t key_group = masked_group(shape_, {{scratch.k, geometry_.rows_size()}});
    std::fill(scratch.dk, scratch.dk + geometry_.rows_size(), 0.0F);
    std::fill(scratch.dv, scratch.dv + geometry_.rows_size(), 0.0F);
    for (std::int64_t first = 0; first < geometry_.tokens; first += kQueryTile) {
      run_query_tile(scratch, sequence, head, first, key_group, next);
    }
    pack_rows(scratch.dk, geometry_, geometry_.tokens,
              head_row<Element>(arguments_.dk, shape_, sequence, head, 0), arguments_.dk.row_stride);
    pack_rows(scratch.dv, geometry_, geometry_.tokens,
              head_row<Element>(arguments_.dv, shape_, sequence, head, 0), arguments_.dv.row_stride);
  }

  void run_query_tile(const BackwardScratch& scratch, std::int64_t sequence, std::int64_t head,
                      std::int64_t first, std::int64_t key_group, std::int64_t next) const {
    const std::int64_t queries = std::min(kQueryTile, geometry_.tokens - first);
    const std::int64_t padded = geometry_.padded_width, stride = geometry_.transposed_stride;
    const auto scale = static_cast<float>(shape_.scale);
    // q carries the scale: the logits and dk need it, and dq gets it at the end.
    unpack_rows(head_row<Element>(arguments_.q, shape_, sequence, head, first), arguments_.q.row_stride,
                queries, geometry_, scale, scratch.q);
    unpack_rows(head_row<Element>(arguments_.dout, shape_, sequence, head, first), arguments_.dout.row_stride,
                queries, geometry_, 1.0F, scratch.dout);
    const std::int64_t query_group =
        masked_group(shape_, {{scratch.q, queries * padded}, {scratch.dout, queries * padded}});
    std::array<float, kQueryTile> expected{};
    expected_gradients(scratch, sequence, head, first, queries, expected.data());
    std::fill(scratch.dq, scratch.dq + queries * padded, 0.0F);
    for_key_tiles(shape_, first, queries, [&](const Tile& tile) {
      multiply_keys(tile, scratch.q, padded, scratch.k_transposed + tile.first_key, stride, geometry_.width,
                    scratch.p);
      multiply_keys(tile, scratch.dout, padded, scratch.v_transposed + tile.first_key, stride,
                    geometry_.width, scratch.dp);
      for (std::int64_t i = 0; i < queries; ++i) {
        if (tile.first_key == 0)
          fetch_token<Element>(
              shape_, next, first + i,
              {&arguments_.q, &arguments_.k, &arguments_.v, &arguments_.out, &arguments_.dout});
        differentiate_row(scratch, tile, sequence, head, i, expected[static_cast<std::size_t>(i)]);
      }
      const std::int64_t offset = tile.first_key * padded;
      add_over_queries(tile, query_group, scratch.p, scratch.dout, scratch.dv + offset, padded);
      add_over_queries(tile, query_group, scratch.dp, scratch.q, scratch.dk + offset, padded);
      add_over_keys(tile, key_group, scratch.dp, scratch.k + offset, scratch.dq, padded);
    });
    for (std::int64_t i = 0; i < queries * padded; ++i) scratch.dq[i] *= scale;
    pack_rows(scratch.dq, geometry_, queries, head_row<Element>(arguments_.dq, shape_, sequence, head, first),
              arguments_.dq.row_stride);
  }

  /// sum_j P_ij dP_ij = dout_i . out_i, what the softmax subtracts.
  void expected_gradients(const BackwardScratch& scratch, std::int64_t sequence, std::int64_t head,
                          std::int64_t first, std::int64_t queries, float* expected) const {
    unpack_rows(head_row<Element>(arguments_.out, shape_, sequence, head, first), arguments_.out.row_stride,
                queries, geometry_, 1.0F, scratch.dq);  // dq is free until the first tile
    for (std::int64_t i = 0; i < queries; ++i) {
      const float* out = scratch.dq + i * geometry_.padded_width;
      const float* dout = scratch.dout + i * geometry_.padded_width;
      LanesValue sums{};
      for (std::int64_t d = 0; d < geometry_.padded_width; d += kLanes) {
        sums += lanes_at(out + d) * lanes_at(dout + d);
      }
      expected[i] = sum_of_lanes(sums);
    }
  }

  /// From logits in p and dout . v in dp: p becomes the probabilities that met v, dp the gradient of the
  /// logits before the soft cap and the scale.
  void differentiate_row(const BackwardScratch& scratch, const Tile& tile, std::int64_t sequence,
                         std::int64_t head, std::int64_t i, float expected) const {
    float* p = scratch.p + i * kKeyTile;
    float* dp = scratch.dp + i * kKeyTile;
    const std::int64_t query = tile.first_query + i, visible = tile.visible(i), held = tile.held(i);
    const float log_sum_exp =
        arguments_.log_sum_exp.as<float>()[(sequence * shape_.heads + head) * shape_.tokens + query];
    std::array<float, kKeyTile> slope, factor;
    if (shape_.soft_cap > 0) {
      apply_soft_cap(p, held, shape_.soft_cap);
      const auto inverse = static_cast<float>(1 / shape_.soft_cap);
      for (std::int64_t j = 0; j < held; ++j) {
        const float ratio = p[j] * inverse;
        slope[static_cast<std::size_t>(j)] = 1.0F - ratio * ratio;
      }
    }
    if (!dropout_.active() && !(shape_.soft_cap > 0)) {
      for (std::int64_t j = 0; j < held; j += kLanes) {
        const LanesValue probability =
            lanes_below(visible - j) ? vector_exp_or_zero(lanes_at(p + j) - log_sum_exp) : LanesValue{};
        const LanesValue gradient = probability * (lanes_at(dp + j) - expected);
        lanes_at(p + j) = probability;
        lanes_at(dp + j) = lanes_below(visible - j) ? gradient : LanesValue{};  // dp may not be finite
      }
      return;
    }
    for (std::int64_t j = 0; j < held; ++j) p[j] = vector_exp_or_zero(p[j] - log_sum_exp);
    fill_after(p, visible, held, 0.0F);
    if (dropout_.active()) {
      dropout_.factors(sequence, head, query, tile.first_key, visible, factor.data());
      for (std::int64_t j = 0; j < visible; ++j) {
        const float kept = factor[static_cast<std::size_t>(j)];
        dp[j] = p[j] * (kept * dp[j] - expected);
        p[j] *= kept;
      }
    } else {
      for (std::int64_t j = 0; j < held; ++j) dp[j] = p[j] * (dp[j] - expected);
    }
    if (shape_.soft_cap > 0) {
      for (std::int64_t j = 0; j < held; ++j) dp[j] *= slope[static_cast<std::size_t>(j)];
    }
    fill_after(dp, visible, held, 0.0F);  // at the end: what is masked may not be finite
  }

  const AttentionBackward& arguments_;
  const AttentionShape& shape_;
  HeadGeometry geometry_;
  AttentionDropout dropout_;
};

}  // namespace

void CpuAttention::attention_backward(Stream& /*stream*/, const AttentionBackward& arguments) const {
  check_attention("attention_backward", arguments.shape,
                  {{"q", arguments.q},
                   {"k", arguments.k},
                   {"v", arguments.v},
                   {"out", arguments.out},
                   {"dout", arguments.dout},
                   {"dq", arguments.dq},
                   {"dk", arguments.dk},
                   {"dv", arguments.dv}},
                  arguments.log_sum_exp);
  if (arguments.q.dtype == DType::BFloat16) {
    Backward<bfloat16>(arguments).run();
  } else {
    Backward<float>(arguments).run();
  }
}

std::size_t CpuAttention::attention_backward_workspace(const AttentionBackward& arguments) const {
  const HeadGeometry geometry(arguments.shape);
  WorkspaceCarver carver;
  ThreadScratch<BackwardScratch>(carver, geometry);
  return carver.bytes();
}

}  // namespace plumb::cpu
