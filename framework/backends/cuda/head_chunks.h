// How the head cuts its logits into chunks. Shapes alone decide.
#pragma once

#include <algorithm>
#include <cstdint>

namespace plumb::cuda {

/// Logits of a chunk. With 4096 rows and as many entries: 64 MiB of fp32, enough tiles of a product for every
/// multiprocessor, and the fp32 gradients that chunks share (dweight by rows, dh by entries) are read and
/// written seldom.
inline constexpr std::int64_t kChunkLogits = std::int64_t{1} << 24;

/// Rows that are taken at once with their whole vocabulary, where gradients are made of logits in place. The
/// fp32 gradient of the weight is read and written once for so many rows: of an H100 that takes as long as
/// 1200 rows of its product do (989e12 / 3.35e12 * 4). With 50304 entries these are 393 MiB of logits.
inline constexpr std::int64_t kJoinedRows = 2048;

/// As few near-square chunks as hold at most `most` logits each, all but the last in a direction of one size.
struct HeadChunks {
  static constexpr std::int64_t kUnit = 64;  ///< chunk sizes are multiples of it, so chunks are aligned

  HeadChunks(std::int64_t rows_in, std::int64_t vocabulary_in, std::int64_t most)
      : total_rows(rows_in), total_vocabulary(vocabulary_in) {
    std::int64_t side = kUnit;
    while ((side + kUnit) * (side + kUnit) <= most) side += kUnit;
    // The shorter side first: what it leaves over goes to the other.
    if (total_rows <= total_vocabulary) {
      rows = evenly(total_rows, side);
      vocabulary = evenly(total_vocabulary, most / rows);
    } else {
      vocabulary = evenly(total_vocabulary, side);
      rows = evenly(total_rows, most / vocabulary);
    }
  }
  std::int64_t total_rows, total_vocabulary;
  std::int64_t rows = 1, vocabulary = 1;  ///< of a chunk

  bool whole_vocabulary() const { return vocabulary >= total_vocabulary; }

  /// The size of pieces of at most `most` (rounded down to kUnit, one at least) into which `total` is cut
  /// evenly.
  static std::int64_t evenly(std::int64_t total, std::int64_t most) {
    const std::int64_t largest = std::max(kUnit, most / kUnit * kUnit),
                       pieces = (total + largest - 1) / largest;
    const std::int64_t each = (total + pieces - 1) / std::max<std::int64_t>(1, pieces);
    return std::max(kUnit, (each + kUnit - 1) / kUnit * kUnit);
  }
  /// How many rows are taken at once with their whole vocabulary: `least`, or what makes `logits` of them.
  static std::int64_t joined_rows(std::int64_t rows, std::int64_t vocabulary, std::int64_t logits,
                                  std::int64_t least) {
    return std::min(rows, evenly(rows, std::max(least, logits / vocabulary)));
  }
  /// Calls body(first, count) for the chunks of [0, total).
  template <class Body>
  static void walk(std::int64_t total, std::int64_t chunk, Body&& body) {
    for (std::int64_t first = 0; first < total; first += chunk) body(first, std::min(chunk, total - first));
  }
  /// Calls body(rows, entries) once for each size that chunks have.
  template <class Body>
  void for_sizes(Body&& body) const {
    for (const std::int64_t r : {std::min(rows, total_rows), total_rows % rows})
      for (const std::int64_t v : {std::min(vocabulary, total_vocabulary), total_vocabulary % vocabulary})
        if (r > 0 && v > 0) body(r, v);
  }
};

}  // namespace plumb::cuda
