#include "gpu/device_memory.h"

#include <algorithm>

namespace plumb::gpu {

Buffer& DeviceMemory::add(std::size_t bytes) {
  buffers_.push_back(backend_.allocate(bytes));
  return buffers_.back();
}

Tensor DeviceMemory::zeros(DType dtype, Shape shape) {
  return Tensor(add(static_cast<std::size_t>(shape.elements()) * size_of(dtype)).data(), dtype, shape);
}

Tensor DeviceMemory::tensor(DType dtype, Shape shape) {
  const Tensor tensor = zeros(dtype, shape);
  if (dtype != DType::Float32 && dtype != DType::BFloat16) return tensor;  // zeros
  constexpr std::int64_t kPattern = 1 << 16;
  std::vector<float> values(static_cast<std::size_t>(std::min(kPattern, tensor.elements())));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>((i * 2654435761U >> 16) % 2048) / 1024.0F - 1.0F;
  std::vector<bfloat16> narrow(values.begin(), values.end());
  const void* source = dtype == DType::Float32 ? static_cast<const void*>(values.data()) : narrow.data();
  const std::size_t whole = tensor.bytes(), part = values.size() * size_of(dtype);
  for (std::size_t done = 0; done < whole; done += part) {
    backend_.upload(stream_, source, static_cast<char*>(tensor.data) + done, std::min(part, whole - done));
  }
  stream_.synchronize();
  return tensor;
}

Tensor DeviceMemory::integers(std::int64_t count, std::int64_t limit) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int32_t>((i * 2654435761U >> 8) % static_cast<std::size_t>(limit));
  const Tensor tensor(add(values.size() * sizeof(std::int32_t)).data(), DType::Int32, {count});
  backend_.upload(stream_, values.data(), tensor.data, tensor.bytes());
  stream_.synchronize();
  return tensor;
}

Tensor DeviceMemory::doubles(const std::vector<double>& values) {
  const auto count = static_cast<std::int64_t>(values.size());
  const Tensor tensor(add(values.size() * sizeof(double)).data(), DType::Float64, {count});
  backend_.upload(stream_, values.data(), tensor.data, tensor.bytes());
  stream_.synchronize();
  return tensor;
}

Workspace DeviceMemory::workspace(std::size_t bytes) {
  return bytes == 0 ? Workspace{} : Workspace{add(bytes).data(), bytes};
}

}  // namespace plumb::gpu
