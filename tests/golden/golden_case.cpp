#include "golden/golden_case.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <span>
#include <sstream>

#include "core/error.h"

namespace plumb::golden {
namespace {

template <class T>
Values widen(const Tensor& tensor) {
  Values values;
  const T* data = tensor.as<T>();
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    if constexpr (std::is_same_v<T, bfloat16>) {
      values.push_back(static_cast<double>(static_cast<float>(data[i])));
    } else {
      values.push_back(static_cast<double>(data[i]));
    }
  }
  return values;
}

/// A device tensor's numbers, after the stream has passed it.
Values download(Engine& engine, const Tensor& device) {
  std::vector<double> storage(device.bytes() / sizeof(double) + 1);
  engine.backend().download(engine.stream(), device.data, storage.data(), device.bytes());
  engine.stream().synchronize();
  return to_values(Tensor(storage.data(), device.dtype, device.shape));
}

/// The file's parameters in place of the initial values; both sides must have the same ones.
void load_parameters(Engine& engine, const GoldenFile& golden) {
  std::set<std::string> unused;
  for (const std::string& name : golden.names("parameter")) unused.insert(name);
  for (const Parameter& parameter : engine.parameters().all()) {
    ASSERT_TRUE(unused.erase(parameter.name)) << "the file has no parameter " << parameter.name;
    const Tensor stored = golden.file().tensor("parameter/" + parameter.name, parameter.shape);
    const Values wide = to_values(stored);
    const std::vector<float> narrow(wide.begin(), wide.end());
    const void* source = parameter.value.dtype == DType::Float64 ? static_cast<const void*>(wide.data())
                                                                 : static_cast<const void*>(narrow.data());
    engine.backend().upload(engine.stream(), source, parameter.value.data, parameter.value.bytes());
    engine.stream().synchronize();
  }
  EXPECT_TRUE(unused.empty()) << "the model has no parameter " << *unused.begin();
  engine.parameters().refresh_compute(engine.stream());
}

}  // namespace

Values to_values(const Tensor& tensor) {
  switch (tensor.dtype) {
    case DType::Float64:
      return widen<double>(tensor);
    case DType::Float32:
      return widen<float>(tensor);
    case DType::BFloat16:
      return widen<bfloat16>(tensor);
    default:
      fail("no floating tensor: {}", name_of(tensor.dtype));
  }
}

double norm_of(const Values& values) {
  double sum = 0;
  for (double value : values) sum += value * value;
  return std::sqrt(sum);
}

double distance(const Values& left, const Values& right) {
  PLUMB_CHECK(left.size() == right.size(), "{} numbers against {}", left.size(), right.size());
  Values difference(left.size());
  for (std::size_t i = 0; i < left.size(); ++i) difference[i] = left[i] - right[i];
  return norm_of(difference);
}

std::vector<ZeroSpan> GoldenFile::zero_spans() const {
  std::vector<ZeroSpan> spans;
  std::istringstream words(file_.metadata().at("zero_gradients"));
  for (std::string word; words >> word;) {
    const std::size_t last = word.rfind(':');
    const std::size_t first = word.rfind(':', last - 1);
    spans.push_back({word.substr(0, first), std::stoull(word.substr(first + 1, last - first - 1)),
                     std::stoull(word.substr(last + 1))});
  }
  return spans;
}

std::map<std::string, double> GoldenFile::bf16_errors() const {
  std::map<std::string, double> errors;
  std::istringstream words(file_.metadata().at("bf16_errors"));
  std::string name;
  for (double error = 0; words >> name >> error;) errors[name] = error;
  return errors;
}

std::vector<std::string> GoldenFile::names(const std::string& prefix) const {
  std::vector<std::string> found;
  for (const std::string& name : file_.names()) {
    if (name.starts_with(prefix + "/")) found.push_back(name.substr(prefix.size() + 1));
  }
  return found;
}

EngineResult run_engine(const Config& config, const GoldenFile& golden, Backend& backend, DType compute) {
  const Tensor inputs = golden.file().tensor("inputs"), targets = golden.file().tensor("targets");
  const ModelShape shape{
      .batch = inputs.shape[0], .tokens = inputs.shape[1], .compute = compute, .keep_branches = true};
  Engine engine(config.model, config.model.vocabulary, shape, config.training.seed, backend);
  engine.initialize();
  load_parameters(engine, golden);

  Buffer loss_buffer = backend.allocate(kHeadLossSums * sizeof(double));
  Probes probes;
  probes.loss_sums = Tensor(loss_buffer.data(), DType::Float64, {kHeadLossSums});
  const auto rows = static_cast<std::size_t>(inputs.elements());
  engine.begin_step(golden.step());
  engine.upload_batch(std::span(inputs.as<std::int32_t>(), rows), std::span(targets.as<std::int32_t>(), rows),
                      0);
  engine.zero_gradients();
  engine.forward(probes, /*training=*/true);

  EngineResult result;
  const Values sums = download(engine, probes.loss_sums);
  result.loss =
      (sums[kHeadLossCrossEntropy] + config.model.z_loss * sums[kHeadLossLogZSquared]) / sums[kHeadLossRows];
  const Context context = engine.context(&probes, true);
  for (std::int64_t k = 0; k <= engine.model().sublayers(); ++k) {
    result.streams.push_back(download(engine, engine.model().stream(context, k)));
    if (k == engine.model().sublayers()) break;
    result.branches.push_back(download(engine, engine.model().sublayer(k).branch_output(context)));
  }
  engine.backward(probes, 1 / sums[kHeadLossRows], nullptr, /*training=*/true);
  for (const Parameter* parameter : engine.parameters().trainable()) {
    result.gradients[parameter->name] = download(engine, parameter->gradient);
  }
  return result;
}

}  // namespace plumb::golden
