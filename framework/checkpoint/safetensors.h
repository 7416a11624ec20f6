// Tensors by name in one file, in the safetensors format (https://huggingface.co/docs/safetensors):
// 8 bytes little-endian length N, N bytes of JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]},
// "__metadata__": {text: text}}, then the data; offsets count from the first data byte, row-major.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/tensor.h"

namespace plumb {

/// A contiguous tensor in host memory; not owned.
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// Writes and fsyncs a file. Data start at a multiple of 8 bytes; wider element types come first, so that
/// every tensor is aligned to its element; within a type the order is the one given. The same input gives the
/// same bytes. A duplicate or empty name, "__metadata__", or a view that is not contiguous is a failed check.
void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// A file mapped read-only: F64, F32, BF16, I64 and I32 tensors of at most four dimensions. A scalar (shape
/// []) reads as shape (1). Every fault of the file is an InputError of one line that names the file.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  /// In the order of the data.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& name) const { return tensors_.count(name) > 0; }
  /// A view that lives as long as this object and must not be written to. InputError when there is none.
  Tensor tensor(const std::string& name) const;
  /// The same, and an InputError when its shape is another.
  Tensor tensor(const std::string& name, const Shape& expected_shape) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  MappedFile file_;
  std::vector<std::string> names_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
  /// Copies of tensors that other writers left at addresses which their element type does not allow.
  std::vector<std::unique_ptr<double[]>> aligned_copies_;
};

}  // namespace plumb
