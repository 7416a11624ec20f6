#include "theory/random_span.h"

#include <algorithm>

namespace plumb {

void add_scaled(Combination& target, double factor, const Combination& other) {
  if (target.size() < other.size()) target.resize(other.size(), 0.0);
  for (std::size_t i = 0; i < other.size(); ++i) target[i] += factor * other[i];
}

Combination scaled(const Combination& x, double factor) {
  Combination result = x;
  for (double& value : result) value *= factor;
  return result;
}

Combination RandomSpan::add(double square, const std::vector<double>& products) {
  squares_.push_back(square);
  products_.push_back(products);
  correlated_ |= !products.empty();
  Combination unit(squares_.size(), 0.0);
  unit.back() = 1;
  return unit;
}

std::vector<double> RandomSpan::products_with_basis(const Combination& x) const {
  std::vector<double> result(squares_.size(), 0.0);
  for (std::size_t i = 0; i < x.size(); ++i) result[i] = x[i] * squares_[i];
  if (!correlated_) return result;
  for (std::size_t i = 0; i < squares_.size(); ++i) {
    for (std::size_t j = 0; j < products_[i].size(); ++j) {
      if (j < x.size()) result[i] += x[j] * products_[i][j];
      if (i < x.size()) result[j] += x[i] * products_[i][j];
    }
  }
  return result;
}

double RandomSpan::product(const Combination& x, const Combination& y) const {
  return dot(x, products_with_basis(y));
}

double dot(const Combination& x, std::span<const double> products) {
  double sum = 0;
  for (std::size_t i = 0; i < std::min(x.size(), products.size()); ++i) sum += x[i] * products[i];
  return sum;
}

}  // namespace plumb
