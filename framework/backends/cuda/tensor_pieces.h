// One launch over many tensors of very different sizes: the shape of optimiser steps and gradient norms.
//
// Every tensor is cut into pieces of kPieceElements, one for each block of threads. What a kernel must know
// of the tensors travels as a kernel argument, so nothing is allocated or copied; since arguments are limited
// to 4 KB, long lists take several launches. A piece is the same whatever launch it is in, and so are
// results.
#pragma once

#include <cstddef>
#include <cstdint>

namespace plumb::cuda {

inline constexpr std::int64_t kPieceElements = 16384;

constexpr std::int64_t pieces_of(std::int64_t elements) {
  return (elements + kPieceElements - 1) / kPieceElements;
}

/// Up to kMost tensors of one launch. Entry describes one and has a member `elements`.
template <class Entry, int kMost>
struct TensorPieces {
  static constexpr int kMostEntries = kMost;

  Entry entries[kMost];
  std::int32_t first_piece[kMost + 1];  ///< of each entry, counted in this launch; and how many there are
  std::int32_t count = 0;
  std::int64_t first_tensor = 0;          ///< of this launch, in the whole list
  std::int64_t pieces_before_launch = 0;  ///< those of earlier launches

  TensorPieces() { first_piece[0] = 0; }
  void add(const Entry& entry) {
    entries[count] = entry;
    first_piece[count + 1] = first_piece[count] + static_cast<std::int32_t>(pieces_of(entry.elements));
    ++count;
  }
  std::int32_t pieces() const { return first_piece[count]; }
};

/// Calls body(pieces) for one launch's worth of tensors after the other; make_entry(tensor) describes one.
template <class Pieces, class Tensors, class MakeEntry, class Body>
void for_launches(const Tensors& tensors, MakeEntry&& make_entry, Body&& body) {
  std::int64_t pieces_before = 0;
  for (std::size_t first = 0; first < tensors.size(); first += Pieces::kMostEntries) {
    Pieces pieces;
    pieces.first_tensor = static_cast<std::int64_t>(first);
    pieces.pieces_before_launch = pieces_before;
    for (std::size_t n = first; n < tensors.size() && pieces.count < Pieces::kMostEntries; ++n)
      pieces.add(make_entry(tensors[n]));
    body(pieces);
    pieces_before += pieces.pieces();
  }
}

}  // namespace plumb::cuda
