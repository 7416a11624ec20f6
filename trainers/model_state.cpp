#include "model_state.h"

#include <algorithm>

#include "core/error.h"
#include "core/hash.h"

namespace plumb {
namespace {

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

/// The file's elements in the dtype of the device tensor; `converted` is the storage if they differ.
const void* in_dtype(const Tensor& source, DType dtype, const std::string& name, std::vector<double>& wide,
                     std::vector<float>& narrow) {
  if (source.dtype == dtype) return source.data;
  const auto count = static_cast<std::size_t>(source.elements());
  if (source.dtype == DType::Float32 && dtype == DType::Float64) {
    wide.assign(source.as<float>(), source.as<float>() + count);
    return wide.data();
  }
  if (source.dtype == DType::Float64 && dtype == DType::Float32) {
    narrow.assign(source.as<double>(), source.as<double>() + count);
    return narrow.data();
  }
  fail_input("tensor '{}' is {}, expected {}", name, name_of(source.dtype), name_of(dtype));
}

}  // namespace

HostTensors::HostTensors(Backend& backend, Stream& stream, const std::vector<NamedTensor>& device_tensors) {
  std::size_t bytes = 64;
  for (const NamedTensor& named : device_tensors) bytes += aligned(named.tensor.bytes());
  memory_.resize(bytes);
  char* place = memory_.data();
  place += aligned(reinterpret_cast<std::uintptr_t>(place)) - reinterpret_cast<std::uintptr_t>(place);
  for (const NamedTensor& named : device_tensors) {
    backend.download(stream, named.tensor.data, place, named.tensor.bytes());
    list_.push_back({named.name, Tensor(place, named.tensor.dtype, named.tensor.shape)});
    place += aligned(named.tensor.bytes());
  }
  stream.synchronize();
}

std::vector<NamedTensor> parameter_tensors(const ParameterStore& store) {
  std::vector<NamedTensor> list;
  for (const Parameter& parameter : store.all()) list.push_back({parameter.name, parameter.value});
  return list;
}

void upload_tensors(Backend& backend, Stream& stream, const SafetensorsFile& file,
                    const std::vector<NamedTensor>& device_tensors) {
  for (const NamedTensor& named : device_tensors)
    upload_part(backend, stream, file, named, named.tensor.shape, 0);
}

void upload_part(Backend& backend, Stream& stream, const SafetensorsFile& file, const NamedTensor& part,
                 const Shape& whole, std::int64_t begin) {
  const Tensor& tensor = part.tensor;
  Tensor source = file.tensor(part.name, whole);
  source = source.reshaped({source.elements(), 1}).row_range(begin, tensor.elements());
  std::vector<double> wide;
  std::vector<float> narrow;
  const void* data = in_dtype(source, tensor.dtype, part.name, wide, narrow);
  backend.upload(stream, data, tensor.data, tensor.bytes());
  stream.synchronize();
}

ModelHash model_hash(Backend& backend, Stream& stream, const ParameterStore& store) {
  // By pieces: a copy of the largest tensor would be the largest thing that a run ever holds in host memory.
  constexpr std::size_t kPiece = std::size_t{4} << 20;
  std::string tensors, values;
  std::vector<char> piece;
  for (const NamedTensor& named : parameter_tensors(store)) {
    tensors +=
        fmt::format("{} {} {}\n", named.name, to_string(named.tensor.shape), name_of(named.tensor.dtype));
    PiecewiseHash hash;
    for (std::size_t begin = 0; begin < named.tensor.bytes(); begin += kPiece) {
      piece.resize(std::min(kPiece, named.tensor.bytes() - begin));
      backend.download(stream, static_cast<const char*>(named.tensor.data) + begin, piece.data(),
                       piece.size());
      stream.synchronize();
      hash.add(piece.data(), piece.size());
    }
    values += hash_to_string(hash.value());
  }
  return {hash_text(tensors), hash_text(values)};
}

}  // namespace plumb
