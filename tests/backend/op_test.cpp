#include "backend/op_test.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>

#include "backend/loader.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/parallel_for.h"
#include "core/rng.h"

namespace plumb::test {
namespace {
constexpr std::size_t kGuardBytes = 64;  // keeps the data aligned to 64 bytes
/// Behind a tensor; the address sanitizer watches its end better, since it also sees what is only read or put
/// back.
#ifdef PLUMB_WATCHED
constexpr std::size_t kGuardBytesBehind = 0;
#else
constexpr std::size_t kGuardBytesBehind = kGuardBytes;
#endif
constexpr unsigned char kGuard = 0xA5;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void encode(DType dtype, double value, unsigned char* place) {
  const auto put = [&](auto typed) { std::memcpy(place, &typed, sizeof typed); };
  switch (dtype) {
    case DType::Float64:
      return put(value);
    case DType::Float32:
      return put(static_cast<float>(value));
    case DType::BFloat16:
      return put(bfloat16(static_cast<float>(value)));
    case DType::Float16:
      return put(float16(static_cast<float>(value)));
    case DType::Int64:
      return put(static_cast<std::int64_t>(value));
    case DType::Int32:
      return put(static_cast<std::int32_t>(value));
  }
}

template <class T>
T take(const unsigned char* place) {
  T value;
  std::memcpy(&value, place, sizeof value);
  return value;
}

double decode(DType dtype, const unsigned char* place) {
  switch (dtype) {
    case DType::Float64:
      return take<double>(place);
    case DType::Float32:
      return take<float>(place);
    case DType::BFloat16:
      return static_cast<float>(take<bfloat16>(place));
    case DType::Float16:
      return static_cast<float>(take<float16>(place));
    case DType::Int64:
      return static_cast<double>(take<std::int64_t>(place));
    case DType::Int32:
      return take<std::int32_t>(place);
  }
  return kNaN;
}

std::vector<double> constant(const Shape& shape, double value) {
  return std::vector<double>(static_cast<std::size_t>(shape.elements()), value);
}
}  // namespace

std::vector<Target> targets() {
  std::vector<Target> list;
  for (const std::string& name : tested_backends())
    for (DType dtype : shared_backend(name).compute_dtypes())
      if (name != "reference" || dtype != DType::Float64) list.push_back({name, dtype});
  return list;
}

std::vector<Target> all_targets() {
  std::vector<Target> list = targets();
  const std::vector<std::string> tested = tested_backends();
  if (std::find(tested.begin(), tested.end(), "reference") != tested.end())
    list.push_back({"reference", DType::Float64});
  return list;
}

Backend& shared_backend(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Backend>> backends;
  auto& backend = backends[name];
  // What is tested op by op are our own kernels; attention_library_test.cpp is for the library.
  BackendOptions options;
  if (chooses_attention(name)) options.attention = AttentionChoice::Own;
  if (!backend) backend = make_backend(name, options);
  return *backend;
}

std::vector<double> step_scalar_values(std::vector<double> first) {
  const bool scaled = first.size() > kStepLossScale;
  first.resize(kStepScalars, 0);
  if (!scaled) first[kStepLossScale] = 1;
  return first;
}

double round_to(DType dtype, double value) {
  unsigned char bytes[8];
  encode(dtype, value, bytes);
  return decode(dtype, bytes);
}

Bench::Bench(Backend& backend, DType dtype, DType rounding)
    : backend_(backend), dtype_(dtype), rounding_(rounding), stream_(backend.create_stream()) {}

std::vector<double> Bench::draw(const std::string& name, const Shape& shape, Values values,
                                DType rounding) const {
  const RandomStream random{hash_text(name), 0, 0};
  std::vector<double> drawn = constant(shape, 0);
  for (std::size_t i = 0; i < drawn.size(); ++i)
    drawn[i] = round_to(rounding, values.mean + values.deviation * random.normal(i));
  return drawn;
}

Tensor Bench::add(const std::string& name, DType dtype, Shape shape, const std::vector<double>& values,
                  bool compared, Limits limits, bool each) {
  PLUMB_CHECK(static_cast<std::int64_t>(values.size()) == shape.elements(), "{}: {} values for {}", name,
              values.size(), to_string(shape));
  const std::size_t item = size_of(dtype), count = values.size();
  std::vector<unsigned char> bytes(kGuardBytes + count * item + kGuardBytesBehind, kGuard);
  for (std::size_t i = 0; i < count; ++i) encode(dtype, values[i], bytes.data() + kGuardBytes + i * item);
  Record record{
      name, dtype, static_cast<std::int64_t>(count), backend_.allocate(bytes.size()), bytes, compared,
      each, limits};
  backend_.upload(*stream_, record.initial.data(), record.buffer.data(), bytes.size());
  stream_->synchronize();
  const Tensor tensor(static_cast<unsigned char*>(record.buffer.data()) + kGuardBytes, dtype, shape);
  records_.push_back(std::move(record));
  return tensor;
}

Tensor Bench::input(const std::string& name, Shape shape, Values values) {
  return add(name, dtype_, shape, draw(name, shape, values, rounding_), false);
}
Tensor Bench::parameter(const std::string& name, Shape shape, Values values) {
  return add(name, master(), shape, draw(name, shape, values, master_dtype(rounding_)), false);
}
Tensor Bench::float64(const std::string& name, Shape shape, Values values) {
  return add(name, DType::Float64, shape, draw(name, shape, values, DType::Float64), false);
}
Tensor Bench::constants(const std::string& name, DType dtype, Shape shape,
                        const std::vector<double>& values) {
  return add(name, dtype, shape, values, false);
}
Tensor Bench::variables(const std::string& name, DType dtype, Shape shape, const std::vector<double>& values,
                        Limits limits) {
  return add(name, dtype, shape, values, true, limits);
}
Tensor Bench::output(const std::string& name, Shape shape, Limits limits) {
  return add(name, dtype_, shape, constant(shape, kNaN), true, limits);
}
Tensor Bench::master_output(const std::string& name, Shape shape, Limits limits) {
  return add(name, master(), shape, constant(shape, kNaN), true, limits);
}
Tensor Bench::in_place(const std::string& name, Shape shape, Limits limits, Values values) {
  return add(name, dtype_, shape, draw(name, shape, values, rounding_), true, limits);
}
Tensor Bench::accumulated(const std::string& name, Shape shape, Limits limits) {
  const Tensor tensor = updated(name, shape, limits);
  records_.back().accumulated = true;
  return tensor;
}
Tensor Bench::updated(const std::string& name, Shape shape, Limits limits) {
  return add(name, master(), shape, draw(name, shape, {}, master_dtype(rounding_)), true, limits);
}
Tensor Bench::sums(const std::string& name, std::int64_t elements, double start, Limits limits, bool each) {
  return add(name, DType::Float64, Shape{elements}, constant(Shape{elements}, start), true, limits, each);
}

void Bench::judge_beside(const Tensor& sums, std::int64_t entry, std::int64_t other) {
  for (Record& record : records_) {
    if (static_cast<unsigned char*>(record.buffer.data()) + kGuardBytes != sums.data) continue;
    record.cancelling = entry;
    record.beside = other;
  }
}

void Bench::clear(const Tensor& tensor, std::int64_t i) {
  const std::size_t item = size_of(tensor.dtype);
  const unsigned char zero[8] = {};
  stream_->synchronize();
  backend_.upload(*stream_, zero,
                  static_cast<unsigned char*>(tensor.data) + static_cast<std::size_t>(i) * item, item);
  stream_->synchronize();
}

Workspace Bench::workspace(std::size_t bytes) {
  const auto words = static_cast<std::int64_t>((bytes + 7) / 8);
  if (bytes == 0) return {};
  const Tensor tensor = add("workspace", DType::Float64, Shape{words}, constant(Shape{words}, kNaN), true);
  records_.back().compared = false;
  records_.back().initial.clear();  // its content means nothing, only its guards are looked at
  return {tensor.data, static_cast<std::size_t>(words) * 8};
}

std::vector<unsigned char> Bench::download(const Record& record) {
  std::vector<unsigned char> bytes(record.buffer.bytes());
  backend_.download(*stream_, record.buffer.data(), bytes.data(), bytes.size());
  stream_->synchronize();
  return bytes;
}

std::vector<double> Bench::decoded(const Record& record, const std::vector<unsigned char>& bytes) {
  std::vector<double> values;
  const unsigned char* place = bytes.data() + kGuardBytes;
  for (std::int64_t i = 0; i < record.elements; ++i, place += size_of(record.dtype))
    values.push_back(decode(record.dtype, place));
  return values;
}

std::vector<Bench::Result> Bench::finish() {
  std::vector<Result> results;
  for (const Record& record : records_) {
    const std::vector<unsigned char> bytes = download(record);
    const auto is_guard = [](unsigned char byte) { return byte == kGuard; };
    EXPECT_TRUE(std::all_of(bytes.begin(), bytes.begin() + kGuardBytes, is_guard))
        << backend_.name() << ": bytes before " << record.name << " were overwritten";
    EXPECT_TRUE(std::all_of(bytes.end() - kGuardBytesBehind, bytes.end(), is_guard))
        << backend_.name() << ": bytes behind " << record.name << " were overwritten";
    if (!record.compared && !record.initial.empty()) {
      EXPECT_TRUE(bytes == record.initial)
          << backend_.name() << ": the input " << record.name << " has changed";
    }
    if (!record.compared) continue;
    Result result{record.name, record.dtype, decoded(record, bytes), record.limits, record.each};
    if (record.accumulated) result.start = decoded(record, record.initial);
    result.cancelling = record.cancelling;
    result.beside = record.beside;
    results.push_back(std::move(result));
  }
  return results;
}

std::vector<double> Bench::read(const Tensor& tensor) {
  std::vector<double> values;
  std::vector<unsigned char> row(static_cast<std::size_t>(tensor.cols()) * size_of(tensor.dtype));
  for (std::int64_t r = 0; r < tensor.rows(); ++r) {
    backend_.download(*stream_, tensor.row_range(r, 1).data, row.data(), row.size());
    stream_->synchronize();
    for (std::size_t at = 0; at < row.size(); at += size_of(tensor.dtype))
      values.push_back(decode(tensor.dtype, row.data() + at));
  }
  return values;
}

double relative_error(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (std::isnan(a[i]) || std::isnan(b[i])) return std::numeric_limits<double>::infinity();
    if (a[i] == b[i] && std::isinf(a[i])) continue;
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference) / std::max(std::sqrt(size), 1e-30);
}

namespace {

double norm(const std::vector<double>& values) {
  double square = 0;
  for (const double value : values) square += value * value;
  return std::sqrt(square);
}

std::vector<double> difference(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result = a;
  for (std::size_t i = 0; i < result.size(); ++i) result[i] -= b[i];
  return result;
}

/// Compares what was added, not the sum: beside large values before, a wrong or missing gradient would pass.
void compare_added(const Bench::Result& result, const Bench::Result& expected, double limit) {
  ASSERT_EQ(result.start, expected.start) << result.name;
  const double added = norm(difference(expected.values, expected.start)), start = norm(expected.start);
  if (added == 0) {
    EXPECT_EQ(result.values, result.start) << result.name << " has changed";
    return;
  }
  EXPECT_GE(added, 1e-2 * start) << result.name << ": the case adds too little to see an error";
  // The sum is rounded once to the master dtype, by at most half a unit in its last place.
  const double rounding = result.dtype == DType::Float64 ? 0x1p-52 : 0x1p-23;
  EXPECT_LE(norm(difference(result.values, expected.values)), limit * added + rounding * start)
      << result.name << ", to which " << added << " is added";
}

void compare(const Bench::Result& result, const Bench::Result& expected, double limit) {
  ASSERT_EQ(result.values.size(), expected.values.size()) << result.name;
  if (!result.start.empty()) return compare_added(result, expected, limit);
  if (!result.each) {
    EXPECT_LE(relative_error(result.values, expected.values), limit) << result.name;
    return;
  }
  for (std::size_t i = 0; i < result.values.size(); ++i) {
    double error = relative_error({result.values[i]}, {expected.values[i]});
    if (static_cast<std::int64_t>(i) == result.cancelling) {
      const double size = std::abs(expected.values[i]);
      const double other = std::abs(expected.values[static_cast<std::size_t>(result.beside)]);
      if (other > size) error *= size / other;
    }
    EXPECT_LE(error, limit) << result.name << "[" << i << "]: " << result.values[i] << ", expected "
                            << expected.values[i];
  }
}

/// Sets the number of threads back at the end.
class ThreadCounts {
 public:
  ThreadCounts() : before_(thread_count()) {}
  ~ThreadCounts() { set_thread_count(before_); }
  ThreadCounts(const ThreadCounts&) = delete;
  ThreadCounts& operator=(const ThreadCounts&) = delete;

 private:
  int before_;
};

}  // namespace

void expect_matches_reference(const Target& target, const std::function<void(Bench&)>& run) {
  Bench oracle(shared_backend("reference"), DType::Float64, target.dtype);
  run(oracle);
  const auto expected = oracle.finish();
  const ThreadCounts restore;
  for (const int threads : {1, 2, 3, 7}) {
    SCOPED_TRACE(std::to_string(threads) + " threads");
    set_thread_count(threads);
    Bench tested(shared_backend(target.backend), target.dtype, target.dtype);
    run(tested);
    const auto results = tested.finish();
    ASSERT_EQ(results.size(), expected.size());
    for (std::size_t n = 0; n < results.size(); ++n)
      compare(results[n], expected[n], results[n].limits.of(target.dtype));
    if (target.backend != "cpu") return;  // the others know no threads
  }
}

void expect_same_for_any_threads(const Target& target, const std::function<void(Bench&)>& run) {
  // Backends that know no threads run it more than once all the same: the bits may not depend on the run.
  const ThreadCounts restore;
  std::vector<Bench::Result> expected;
  for (const int threads : {1, 2, 3, 7}) {
    set_thread_count(threads);
    Bench bench(shared_backend(target.backend), target.dtype, target.dtype);
    run(bench);
    const auto results = bench.finish();
    if (threads == 1) expected = results;
    ASSERT_EQ(results.size(), expected.size());
    for (std::size_t n = 0; n < results.size(); ++n)
      EXPECT_EQ(relative_error(results[n].values, expected[n].values), 0)
          << results[n].name << " with " << threads << " threads";
  }
}

std::ostream& operator<<(std::ostream& out, const Knob& knob) {
  return out << (knob.scalar ? "scalar " : "") << (knob.sequence ? "sequence " : "") << "feature "
             << knob.feature << (knob.stop_gradient ? " stop_gradient" : "");
}

std::vector<Knob> all_knobs() {
  std::vector<Knob> knobs;
  for (bool scalar : {false, true})
    for (bool sequence : {false, true})
      for (int feature : {0, 1, 2})
        for (bool stop : {false, true}) knobs.push_back({scalar, sequence, feature, stop});
  return knobs;
}

Coefficient make_coefficient(Bench& bench, const std::string& name, const Knob& knob, std::int64_t rows,
                             std::int64_t cols, std::int64_t rows_per_sequence) {
  Coefficient coefficient;
  coefficient.stop_gradient = knob.stop_gradient;
  if (knob.scalar) coefficient.scalar = bench.parameter(name + ".scalar", Shape{1}, {0.7, 0.2});
  if (knob.feature > 0)
    coefficient.feature = bench.parameter(name + ".feature", Shape{knob.feature == 1 ? 1 : cols}, {0.5, 0.3});
  if (knob.sequence) {  // Bernoulli with keep probability 0.8
    const std::int64_t sequences = (rows + rows_per_sequence - 1) / rows_per_sequence;
    std::vector<double> factors;
    for (std::int64_t i = 0; i < sequences; ++i) factors.push_back(i % 3 == 1 ? 0 : 1.25);
    coefficient.sequence = bench.constants(name + ".sequence", bench.master(), Shape{sequences}, factors);
  }
  return coefficient;
}

CoefficientGradient make_gradient(Bench& bench, const std::string& name, const Knob& knob, std::int64_t cols,
                                  Limits limits) {
  if (knob.feature == 0) return {};
  return {bench.accumulated(name, Shape{knob.feature == 1 ? 1 : cols}, limits)};
}

MomentsView make_moments(Bench& bench, const std::string& name, std::int64_t cols, Limits limits) {
  MomentsView view;
  view.scalars = bench.sums(name + ".scalars", kMomentScalars, 0.25, limits);
  bench.judge_beside(view.scalars, kMomentSum, kMomentSumAbs);
  if (cols > 0) {
    view.column_sum = bench.sums(name + ".column_sum", cols, -0.5, limits, false);
    view.column_square = bench.sums(name + ".column_square", cols, 0.5, limits, false);
    view.shift = bench.float64(name + ".shift", Shape{cols}, {0, 0.5});
  }
  return view;
}

}  // namespace plumb::test
