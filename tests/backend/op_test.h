// The bench of the op tests: the same op runs on the backend under test and on the reference backend in fp64,
// on the same (already rounded) inputs, and every output is compared.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "backend/backend.h"
#include "backend/tested_backends.h"

namespace plumb::test {

/// A backend and one of its compute dtypes.
struct Target {
  std::string backend;
  DType dtype = DType::Float32;
};
inline std::ostream& operator<<(std::ostream& out, const Target& target) {
  std::string backend = target.backend;  // GoogleTest wants letters, digits and _
  std::replace(backend.begin(), backend.end(), '-', '_');
  return out << backend << "_" << name_of(target.dtype);
}
/// Every backend under test (tested_backends.h) in every compute dtype, but the oracle itself.
std::vector<Target> targets();
/// The oracle too, where it is under test.
std::vector<Target> all_targets();

/// Largest |g - g*| / |g*| (Frobenius norms) for each dtype under test.
struct Limits {
  double fp64 = 1e-12, fp32 = 1e-5, bf16 = 2e-2;
  double of(DType dtype) const {
    if (dtype == DType::Float64) return fp64;
    if (dtype == DType::Float32) return fp32;
    // Three bits more than bf16; results in the master dtype do not depend on either.
    return dtype == DType::BFloat16 ? bf16 : std::max(fp32, bf16 / 4);
  }
};
/// Results rounded once to the compute dtype from an fp32 computation: half a unit in the last place, which
/// is at most 2^-8 of a bf16 value.
inline constexpr Limits kRoundedOnce{1e-12, 1e-6, 4e-3};
/// One number summed over a whole tensor of changing signs: its terms cancel.
inline constexpr Limits kCancellingSum{1e-12, 1e-4, 2e-2};
/// Results in the master dtype that see no bf16 but their inputs.
inline constexpr Limits kMasterOnly{1e-12, 2e-6, 2e-6};
/// Copies, masks and the like.
inline constexpr Limits kExact{0, 0, 0};

double round_to(DType dtype, double value);

/// The step-scalar buffer: its first entries as given, a loss scale of 1, zeros for the rest.
std::vector<double> step_scalar_values(std::vector<double> first);

/// Normal variates, a pure function of a tensor's name.
struct Values {
  double mean = 0, deviation = 1;
};

/// Tensors for one run of an op on one backend: named, guarded against writes out of bounds, their content a
/// function of the name, so that two benches hold the same.
class Bench {
 public:
  /// Values are rounded to `rounding` (compute) and its master dtype, whatever the bench computes in.
  Bench(Backend& backend, DType dtype, DType rounding);

  Backend& backend() { return backend_; }
  Stream& stream() { return *stream_; }
  DType dtype() const { return dtype_; }
  DType master() const { return master_dtype(dtype_); }

  // Read by the op; finish() checks that it has not changed.
  Tensor input(const std::string& name, Shape shape, Values values = {});      ///< compute dtype
  Tensor parameter(const std::string& name, Shape shape, Values values = {});  ///< master dtype
  Tensor float64(const std::string& name, Shape shape, Values values = {});
  Tensor constants(const std::string& name, DType dtype, Shape shape, const std::vector<double>& values);

  /// As constants, but the op may change it and the result is compared.
  Tensor variables(const std::string& name, DType dtype, Shape shape, const std::vector<double>& values,
                   Limits limits = {});

  // Written by the op and compared.
  Tensor output(const std::string& name, Shape shape, Limits limits = {});  ///< compute dtype, NaN before
  Tensor master_output(const std::string& name, Shape shape, Limits limits = {});  ///< NaN before
  /// Compute dtype, with values before: what may alias, and what is added to.
  Tensor in_place(const std::string& name, Shape shape, Limits limits = {}, Values values = {});
  /// Master dtype, with values before that the op adds to: what it added is compared.
  Tensor accumulated(const std::string& name, Shape shape, Limits limits = {});
  /// Master dtype, with values before that the op replaces by a function of them.
  Tensor updated(const std::string& name, Shape shape, Limits limits = {});
  /// float64, `start` in every entry before; each: compared entry by entry.
  Tensor sums(const std::string& name, std::int64_t elements, double start = 0, Limits limits = {},
              bool each = true);
  /// Judges an entry of sums() by its error beside the size of another entry of it, if that is larger: for a
  /// sum whose terms cancel.
  void judge_beside(const Tensor& sums, std::int64_t entry, std::int64_t other);
  /// Sets element i to 0, where a contract leaves the value open.
  void clear(const Tensor& tensor, std::int64_t i);

  /// Exactly that many bytes, filled with NaN.
  Workspace workspace(std::size_t bytes);

  struct Result {
    std::string name;
    DType dtype;
    std::vector<double> values;
    Limits limits;
    bool each = false;                          ///< compare entry by entry
    std::vector<double> start = {};             ///< accumulated: the values before
    std::int64_t cancelling = -1, beside = -1;  ///< judge_beside
  };
  /// Waits, checks guards and inputs, returns what is to be compared in the order of creation.
  std::vector<Result> finish();
  /// The content of a tensor of this bench now.
  std::vector<double> read(const Tensor& tensor);

 private:
  struct Record {
    std::string name;
    DType dtype;
    std::int64_t elements;
    Buffer buffer;
    std::vector<unsigned char> initial;
    bool compared, each;
    Limits limits;
    bool accumulated = false;
    std::int64_t cancelling = -1, beside = -1;
  };
  Tensor add(const std::string& name, DType dtype, Shape shape, const std::vector<double>& values,
             bool compared, Limits limits = {}, bool each = false);
  std::vector<double> draw(const std::string& name, const Shape& shape, Values values, DType rounding) const;
  std::vector<unsigned char> download(const Record& record);
  static std::vector<double> decoded(const Record& record, const std::vector<unsigned char>& bytes);

  Backend& backend_;
  DType dtype_, rounding_;
  std::unique_ptr<Stream> stream_;
  std::vector<Record> records_;
};

/// Runs it on the oracle, and on the target (the cpu one with 1, 2, 3 and 7 threads), and compares all
/// outputs. What was added to an accumulated one must be large enough beside the values before for its error
/// to be seen.
void expect_matches_reference(const Target& target, const std::function<void(Bench&)>& run);
/// Runs it on the target with 1, 2, 3 and 7 threads: every bit of every output is the same.
void expect_same_for_any_threads(const Target& target, const std::function<void(Bench&)>& run);
/// A backend that lives as long as the process.
Backend& shared_backend(const std::string& name);

/// |a - b| / max(|b|, tiny); both-NaN entries are equal, one NaN is infinitely wrong.
double relative_error(const std::vector<double>& a, const std::vector<double>& b);

/// Which factors a Coefficient has.
struct Knob {
  bool scalar = false, sequence = false;
  int feature = 0;  ///< 0 none, 1 one for all features, 2 one each
  bool stop_gradient = false;
};
std::ostream& operator<<(std::ostream& out, const Knob& knob);
/// All 24.
std::vector<Knob> all_knobs();
Coefficient make_coefficient(Bench& bench, const std::string& name, const Knob& knob, std::int64_t rows,
                             std::int64_t cols, std::int64_t rows_per_sequence);
CoefficientGradient make_gradient(Bench& bench, const std::string& name, const Knob& knob, std::int64_t cols,
                                  Limits limits = {});
/// A moments view, with column moments if cols > 0; starts at nonzero values, as in the second micro-batch.
MomentsView make_moments(Bench& bench, const std::string& name, std::int64_t cols, Limits limits = {});

/// Names a case of a (Target, Case) suite; Case has a member `name` of letters, digits and _.
template <class Case>
std::string case_name(const testing::TestParamInfo<std::tuple<Target, Case>>& info) {
  const auto& [target, shape_case] = info.param;
  std::string name = target.backend + "_" + std::string(name_of(target.dtype)) + "_" + shape_case.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace plumb::test
