// StepValues: the scalars of a model that change with the optimiser step but not with the data (knobs that
// are scheduled over time, constants other than 1). They live in one device buffer that ops read when they
// run.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/backend.h"

namespace plumb {

class StepValues {
 public:
  /// Registers value(step); returns its index.
  int add(std::function<double(std::int64_t step)> value, bool varies);
  void allocate(Backend& backend, DType master);
  /// Uploads the values of `step`; without time-dependent values only the first call does anything. The
  /// stream may be up to kRows - 1 uploads behind.
  void upload(Stream& stream, std::int64_t step);
  /// Device memory taken.
  std::size_t bytes() const { return buffer_.bytes(); }
  /// (1) master dtype.
  Tensor tensor(int index) const;

 private:
  Backend* backend_ = nullptr;
  DType master_ = DType::Float32;
  std::vector<std::function<double(std::int64_t)>> values_;
  bool varies_ = false, uploaded_ = false;
  /// Host side of the uploads, a row each, used in turn: an upload reads its row in stream order.
  static constexpr std::size_t kRows = 8;
  Buffer host_;
  std::size_t next_row_ = 0;
  Buffer buffer_;
};

}  // namespace plumb
