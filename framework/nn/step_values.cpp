#include "nn/step_values.h"

#include <utility>

#include "core/error.h"

namespace plumb {

int StepValues::add(std::function<double(std::int64_t)> value, bool varies) {
  PLUMB_CHECK(backend_ == nullptr, "step values are registered before allocation");
  values_.push_back(std::move(value));
  varies_ = varies_ || varies;
  return static_cast<int>(values_.size()) - 1;
}

void StepValues::allocate(Backend& backend, DType master) {
  backend_ = &backend;
  master_ = master;
  host_.resize(values_.size());
  host_fp32_.resize(values_.size());
  buffer_ = backend.allocate((values_.size() + 1) * size_of(master));
}

void StepValues::upload(Stream& stream, std::int64_t step) {
  if (values_.empty() || (uploaded_ && !varies_)) return;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    host_[i] = values_[i](step);
    host_fp32_[i] = static_cast<float>(host_[i]);
  }
  const void* source = master_ == DType::Float64 ? static_cast<const void*>(host_.data()) : host_fp32_.data();
  backend_->upload(stream, source, buffer_.data(), values_.size() * size_of(master_));
  uploaded_ = true;
}

Tensor StepValues::tensor(int index) const {
  return Tensor(static_cast<char*>(buffer_.data()) + static_cast<std::size_t>(index) * size_of(master_),
                master_, Shape{1});
}

}  // namespace plumb
