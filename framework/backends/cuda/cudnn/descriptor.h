// Descriptors of cuDNN's backend API (cudnnBackendSetAttribute and friends) with typed attributes.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <source_location>
#include <span>
#include <string>
#include <vector>

namespace plumb::cuda {

template <class T>
struct NotAnAttributeType;
/// What cuDNN calls a C++ type; for other types than these it does not compile.
template <class T>
inline constexpr cudnnBackendAttributeType_t attribute_type = NotAnAttributeType<T>::value;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<std::int64_t> = CUDNN_TYPE_INT64;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<bool> = CUDNN_TYPE_BOOLEAN;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<char> = CUDNN_TYPE_CHAR;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<void*> = CUDNN_TYPE_VOID_PTR;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnPointwiseMode_t> = CUDNN_TYPE_POINTWISE_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnReduceTensorOp_t> =
    CUDNN_TYPE_REDUCTION_OPERATOR_TYPE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendKnobType_t> = CUDNN_TYPE_KNOB_TYPE;
template <>
inline constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendNumericalNote_t> =
    CUDNN_TYPE_NUMERICAL_NOTE;

/// Owns one descriptor. Errors throw Error with the place of the call and cuDNN's own words.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type,
                      std::source_location where = std::source_location::current());
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  template <class T>
  void set(cudnnBackendAttributeName_t name, std::span<const T> values,
           std::source_location where = std::source_location::current()) {
    set_raw(name, attribute_type<T>, static_cast<std::int64_t>(values.size()), values.data(), where);
  }
  template <class T>
  void set(cudnnBackendAttributeName_t name, const T& value,
           std::source_location where = std::source_location::current()) {
    set_raw(name, attribute_type<T>, 1, &value, where);
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value,
           std::source_location where = std::source_location::current()) {
    set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_, where);
  }
  /// Descriptors that live as long as this one; to C++ they are void*, like the pointers of a variant pack.
  void set_descriptors(cudnnBackendAttributeName_t name, std::span<const cudnnBackendDescriptor_t> values,
                       std::source_location where = std::source_location::current()) {
    set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(values.size()), values.data(),
            where);
  }
  void finalize(std::source_location where = std::source_location::current());
  /// finalize() of what the library may refuse: its reason, or an empty text. Error at a fault.
  std::string try_finalize(std::source_location where = std::source_location::current());

  std::int64_t integer(cudnnBackendAttributeName_t name) const;
  /// All the values of an attribute.
  template <class T>
  std::vector<T> list(cudnnBackendAttributeName_t name) const {
    std::vector<T> values(static_cast<std::size_t>(count(name, attribute_type<T>)));
    values.resize(static_cast<std::size_t>(
        get_raw(name, attribute_type<T>, static_cast<std::int64_t>(values.size()), values.data())));
    return values;
  }
  /// The descriptors of an attribute, all of one type, at most `most`: cuDNN does not tell of every attribute
  /// how many there are.
  std::vector<Descriptor> children(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type,
                                   int most) const;

 private:
  void set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
               const void* values, std::source_location where);
  std::int64_t get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                       void* values) const;
  std::int64_t count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const;

  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace plumb::cuda
