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
  host_ = backend.allocate_host(kRows * values_.size() * size_of(master));
  buffer_ = backend.allocate((values_.size() + 1) * size_of(master));
}

void StepValues::upload(Stream& stream, std::int64_t step) {
  if (values_.empty() || (uploaded_ && !varies_)) return;
  const std::size_t bytes = values_.size() * size_of(master_);
  char* row = static_cast<char*>(host_.data()) + next_row_ * bytes;
  next_row_ = (next_row_ + 1) % kRows;
  for (std::size_t i = 0; i < values_.size(); ++i) {
    if (master_ == DType::Float64) {
      reinterpret_cast<double*>(row)[i] = values_[i](step);
    } else {
      reinterpret_cast<float*>(row)[i] = static_cast<float>(values_[i](step));
    }
  }
  backend_->upload(stream, row, buffer_.data(), bytes);
  uploaded_ = true;
}

Tensor StepValues::tensor(int index) const {
  return Tensor(static_cast<char*>(buffer_.data()) + static_cast<std::size_t>(index) * size_of(master_),
                master_, Shape{1});
}

}  // namespace plumb
