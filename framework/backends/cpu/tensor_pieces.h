// One pass over many tensors at once, with sums per tensor: the shape of optimiser steps and gradient norms,
// where hundreds of tensors range from a few to millions of elements.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/parallel_for.h"

namespace plumb::cpu {

template <int kSums, class Sum = double>
using PieceSums = std::array<Sum, static_cast<std::size_t>(kSums)>;

/// Splits the elements of all `count` tensors, laid end to end, evenly over threads. piece(n, begin, end)
/// works on elements [begin, end) of tensor n and returns its sums; store(n, sums) gets the sums of the whole
/// tensor, its pieces added in ascending order.
template <int kSums, class Sum = double, class ElementsOf, class Piece, class Store>
void for_tensor_pieces(std::int64_t count, ElementsOf&& elements_of, Piece&& piece, Store&& store) {
  constexpr std::int64_t kGrain = 32768, kMaxChunks = 256;
  // A chunk cuts at most two tensors: the one it starts in and the one it ends in.
  struct CutTensor {
    std::int64_t n = -1;
    PieceSums<kSums, Sum> sums{};
  };
  std::array<std::array<CutTensor, 2>, kMaxChunks> cut_tensors;
  std::int64_t total = 0;
  for (std::int64_t n = 0; n < count; ++n) {
    total += elements_of(n);
    if (elements_of(n) == 0) store(n, PieceSums<kSums, Sum>{});
  }
  const std::int64_t grain = std::max(kGrain, (total + kMaxChunks - 1) / kMaxChunks);
  const std::int64_t chunks = std::min(kMaxChunks, std::max<std::int64_t>(1, (total + grain - 1) / grain));
  for (std::int64_t c = 0; c < chunks; ++c) cut_tensors[static_cast<std::size_t>(c)] = {};

  parallel_chunks(total, grain, [&](int chunk, std::int64_t begin, std::int64_t end) {
    auto& cuts = cut_tensors[static_cast<std::size_t>(chunk)];
    std::int64_t first = 0;  // position of tensor n
    for (std::int64_t n = 0; n < count && first < end; ++n) {
      const std::int64_t elements = elements_of(n);
      const std::int64_t from = std::max(begin, first) - first, to = std::min(end, first + elements) - first;
      first += elements;
      if (from >= to) continue;
      const PieceSums<kSums, Sum> sums = piece(n, from, to);
      if (to - from == elements) {
        store(n, sums);
      } else {
        (cuts[0].n < 0 ? cuts[0] : cuts[1]) = {n, sums};
      }
    }
  });

  CutTensor whole;
  for (std::int64_t c = 0; c < chunks; ++c) {
    for (const CutTensor& cut : cut_tensors[static_cast<std::size_t>(c)]) {
      if (cut.n < 0) continue;
      if (cut.n != whole.n) {
        if (whole.n >= 0) store(whole.n, whole.sums);
        whole = {cut.n, {}};
      }
      for (std::size_t s = 0; s < whole.sums.size(); ++s) whole.sums[s] += cut.sums[s];
    }
  }
  if (whole.n >= 0) store(whole.n, whole.sums);
}

}  // namespace plumb::cpu
