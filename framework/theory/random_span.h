// Sums of random vectors of which only second moments are known.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace plumb {

/// A sum of the span's basis vectors: one coefficient for each that was there when it was made.
using Combination = std::vector<double>;

/// target += factor * other.
void add_scaled(Combination& target, double factor, const Combination& other);
Combination scaled(const Combination& x, double factor);

/// Basis vectors r_0, r_1, ... with E <r_i, r_j> per entry. Without correlations products cost O(n), with
/// them O(n^2).
class RandomSpan {
 public:
  /// A new basis vector; `products` with the earlier ones, empty = independent of them all. Returns it.
  Combination add(double square, const std::vector<double>& products = {});
  std::size_t size() const { return squares_.size(); }

  /// E <x, r_i> for every basis vector: with it, products of many vectors with x cost O(n) each.
  std::vector<double> products_with_basis(const Combination& x) const;
  double product(const Combination& x, const Combination& y) const;
  double square(const Combination& x) const { return product(x, x); }

 private:
  std::vector<double> squares_;
  std::vector<std::vector<double>> products_;  ///< (i, j < i); rows are empty where all are 0
  bool correlated_ = false;
};

double dot(const Combination& x, std::span<const double> products);

}  // namespace plumb
