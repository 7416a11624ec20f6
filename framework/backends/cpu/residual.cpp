#include "backends/cpu/alignment_sums.h"
#include "backends/cpu/arguments.h"
#include "backends/cpu/coefficient_view.h"
#include "backends/cpu/cpu_ops.h"
#include "backends/cpu/moment_sums.h"
#include "backends/cpu/vector_math.h"
#include "core/error.h"

namespace plumb::cpu {
namespace {

/// The knobs of s = a x + b z + e x_block, out = p s. A tied skip is s = x + b (z - x).
struct Knobs {
  CoefficientView a, b, e, p;
  bool tied;

  template <class Arguments>
  Knobs(const char* op, const Arguments& arguments, std::int64_t rows, std::int64_t cols)
      : a(op, "a", arguments.a, rows, cols, arguments.rows_per_sequence),
        b(op, "b", arguments.b, rows, cols, arguments.rows_per_sequence),
        e(op, "e", arguments.e, rows, cols, arguments.rows_per_sequence),
        p(op, "p", arguments.p, rows, cols, arguments.rows_per_sequence),
        tied(arguments.tie_skip) {
    PLUMB_CHECK(arguments.rows_per_sequence >= 1, "{}: rows_per_sequence is {}", op,
                arguments.rows_per_sequence);
    PLUMB_CHECK(!tied || arguments.a.is_one(), "{}: tie_skip makes a = 1 - b, so a must be the constant 1",
                op);
    PLUMB_CHECK(!tied || !(arguments.a.stop_gradient || arguments.b.stop_gradient),
                "{}: a tied skip cannot stop the gradient", op);
  }
};

/// Products of the factors per feature, with p's in each; all null when every knob is the same for all
/// features.
struct FeatureFactors {
  float *skip = nullptr, *branch = nullptr, *block = nullptr;

  static bool needed(const Coefficient& a, const Coefficient& b, const Coefficient& e, const Coefficient& p) {
    const auto varies = [](const Coefficient& knob) { return knob.feature.elements() > 1; };
    return varies(a) || varies(b) || varies(e) || varies(p);
  }
  FeatureFactors(bool needed, std::int64_t cols, WorkspaceCarver& carver) {
    if (!needed) return;
    skip = carver.take<float>(cols);
    branch = carver.take<float>(cols);
    block = carver.take<float>(cols);
  }
  void fill(const float* a, const float* b, const float* e, const float* p, std::int64_t cols) const {
    if (skip == nullptr) return;
    multiply_features(a, p, cols, skip);
    multiply_features(b, p, cols, branch);
    multiply_features(e, p, cols, block);
  }
};

/// Factors of one row; the value at a feature is row factor * feature factor.
struct RowFactors {
  float skip, branch, block;
};

template <bool kFeatures>
PLUMB_VECTOR float at(const float* factors, std::int64_t i) {
  if constexpr (kFeatures) return factors[i];
  return 1.0F;
}

template <class T>
struct ForwardRow {
  const T *x, *z, *x_block;  // x_block null: no e term
  T* out;
};

template <class T, bool kFeatures, bool kTied, bool kBlock>
void combine_row(const ForwardRow<T>& row, const RowFactors& factors, const FeatureFactors& features,
                 std::int64_t cols) {
#pragma omp simd
  for (std::int64_t i = 0; i < cols; ++i) {
    const auto x = static_cast<float>(row.x[i]), z = static_cast<float>(row.z[i]);
    float s = factors.skip * at<kFeatures>(features.skip, i) * x +
              factors.branch * at<kFeatures>(features.branch, i) * (kTied ? z - x : z);
    if constexpr (kBlock)
      s += factors.block * at<kFeatures>(features.block, i) * static_cast<float>(row.x_block[i]);
    store(s, &row.out[i]);
  }
}

template <class T>
struct BackwardRow {
  const T* dout;
  T *dx, *dz, *dx_block;  // dx_block null: no e term
};

template <class T, bool kFeatures, bool kTied, bool kBlock>
void spread_row(const BackwardRow<T>& row, const RowFactors& factors, const FeatureFactors& features,
                std::int64_t cols) {
#pragma omp simd
  for (std::int64_t i = 0; i < cols; ++i) {
    const auto upstream = static_cast<float>(row.dout[i]);  // read before dx, which may be the same view
    const float branch = factors.branch * at<kFeatures>(features.branch, i);
    const float skip = factors.skip * at<kFeatures>(features.skip, i) - (kTied ? branch : 0.0F);
    if constexpr (kBlock) {
      const float block = factors.block * at<kFeatures>(features.block, i);
      store(static_cast<float>(row.dx_block[i]) + upstream * block, &row.dx_block[i]);
    }
    store(upstream * branch, &row.dz[i]);
    store(upstream * skip, &row.dx[i]);
  }
}

/// Calls body with the three properties of a kernel as compile-time constants.
template <class Body>
void with_kernel(bool features, bool tied, bool block, Body&& body) {
  const auto with_block = [&](auto f, auto t) {
    block ? body(f, t, std::true_type{}) : body(f, t, std::false_type{});
  };
  const auto with_tied = [&](auto f) {
    tied ? with_block(f, std::true_type{}) : with_block(f, std::false_type{});
  };
  features ? with_tied(std::true_type{}) : with_tied(std::false_type{});
}

struct ForwardScratch {
  FeatureFactors features;
  MomentSums branch_moments, stream_moments;
  AlignmentSums alignment;

  ForwardScratch(const ResidualForward& arguments, WorkspaceCarver& carver)
      : features(FeatureFactors::needed(arguments.a, arguments.b, arguments.e, arguments.p),
                 arguments.x.cols(), carver),
        branch_moments("residual_forward", arguments.branch_moments, arguments.x.cols(), carver),
        stream_moments("residual_forward", arguments.stream_moments, arguments.x.cols(), carver),
        alignment("residual_forward", arguments.alignment, arguments.x.cols(), carver) {}
};

template <class T>
void forward(const ResidualForward& arguments) {
  const char* op = "residual_forward";
  const std::int64_t rows = arguments.x.rows(), cols = arguments.x.cols();
  const Rows<T> x(op, "x", arguments.x, rows, cols), z(op, "z", arguments.z, rows, cols);
  const auto x_block = Rows<T>::optional(op, "x_block", arguments.x_block, rows, cols);
  const Rows<T> out(op, "out", arguments.out, rows, cols);
  const Knobs knobs(op, arguments, rows, cols);
  WorkspaceCarver carver(arguments.workspace);
  const ForwardScratch scratch(arguments, carver);
  scratch.features.fill(knobs.a.features(), knobs.b.features(), knobs.e.features(), knobs.p.features(), cols);

  with_kernel(
      scratch.features.skip != nullptr, knobs.tied, static_cast<bool>(x_block),
      [&](auto features, auto tied, auto block) {
        parallel_chunks(
            rows, row_grain(cols, kCheapElements), [&](int thread, std::int64_t begin, std::int64_t end) {
              auto branch_moments = scratch.branch_moments.begin(thread);
              auto stream_moments = scratch.stream_moments.begin(thread);
              auto alignment = scratch.alignment.begin(thread);
              for (std::int64_t first = begin; first < end; first += MomentSums::kGroup) {
                const std::int64_t count = std::min(MomentSums::kGroup, end - first);
                // Before out, which may overwrite z.
                branch_moments.add_rows(z, first, count);
                alignment.add_rows(x, z, first, count);
                for (std::int64_t r = first; r < first + count; ++r) {
                  const float p = knobs.p.row(r);
                  const RowFactors factors{p * knobs.a.row(r), p * knobs.b.row(r), p * knobs.e.row(r)};
                  combine_row<T, features(), tied(), block()>(
                      {x[r], z[r], block() ? x_block[r] : nullptr, out[r]}, factors, scratch.features, cols);
                }
                stream_moments.add_rows(out, first, count);
              }
              branch_moments.finish();
              stream_moments.finish();
            });
      });
  scratch.branch_moments.store();
  scratch.stream_moments.store();
  scratch.alignment.store();
}

/// Which knobs have gradients, and where their sums over rows stand. The sums leave out the factors per
/// feature, which are the same for all rows and multiply at the end.
struct KnobSums {
  bool a, b, e, p;
  ThreadColumns columns;
  float *skip_features = nullptr, *branch_features = nullptr,
        *block_features = nullptr;  // without p's, for dp

  KnobSums(const ResidualBackward& arguments, WorkspaceCarver& carver)
      : a(arguments.da.feature.defined()),
        b(arguments.db.feature.defined()),
        e(arguments.de.feature.defined()),
        p(arguments.dp.feature.defined()),
        columns(carver, a + b + e + p, arguments.dout.cols()) {
    if (!p) return;
    skip_features = carver.take<float>(arguments.dout.cols());
    branch_features = carver.take<float>(arguments.dout.cols());
    block_features = carver.take<float>(arguments.dout.cols());
  }
  bool any() const { return a || b || e || p; }
  int index_of_b() const { return a; }
  int index_of_e() const { return a + b; }
  int index_of_p() const { return a + b + e; }
};

/// sums[i] += factor * dout[i] * (data[i] - minus[i]), minus null: without it.
template <class T>
void add_products(float factor, const T* dout, const T* data, const T* minus, std::int64_t cols,
                  float* sums) {
  if (minus == nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < cols; ++i)
      sums[i] += factor * static_cast<float>(dout[i]) * static_cast<float>(data[i]);
    return;
  }
#pragma omp simd
  for (std::int64_t i = 0; i < cols; ++i)
    sums[i] +=
        factor * static_cast<float>(dout[i]) * (static_cast<float>(data[i]) - static_cast<float>(minus[i]));
}

/// What the sums of one row need.
template <class T>
struct SumRow {
  std::int64_t r, cols;
  const T *dout, *x, *z, *x_block;
};

template <class T>
void add_knob_sums(const KnobSums& wanted, const Knobs& knobs, const SumRow<T>& row,
                   ThreadColumns::Partial& partial) {
  const std::int64_t r = row.r, cols = row.cols;
  const float p = knobs.p.data_row(r);
  if (wanted.a)
    add_products<T>(p * knobs.a.other_factors(r), row.dout, row.x, nullptr, cols, partial.array(0));
  if (wanted.b)
    add_products<T>(p * knobs.b.other_factors(r), row.dout, row.z, knobs.tied ? row.x : nullptr, cols,
                    partial.array(wanted.index_of_b()));
  if (wanted.e)
    add_products<T>(p * knobs.e.other_factors(r), row.dout, row.x_block, nullptr, cols,
                    partial.array(wanted.index_of_e()));
  if (wanted.p) {
    const float other = knobs.p.other_factors(r);
    const float skip = knobs.a.row(r), branch = knobs.b.row(r), block = knobs.e.row(r);
    float* sums = partial.array(wanted.index_of_p());
    for (std::int64_t i = 0; i < cols; ++i) {
      const auto x = static_cast<float>(row.x[i]), z = static_cast<float>(row.z[i]);
      float s =
          skip * wanted.skip_features[i] * x + branch * wanted.branch_features[i] * (knobs.tied ? z - x : z);
      if (row.x_block != nullptr) s += block * wanted.block_features[i] * static_cast<float>(row.x_block[i]);
      sums[i] += other * static_cast<float>(row.dout[i]) * s;
    }
  }
  partial.end_rows(1);
}

struct BackwardScratch {
  FeatureFactors features;
  KnobSums sums;

  BackwardScratch(const ResidualBackward& arguments, WorkspaceCarver& carver)
      : features(FeatureFactors::needed(arguments.a, arguments.b, arguments.e, arguments.p),
                 arguments.dout.cols(), carver),
        sums(arguments, carver) {}
};

void store_gradient(const char* op, const char* name, const Coefficient& knob,
                    const CoefficientGradient& gradient, const ThreadColumns& columns, int array,
                    const float* other_features) {
  if (!gradient.feature.defined()) return;
  const std::int64_t features = knob.feature.elements();
  columns.add_to(vector_of<float>(op, name, gradient.feature, features), features, array, other_features);
}

template <class T>
void backward(const ResidualBackward& arguments) {
  const char* op = "residual_backward";
  const std::int64_t rows = arguments.dout.rows(), cols = arguments.dout.cols();
  const auto x = Rows<T>::optional(op, "x", arguments.x, rows, cols);
  const auto z = Rows<T>::optional(op, "z", arguments.z, rows, cols);
  const auto x_block = Rows<T>::optional(op, "x_block", arguments.x_block, rows, cols);
  const Rows<T> dout(op, "dout", arguments.dout, rows, cols);
  const Rows<T> dx(op, "dx", arguments.dx, rows, cols), dz(op, "dz", arguments.dz, rows, cols);
  const auto dx_block = Rows<T>::optional(op, "dx_block", arguments.dx_block, rows, cols);
  const Knobs knobs(op, arguments, rows, cols);
  WorkspaceCarver carver(arguments.workspace);
  const BackwardScratch scratch(arguments, carver);
  const KnobSums& sums = scratch.sums;
  PLUMB_CHECK(x || !(sums.a || sums.p || (sums.b && knobs.tied)), "{}: da, dp and a tied db need x", op);
  PLUMB_CHECK(z || !(sums.b || sums.p), "{}: db and dp need z", op);
  PLUMB_CHECK(x_block || !(sums.e || (sums.p && dx_block)), "{}: de and dp need x_block", op);
  scratch.features.fill(knobs.a.data_features(), knobs.b.data_features(), knobs.e.data_features(),
                        knobs.p.data_features(), cols);
  if (sums.p) {
    multiply_features(knobs.a.features(), nullptr, cols, sums.skip_features);
    multiply_features(knobs.b.features(), nullptr, cols, sums.branch_features);
    multiply_features(knobs.e.features(), nullptr, cols, sums.block_features);
  }

  const auto row_of = [](const Rows<T>& tensor, std::int64_t r) { return tensor ? tensor[r] : nullptr; };
  with_kernel(scratch.features.skip != nullptr, knobs.tied, static_cast<bool>(dx_block),
              [&](auto features, auto tied, auto block) {
                parallel_chunks(rows, row_grain(cols, kCheapElements),
                                [&](int thread, std::int64_t begin, std::int64_t end) {
                                  ThreadColumns::Partial partial = sums.columns.begin(thread);
                                  for (std::int64_t r = begin; r < end; ++r) {
                                    if (sums.any())
                                      add_knob_sums<T>(
                                          sums, knobs,
                                          {r, cols, dout[r], row_of(x, r), row_of(z, r), row_of(x_block, r)},
                                          partial);
                                    const float p = knobs.p.data_row(r);
                                    const RowFactors factors{p * knobs.a.data_row(r), p * knobs.b.data_row(r),
                                                             p * knobs.e.data_row(r)};
                                    spread_row<T, features(), tied(), block()>(
                                        {dout[r], dx[r], dz[r], block() ? dx_block[r] : nullptr}, factors,
                                        scratch.features, cols);
                                  }
                                  partial.flush();
                                });
              });
  sums.columns.combine();
  const float* p_features = knobs.p.data_features();
  store_gradient(op, "da", arguments.a, arguments.da, sums.columns, 0, p_features);
  store_gradient(op, "db", arguments.b, arguments.db, sums.columns, sums.index_of_b(), p_features);
  store_gradient(op, "de", arguments.e, arguments.de, sums.columns, sums.index_of_e(), p_features);
  store_gradient(op, "dp", arguments.p, arguments.dp, sums.columns, sums.index_of_p(), nullptr);
}

}  // namespace

void CpuResidual::residual_forward(Stream&, const ResidualForward& arguments) const {
  with_compute("residual_forward", arguments.x.dtype,
               [&](auto element) { forward<decltype(element)>(arguments); });
}

void CpuResidual::residual_backward(Stream&, const ResidualBackward& arguments) const {
  with_compute("residual_backward", arguments.dout.dtype,
               [&](auto element) { backward<decltype(element)>(arguments); });
}

std::size_t CpuResidual::residual_forward_workspace(const ResidualForward& arguments) const {
  WorkspaceCarver carver;
  ForwardScratch(arguments, carver);
  return carver.bytes();
}

std::size_t CpuResidual::residual_backward_workspace(const ResidualBackward& arguments) const {
  WorkspaceCarver carver;
  BackwardScratch(arguments, carver);
  return carver.bytes();
}

}  // namespace plumb::cpu
