// Count-based Markov models: the yardstick that a trained model's bits per byte is held against.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace plumb {

/// The models of orders 0 .. K at once (order k looks at the last k tokens), counted on a training split and
/// smoothed by interpolated Witten-Bell: with c(h,s) = how often s followed the context h, c(h) = sum_s
/// c(h,s), n(h) = how many different s followed h, and h' = h without its oldest token,
///     p(s|h) = (c(h,s) + n(h) p(s|h')) / (c(h) + n(h)),       p(s|h) = p(s|h') where c(h) = 0,
/// ending below order 0 in the uniform distribution over the vocabulary. No parameter is tuned, every token
/// has a positive probability. (Witten and Bell, 1991, IEEE Trans. Inf. Theory 37(4), method C; in this form:
/// Chen and Goodman, 1999, Computer Speech and Language 13(4), section 2.4.)
class MarkovModel {
 public:
  /// The highest order whose context and next token fit a 64-bit key: 7 for bytes, 3 for 65536 tokens.
  static int largest_order(int vocabulary);

  /// Throws InputError on a training token outside the vocabulary; 0 <= order <= largest_order(vocabulary).
  /// Memory grows with the number of different contexts, about 60 bytes each.
  MarkovModel(std::span<const std::uint16_t> training, int vocabulary, int order);

  int order() const { return order_; }
  /// p(next | context) of each order, (K+1): the context's last k tokens are used, or fewer where it is
  /// shorter. Throws InputError on a token outside the vocabulary.
  std::vector<double> probabilities(std::span<const std::uint16_t> context, std::uint16_t next) const;
  /// Mean -log2 p over all tokens in turn, each given those before it; (K+1), element k of order k.
  std::vector<double> bits_per_token(std::span<const std::uint16_t> tokens) const;

 private:
  struct Context {
    std::uint64_t total = 0;     ///< c(h)
    std::uint32_t distinct = 0;  ///< n(h)
  };
  struct Counts {
    std::unordered_map<std::uint64_t, Context> contexts;          ///< by h
    std::unordered_map<std::uint64_t, std::uint64_t> successors;  ///< c(h,s), by h then s
  };

  void check(std::uint16_t token) const;
  /// The last k tokens of a packed history (newest token lowest).
  std::uint64_t last_tokens(std::uint64_t history, int k) const;
  /// Fills p[0..order_]; `available` tokens of the history are real.
  void interpolate(std::uint64_t history, std::size_t available, std::uint16_t next,
                   std::span<double> p) const;

  int vocabulary_, order_;
  int token_bits_;
  std::vector<Counts> counts_;  ///< (K+1)
};

}  // namespace plumb
