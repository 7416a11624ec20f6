// Bounds of ||A||_2 = max |A x| / |x| from above, and an estimate from below.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace plumb {

/// A matrix in rows, not owned.
struct MatrixView {
  std::span<const double> values{};
  std::int64_t rows = 0, columns = 0;
};

/// At least ||W||_2, whatever W: (tr (W^T W)^16)^(1/32), since tr (W^T W)^16 = sum of the 32nd powers of the
/// singular values (Schatten norm; Horn and Johnson, Matrix Analysis, section 5.6). W^T W or W W^T, the
/// smaller, is squared three times, and the trace of a square is a sum of squares. Every square is divided by
/// its trace, so that nothing overflows. At most (smaller side)^(1/32) too large, 1.26 at 1600, and a few per
/// cent for Gaussian matrices. Rounding is covered: the result is raised by a bound of it.
/// NaN where the matrix holds a NaN or an infinity.
double operator_norm_bound(const MatrixView& w);

/// At least ||A B||_2 by the Gram matrices of A (n, m) and B (m, k), which are (m, m): with A^T A + s = L L^T
/// (Cholesky, a shift s the size of rounding that can only enlarge the result), the squares of the singular
/// values of A B are at most the eigenvalues of L^T B B^T L. For W_O^h W_V^h of a head, m is the head's
/// width.
double product_norm_bound(const MatrixView& a, const MatrixView& b);

/// |W v| / |v| after `iterations` of the power method on W^T W from a fixed start: at most ||W||_2, so an
/// estimate that shows how tight the bound is; it decides nothing.
double operator_norm_estimate(const MatrixView& w, int iterations = 30);

}  // namespace plumb
