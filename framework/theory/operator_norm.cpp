#include "theory/operator_norm.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/parallel_for.h"

namespace plumb {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kRoundoff = std::numeric_limits<double>::epsilon();

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

double dot(const double* x, const double* y, std::int64_t n) {
  double sums[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int lane = 0; lane < 8; ++lane) sums[lane] += x[i + lane] * y[i + lane];
  }
  for (; i < n; ++i) sums[0] += x[i] * y[i];
  double sum = 0;
  for (double part : sums) sum += part;
  return sum;
}

std::vector<double> transposed(const MatrixView& w) {
  std::vector<double> t(w.values.size());
  for (std::int64_t r = 0; r < w.rows; ++r) {
    for (std::int64_t c = 0; c < w.columns; ++c)
      t[index(c * w.rows + r)] = w.values[index(r * w.columns + c)];
  }
  return t;
}

/// V V^T of V (n, k) in rows: symmetric (n, n). Blocks of rows stay in the cache.
std::vector<double> gram_of_rows(const double* v, std::int64_t n, std::int64_t k) {
  constexpr std::int64_t kBlock = 16;
  std::vector<double> gram(index(n * n));
  const std::int64_t blocks = (n + kBlock - 1) / kBlock;
  parallel_for(blocks, 1, [&](std::int64_t block) {
    const std::int64_t first = block * kBlock, last = std::min(n, first + kBlock);
    for (std::int64_t j = 0; j < last; ++j) {
      for (std::int64_t i = std::max(first, j); i < last; ++i)
        gram[index(i * n + j)] = dot(v + i * k, v + j * k, k);
    }
  });
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < i; ++j) gram[index(j * n + i)] = gram[index(i * n + j)];
  }
  return gram;
}

double trace_of(const std::vector<double>& square, std::int64_t n) {
  double trace = 0;
  for (std::int64_t i = 0; i < n; ++i) trace += square[index(i * n + i)];
  return trace;
}

/// The largest eigenvalue of a symmetric, positive semidefinite matrix from above: (tr G^16)^(1/16).
double largest_eigenvalue_bound(std::vector<double> g, std::int64_t n) {
  double log_scale = 0;  // of the matrix that g stands for, to the power that it has been raised to
  const auto normalise = [&] {
    const double trace = trace_of(g, n);
    if (!(trace > 0) || !std::isfinite(trace)) return trace;
    for (double& value : g) value /= trace;
    log_scale += std::log(trace);
    return trace;
  };
  for (int squaring = 0; squaring <= 3; ++squaring) {
    if (squaring > 0) {
      log_scale *= 2;
      g = gram_of_rows(g.data(), n, n);
    }
    const double trace = normalise();
    if (trace == 0) return 0;
    if (!std::isfinite(trace)) return kNaN;
  }
  const double trace_of_square = dot(g.data(), g.data(), n * n);
  const double bound = std::exp((2 * log_scale + std::log(trace_of_square)) / 16);
  // A computed square is off by at most n eps |G|_F^2 in the Frobenius norm, and |G|_F^2 <= sqrt(n) |G^2|_F
  // for such a matrix; four squares, to the power 1/16 or more.
  const double size = static_cast<double>(n);
  return bound * (1 + 4 * size * std::sqrt(size) * kRoundoff);
}

/// L with L L^T = G + shift, lower triangular; returns L^T in rows of n.
std::vector<double> shifted_cholesky_transposed(std::vector<double> g, std::int64_t n) {
  // Cholesky is exact for a matrix within n eps tr(G) of G (Higham, Accuracy and Stability, theorem 10.3).
  const double shift = 4 * static_cast<double>(n + 1) * kRoundoff * trace_of(g, n);
  std::vector<double> lower(index(n * n), 0.0);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) {
      const double rest =
          g[index(i * n + j)] + (i == j ? shift : 0) - dot(&lower[index(i * n)], &lower[index(j * n)], j);
      lower[index(i * n + j)] =
          i == j ? std::sqrt(std::max(rest, 0.0)) : (rest == 0 ? 0 : rest / lower[index(j * n + j)]);
    }
  }
  return transposed({lower, n, n});
}

bool is_finite(const MatrixView& w) {
  return std::all_of(w.values.begin(), w.values.end(), [](double value) { return std::isfinite(value); });
}

}  // namespace

double operator_norm_bound(const MatrixView& w) {
  PLUMB_CHECK(w.values.size() == index(w.rows * w.columns), "a matrix of {} entries as ({}, {})",
              w.values.size(), w.rows, w.columns);
  if (!is_finite(w)) return kNaN;
  // The division by the largest entry keeps the first product from overflowing.
  double largest = 0;
  for (double value : w.values) largest = std::max(largest, std::abs(value));
  if (largest == 0) return 0;
  const bool by_rows = w.rows <= w.columns;
  std::vector<double> scaled =
      by_rows ? std::vector<double>(w.values.begin(), w.values.end()) : transposed(w);
  for (double& value : scaled) value /= largest;
  const std::int64_t side = std::min(w.rows, w.columns), other = std::max(w.rows, w.columns);
  // The Gram matrix is off by at most other eps |W|_F^2, and |W|_F^2 <= side ||W||^2; half of it after the
  // root.
  const double rounding = 1 + kRoundoff * static_cast<double>(other) * static_cast<double>(side);
  return largest * std::sqrt(largest_eigenvalue_bound(gram_of_rows(scaled.data(), side, other), side)) *
         rounding;
}

double product_norm_bound(const MatrixView& a, const MatrixView& b) {
  PLUMB_CHECK(a.columns == b.rows, "a product of ({}, {}) and ({}, {})", a.rows, a.columns, b.rows,
              b.columns);
  if (!is_finite(a) || !is_finite(b)) return kNaN;
  const std::int64_t m = a.columns;
  const std::vector<double> columns = transposed(a);
  const std::vector<double> upper = shifted_cholesky_transposed(gram_of_rows(columns.data(), m, a.rows), m);
  // L^T B, whose Gram matrix of rows is L^T B B^T L.
  const std::vector<double> b_columns = transposed(b);
  std::vector<double> product(index(m * b.columns));
  parallel_for(m, 8, [&](std::int64_t i) {
    for (std::int64_t j = 0; j < b.columns; ++j) {
      product[index(i * b.columns + j)] = dot(&upper[index(i * m)], &b_columns[index(j * m)], m);
    }
  });
  const double rounding = static_cast<double>(m) * kRoundoff *
                          std::sqrt(dot(upper.data(), upper.data(), m * m)) *
                          std::sqrt(dot(b.values.data(), b.values.data(), b.rows * b.columns));
  return operator_norm_bound({product, m, b.columns}) + rounding;
}

double operator_norm_estimate(const MatrixView& w, int iterations) {
  std::vector<double> v(index(w.columns)), u(index(w.rows));
  // Cosines of many frequencies: no direction that a matrix is likely to map to 0.
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = 1 + std::cos(1.0 + static_cast<double>(i * i));
  double stretch = 0;
  for (int iteration = 0; iteration < iterations; ++iteration) {
    const double size = std::sqrt(dot(v.data(), v.data(), w.columns));
    if (!(size > 0)) return 0;
    for (double& value : v) value /= size;
    for (std::int64_t r = 0; r < w.rows; ++r)
      u[index(r)] = dot(&w.values[index(r * w.columns)], v.data(), w.columns);
    stretch = std::sqrt(dot(u.data(), u.data(), w.rows));
    std::fill(v.begin(), v.end(), 0.0);
    for (std::int64_t r = 0; r < w.rows; ++r) {
      for (std::int64_t c = 0; c < w.columns; ++c)
        v[index(c)] += u[index(r)] * w.values[index(r * w.columns + c)];
    }
  }
  return stretch;
}

}  // namespace plumb
