#include <cmath>

#include "backends/reference/arguments.h"
#include "backends/reference/ops.h"
#include "core/error.h"

namespace plumb::reference {
namespace {

// The knobs of s = a x + b z + e x_block and out = p s, with the skip tied to 1 - b where asked for.
template <class T>
struct Knobs {
  CoefficientView<T> a, b, e, p;
  bool tie_skip;

  template <class Arguments>
  Knobs(const char* op, const Arguments& arguments, std::int64_t rows, std::int64_t cols)
      : a(op, "a", arguments.a, rows, cols, arguments.rows_per_sequence),
        b(op, "b", arguments.b, rows, cols, arguments.rows_per_sequence),
        e(op, "e", arguments.e, rows, cols, arguments.rows_per_sequence),
        p(op, "p", arguments.p, rows, cols, arguments.rows_per_sequence),
        tie_skip(arguments.tie_skip) {
    PLUMB_CHECK(!tie_skip || arguments.a.is_one(),
                "{}: tie_skip makes a = 1 - b, so a must be the constant 1", op);
    PLUMB_CHECK(!tie_skip || !(arguments.a.stop_gradient || arguments.b.stop_gradient),
                "{}: a tied skip cannot stop the gradient", op);
  }
  double skip(std::int64_t r, std::int64_t i) const { return tie_skip ? 1 - b.value(r, i) : a.value(r, i); }
  double skip_data_factor(std::int64_t r, std::int64_t i) const {
    return tie_skip ? 1 - b.value(r, i) : a.data_factor(r, i);
  }
};

void check_sequences(const char* op, std::int64_t rows_per_sequence) {
  PLUMB_CHECK(rows_per_sequence >= 1, "{}: rows_per_sequence is {}", op, rows_per_sequence);
}

template <class T>
void accumulate_alignment(const char* op, const Rows<T>& x, const Rows<T>& z,
                          const ResidualForward& arguments) {
  if (!arguments.alignment.defined()) return;
  const Vector<double> scalars(op, "alignment.scalars", arguments.alignment.scalars, kAlignmentScalars);
  for (std::int64_t r = 0; r < arguments.x.rows(); ++r) {
    double x_square = 0, z_square = 0, product = 0;
    for (std::int64_t i = 0; i < arguments.x.cols(); ++i) {
      const double x_value = x[r][i], z_value = z[r][i];
      x_square += x_value * x_value;
      z_square += z_value * z_value;
      product += x_value * z_value;
    }
    scalars[kAlignmentProduct] += product;
    if (x_square == 0 || z_square == 0) {
      scalars[kAlignmentZeroRows] += 1;
      continue;
    }
    const double x_norm = std::sqrt(x_square), z_norm = std::sqrt(z_square);
    scalars[kAlignmentCosine] += product / (x_norm * z_norm);
    scalars[kAlignmentRatio] += z_norm / x_norm;
  }
}

template <class T>
void forward(const ResidualForward& arguments) {
  const char* op = "residual_forward";
  check_sequences(op, arguments.rows_per_sequence);
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols);
  const Rows<T> z(op, "z", arguments.z, rows, cols);
  const auto x_block = Rows<T>::optional(op, "x_block", arguments.x_block, rows, cols);
  const Rows<T> out(op, "out", arguments.out, rows, cols);
  const Knobs<T> knobs(op, arguments, rows, cols);

  accumulate_moments(op, arguments.z, arguments.branch_moments);  // first: out may overwrite z
  accumulate_alignment(op, x, z, arguments);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < cols; ++i) {
      double s = knobs.skip(r, i) * x[r][i] + knobs.b.value(r, i) * z[r][i];
      if (x_block) s += knobs.e.value(r, i) * x_block[r][i];
      out[r][i] = static_cast<T>(knobs.p.value(r, i) * s);
    }
  }
  accumulate_moments(op, arguments.out, arguments.stream_moments);
}

template <class T>
void backward(const ResidualBackward& arguments, std::size_t workspace_bytes) {
  const char* op = "residual_backward";
  check_sequences(op, arguments.rows_per_sequence);
  const std::int64_t rows = arguments.dout.rows(), cols = arguments.dout.cols();
  const auto x = Rows<T>::optional(op, "x", arguments.x, rows, cols);
  const auto z = Rows<T>::optional(op, "z", arguments.z, rows, cols);
  const auto x_block = Rows<T>::optional(op, "x_block", arguments.x_block, rows, cols);
  const Rows<T> dout(op, "dout", arguments.dout, rows, cols);
  const Rows<T> dx(op, "dx", arguments.dx, rows, cols);
  const Rows<T> dz(op, "dz", arguments.dz, rows, cols);
  const auto dx_block = Rows<T>::optional(op, "dx_block", arguments.dx_block, rows, cols);
  const Knobs<T> knobs(op, arguments, rows, cols);

  Scratch scratch(op, arguments.workspace, workspace_bytes);
  const CoefficientSum<T> da(op, "da", arguments.a, arguments.da, scratch);
  const CoefficientSum<T> db(op, "db", arguments.b, arguments.db, scratch);
  const CoefficientSum<T> de(op, "de", arguments.e, arguments.de, scratch);
  const CoefficientSum<T> dp(op, "dp", arguments.p, arguments.dp, scratch);
  PLUMB_CHECK(x || !(da || dp || (db && arguments.tie_skip)), "{}: da, dp and a tied db need x", op);
  PLUMB_CHECK(z || !(db || dp), "{}: db and dp need z", op);
  PLUMB_CHECK(x_block || !(de || (dp && dx_block)), "{}: de and dp need x_block", op);

  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < cols; ++i) {
      const double upstream = dout[r][i];  // read before dx, which may be the same view
      if (dp) {
        double s = knobs.skip(r, i) * x[r][i] + knobs.b.value(r, i) * z[r][i];
        if (x_block) s += knobs.e.value(r, i) * x_block[r][i];
        dp.add(knobs.p, r, i, upstream * s);
      }
      const double ds = upstream * knobs.p.data_factor(r, i);
      if (da) da.add(knobs.a, r, i, ds * x[r][i]);
      if (db) db.add(knobs.b, r, i, ds * (z[r][i] - (arguments.tie_skip ? double{x[r][i]} : 0.0)));
      if (de) de.add(knobs.e, r, i, ds * x_block[r][i]);
      if (dx_block) dx_block[r][i] = static_cast<T>(dx_block[r][i] + ds * knobs.e.data_factor(r, i));
      dx[r][i] = static_cast<T>(ds * knobs.skip_data_factor(r, i));
      dz[r][i] = static_cast<T>(ds * knobs.b.data_factor(r, i));
    }
  }
  da.store();
  db.store();
  de.store();
  dp.store();
}

}  // namespace

void ReferenceResidual::residual_forward(Stream&, const ResidualForward& arguments) const {
  with_scalar("residual_forward", arguments.x.dtype,
              [&](auto scalar) { forward<decltype(scalar)>(arguments); });
}

void ReferenceResidual::residual_backward(Stream&, const ResidualBackward& arguments) const {
  with_scalar("residual_backward", arguments.dout.dtype, [&](auto scalar) {
    backward<decltype(scalar)>(arguments, residual_backward_workspace(arguments));
  });
}

std::size_t ReferenceResidual::residual_forward_workspace(const ResidualForward&) const { return 0; }

std::size_t ReferenceResidual::residual_backward_workspace(const ResidualBackward& arguments) const {
  return scratch_bytes(arguments.da.feature.elements() + arguments.db.feature.elements() +
                       arguments.de.feature.elements() + arguments.dp.feature.elements());
}

}  // namespace plumb::reference
