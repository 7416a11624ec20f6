#include "backends/cuda/cudnn/descriptor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "backends/cuda/cudnn/cudnn_check.h"

namespace plumb::cuda {
namespace {

/// check_cudnn() of a call with a descriptor type or an attribute, by cuDNN's number.
void check_numbered(cudnnStatus_t status, const char* function, int number, std::source_location where) {
  if (status != CUDNN_STATUS_SUCCESS) {
    check_cudnn(status, fmt::format("{}({})", function, number).c_str(), where);
  }
}

}  // namespace

Descriptor::Descriptor(cudnnBackendDescriptorType_t type, std::source_location where) {
  check_numbered(cudnnBackendCreateDescriptor(type, &descriptor_), "cudnnBackendCreateDescriptor", type,
                 where);
}

Descriptor::~Descriptor() {
  if (descriptor_ != nullptr) static_cast<void>(cudnnBackendDestroyDescriptor(descriptor_));
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, nullptr)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

void Descriptor::set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                         std::int64_t count, const void* values, std::source_location where) {
  check_numbered(cudnnBackendSetAttribute(descriptor_, name, type, count, values), "cudnnBackendSetAttribute",
                 name, where);
}

void Descriptor::finalize(std::source_location where) {
  check_cudnn(cudnnBackendFinalize(descriptor_), "cudnnBackendFinalize", where);
}

std::string Descriptor::try_finalize(std::source_location where) {
  const cudnnStatus_t status = cudnnBackendFinalize(descriptor_);
  if (is_fault(status)) check_cudnn(status, "cudnnBackendFinalize", where);
  return status == CUDNN_STATUS_SUCCESS ? "" : cudnn_text(status);
}

std::int64_t Descriptor::get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                 std::int64_t count, void* values) const {
  std::int64_t found = 0;
  check_numbered(cudnnBackendGetAttribute(descriptor_, name, type, count, &found, values),
                 "cudnnBackendGetAttribute", name, std::source_location::current());
  return found;
}

std::int64_t Descriptor::count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
  return get_raw(name, type, 0, nullptr);
}

std::int64_t Descriptor::integer(cudnnBackendAttributeName_t name) const {
  std::int64_t value = 0;
  get_raw(name, CUDNN_TYPE_INT64, 1, &value);
  return value;
}

std::vector<Descriptor> Descriptor::children(cudnnBackendAttributeName_t name,
                                             cudnnBackendDescriptorType_t type, int most) const {
  std::vector<Descriptor> list;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (int i = 0; i < most; ++i) raw.push_back(list.emplace_back(type).get());
  const std::int64_t found = get_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, raw.data());
  list.erase(list.begin() + std::min<std::int64_t>(found, most), list.end());
  return list;
}

}  // namespace plumb::cuda
