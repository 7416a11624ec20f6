// A random language whose entropy is known exactly: an order-k Markov chain over a small alphabet.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace plumb {

/// An order-k chain over V symbols. Its state (context) is the last k symbols, numbered with the newest as
/// the lowest digit: context = sum over j = 1..k of x_{t-j} * V^(j-1).
class MarkovLanguage {
 public:
  /// Transition probabilities (V^k, V), one row per context. Throws InputError unless V >= 2, k >= 1 and the
  /// table has at most 2^24 entries; an Error when a row is no distribution or the stationary distribution
  /// does not converge (a periodic or reducible chain).
  MarkovLanguage(int symbols, int order, std::vector<double> transitions);

  /// A seeded language: each context is followed by `successors` random symbols (with repetition) with
  /// exponential weights, which is a Dirichlet(1,...,1) draw; a share of 2 % spread over all symbols makes
  /// the chain ergodic.
  static MarkovLanguage random(int symbols, int order, std::uint64_t language_seed, int successors = 6);

  int symbols() const { return symbols_; }
  int order() const { return order_; }
  std::size_t contexts() const { return stationary_.size(); }
  /// (V^k).
  std::span<const double> stationary() const { return stationary_; }
  /// (V), of one context.
  std::span<const double> transition_row(std::size_t context) const;

  /// Nats per symbol: -sum_c pi(c) sum_s P(s|c) ln P(s|c) (Shannon, 1948, theorem 5; Cover and Thomas,
  /// Elements of Information Theory, theorem 4.2.4).
  double entropy_rate() const { return entropy_rate_; }
  double entropy_rate_bits() const;
  /// Least expected mean loss over T targets of a stationary path of T+1 symbols, in nats, T+1 >= k: the
  /// first k-1 targets lack context. (H(X_1..X_k) - H(X_1) + (T+1-k) h) / T.
  double optimal_loss(std::int64_t sequence_length) const;

  /// A path's symbols are a pure function of (seed, path, position); its first k come from the stationary
  /// distribution. Calls emit(symbol) `count` times.
  template <class Emit>
  void sample_path(std::uint64_t seed, std::uint64_t path, std::uint64_t count, Emit&& emit) const {
    std::size_t context = draw_context(seed, path);
    std::size_t digit = contexts();
    for (std::uint64_t t = 0; t < count; ++t) {
      if (t < static_cast<std::uint64_t>(order_)) {  // spell out the first context, oldest symbol first
        digit /= static_cast<std::size_t>(symbols_);
        emit(static_cast<std::int32_t>(context / digit % static_cast<std::size_t>(symbols_)));
      } else {
        const std::int32_t symbol = draw_symbol(seed, path, t, context);
        context = next_context(context, symbol);
        emit(symbol);
      }
    }
  }

  /// One path as text, for training where no text is at hand: the symbols are a space, a-z, .,;:' and further
  /// printable ASCII; at most 95. Throws InputError when the language has more.
  std::string generate_text(std::uint64_t bytes, std::uint64_t seed) const;

 private:
  std::size_t next_context(std::size_t context, std::int32_t symbol) const {
    return (context * static_cast<std::size_t>(symbols_) + static_cast<std::size_t>(symbol)) % contexts();
  }
  std::size_t draw_context(std::uint64_t seed, std::uint64_t path) const;
  std::int32_t draw_symbol(std::uint64_t seed, std::uint64_t path, std::uint64_t position,
                           std::size_t context) const;
  void find_stationary();
  void find_entropies();

  int symbols_, order_;
  std::vector<double> transitions_;            ///< (V^k, V)
  std::vector<double> cumulative_;             ///< (V^k, V), sums along rows
  std::vector<double> stationary_;             ///< (V^k)
  std::vector<double> stationary_cumulative_;  ///< (V^k)
  double entropy_rate_ = 0;
  double first_block_entropy_ = 0;  ///< H(X_2..X_k | X_1), nats
};

}  // namespace plumb
