// Model parameters and optimiser state between device memory and files.
#pragma once

#include <string>
#include <vector>

#include "backend/backend.h"
#include "checkpoint/safetensors.h"
#include "comm/rank_checks.h"
#include "core/error.h"
#include "nn/parameter.h"

namespace plumb {

/// Host copies of device tensors, under names.
class HostTensors {
 public:
  /// Downloads every tensor; returns when all are there.
  HostTensors(Backend& backend, Stream& stream, const std::vector<NamedTensor>& device_tensors);
  const std::vector<NamedTensor>& list() const { return list_; }

 private:
  std::vector<char> memory_;
  std::vector<NamedTensor> list_;
};

/// Device views of every parameter's value, frozen ones included, under its own name.
std::vector<NamedTensor> parameter_tensors(const ParameterStore& store);

/// Fills device tensors from a file. InputError naming the file for a missing tensor or another shape; fp32
/// files load into fp64 tensors and back.
void upload_tensors(Backend& backend, Stream& stream, const SafetensorsFile& file,
                    const std::vector<NamedTensor>& device_tensors);
/// The same for a device tensor that holds the elements from `begin` on of what the file has as `whole`.
void upload_part(Backend& backend, Stream& stream, const SafetensorsFile& file, const NamedTensor& part,
                 const Shape& whole, std::int64_t begin);

/// Of parameters as they are on the device; downloads them piece by piece.
ModelHash model_hash(Backend& backend, Stream& stream, const ParameterStore& store);

}  // namespace plumb
