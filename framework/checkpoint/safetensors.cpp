#include "checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string_view>

#include "core/error.h"

namespace plumb {
namespace {
using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little, "safetensors data are little-endian");

constexpr std::size_t kLengthBytes = 8;
/// The limit of the format's own implementation: guards against reading garbage as a length.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr const char* kMetadataKey = "__metadata__";

const char* format_name(DType dtype) {
  switch (dtype) {
    case DType::Float64:
      return "F64";
    case DType::Float32:
      return "F32";
    case DType::BFloat16:
      return "BF16";
    case DType::Float16:
      return "F16";
    case DType::Int64:
      return "I64";
    case DType::Int32:
      return "I32";
  }
  fail("dtype {} has no safetensors name", static_cast<int>(dtype));
}

std::optional<DType> dtype_from(std::string_view name) {
  for (DType dtype :
       {DType::Float64, DType::Float32, DType::BFloat16, DType::Float16, DType::Int64, DType::Int32}) {
    if (name == format_name(dtype)) return dtype;
  }
  return std::nullopt;
}

/// The JSON header, padded with spaces so that the data after it are 8-byte aligned.
std::string make_header(const std::vector<NamedTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  std::size_t offset = 0;
  for (const NamedTensor& entry : tensors) {
    PLUMB_CHECK(!entry.name.empty() && entry.name != kMetadataKey, "'{}' cannot name a tensor", entry.name);
    PLUMB_CHECK(!header.contains(entry.name), "two tensors are named '{}'", entry.name);
    PLUMB_CHECK(entry.tensor.defined() && entry.tensor.contiguous(), "tensor '{}' is not contiguous",
                entry.name);
    std::vector<std::int64_t> shape;
    for (int i = 0; i < entry.tensor.shape.rank(); ++i) shape.push_back(entry.tensor.shape[i]);
    const std::size_t end = offset + entry.tensor.bytes();
    header[entry.name] = {
        {"dtype", format_name(entry.tensor.dtype)}, {"shape", shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

/// Parses the header and refuses what is no JSON object or repeats a key (which JSON parsers let pass).
Json parse_header(std::string_view text, const std::string& file) {
  std::set<std::string> seen;
  std::string duplicate;
  const auto watch_keys = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1) {
      const auto name = parsed.get<std::string>();
      if (!seen.insert(name).second) duplicate = name;
    }
    return true;
  };
  Json header = Json::parse(text, watch_keys, /*allow_exceptions=*/false);
  if (header.is_discarded() || !header.is_object()) {
    fail_input("{}: the safetensors header is not a JSON object", file);
  }
  if (!duplicate.empty()) fail_input("{}: two tensors are named '{}'", file, duplicate);
  return header;
}

/// Where a tensor lies in the data section, checked against the section's size and its own shape.
struct Entry {
  std::string name;
  DType dtype = DType::Float32;
  Shape shape;
  std::uint64_t begin = 0, end = 0;
};

bool is_unsigned_list(const Json& value) {
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_number_unsigned(); });
}

Shape shape_from(const std::vector<std::uint64_t>& dims) {
  const auto dim = [&](std::size_t i) { return static_cast<std::int64_t>(dims[i]); };
  switch (dims.size()) {
    case 0:
      return Shape{1};
    case 1:
      return Shape{dim(0)};
    case 2:
      return Shape{dim(0), dim(1)};
    case 3:
      return Shape{dim(0), dim(1), dim(2)};
    default:
      return Shape{dim(0), dim(1), dim(2), dim(3)};
  }
}

Entry parse_entry(const std::string& name, const Json& value, std::uint64_t data_bytes,
                  const std::string& file) {
  const bool well_formed = value.is_object() && value.contains("dtype") && value["dtype"].is_string() &&
                           value.contains("shape") && is_unsigned_list(value["shape"]) &&
                           value.contains("data_offsets") && is_unsigned_list(value["data_offsets"]) &&
                           value["data_offsets"].size() == 2;
  if (!well_formed) fail_input("{}: tensor '{}' lacks a valid dtype, shape or data_offsets", file, name);

  Entry entry;
  entry.name = name;
  const auto dtype_name = value["dtype"].get<std::string>();
  const std::optional<DType> dtype = dtype_from(dtype_name);
  if (!dtype) {
    fail_input("{}: tensor '{}' has dtype {}; known are F64, F32, BF16, I64, I32", file, name, dtype_name);
  }
  entry.dtype = *dtype;

  const auto dims = value["shape"].get<std::vector<std::uint64_t>>();
  if (dims.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    fail_input("{}: tensor '{}' has {} dimensions; at most {} are known", file, name, dims.size(),
               Shape::kMaxRank);
  }
  entry.begin = value["data_offsets"][0].get<std::uint64_t>();
  entry.end = value["data_offsets"][1].get<std::uint64_t>();
  if (entry.begin > entry.end || entry.end > data_bytes) {
    fail_input("{}: tensor '{}' lies at bytes {}..{} of {} bytes of data; the file is truncated or damaged",
               file, name, entry.begin, entry.end, data_bytes);
  }
  // Products that overflow cannot fit the data either, so they are cut off at the limit.
  std::uint64_t bytes = size_of(entry.dtype);
  for (std::uint64_t dim : dims) {
    const bool overflow = dim != 0 && bytes > std::numeric_limits<std::int64_t>::max() / dim;
    bytes = overflow ? std::numeric_limits<std::uint64_t>::max() : bytes * dim;
    if (overflow) break;
  }
  if (bytes != entry.end - entry.begin) {
    fail_input("{}: tensor '{}' has {} bytes, its dtype and shape need {}", file, name,
               entry.end - entry.begin, bytes);
  }
  entry.shape = shape_from(dims);
  return entry;
}

std::map<std::string, std::string> parse_metadata(const Json& value, const std::string& file) {
  std::map<std::string, std::string> metadata;
  if (!value.is_object()) fail_input("{}: {} is not an object of strings", file, kMetadataKey);
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) fail_input("{}: {} entry '{}' is not a string", file, kMetadataKey, key);
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

/// The format wants the data section covered exactly once.
void check_coverage(const std::vector<Entry>& sorted, std::uint64_t data_bytes, const std::string& file) {
  std::uint64_t covered = 0;
  for (const Entry& entry : sorted) {
    if (entry.begin != covered) {
      fail_input("{}: tensor '{}' starts at byte {} of the data, {} was expected; the header is damaged",
                 file, entry.name, entry.begin, covered);
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    fail_input("{}: {} bytes of data, the header describes {}; the file is damaged", file, data_bytes,
               covered);
  }
}
}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<NamedTensor> ordered = tensors;
  std::stable_sort(ordered.begin(), ordered.end(), [](const NamedTensor& left, const NamedTensor& right) {
    return size_of(left.tensor.dtype) > size_of(right.tensor.dtype);
  });
  const std::string header = make_header(ordered, metadata);
  const std::uint64_t header_bytes = header.size();

  FileWriter writer(path);
  writer.write(std::as_bytes(std::span(&header_bytes, 1)));
  writer.write(header);
  for (const NamedTensor& entry : ordered) {
    writer.write({static_cast<const std::byte*>(entry.tensor.data), entry.tensor.bytes()});
  }
  writer.finish();
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string file = path.string();
  if (file_.bytes() < kLengthBytes) {
    fail_input("{}: {} bytes are too few for a safetensors file; it is truncated", file, file_.bytes());
  }
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file_.data(), kLengthBytes);
  if (header_bytes > kMaxHeaderBytes || header_bytes > file_.bytes() - kLengthBytes) {
    fail_input("{}: a header of {} bytes does not fit in {} bytes; truncated, or not a safetensors file",
               file, header_bytes, file_.bytes());
  }
  const Json header = parse_header(file_.text().substr(kLengthBytes, header_bytes), file);
  const std::byte* data = file_.data() + kLengthBytes + header_bytes;
  const std::uint64_t data_bytes = file_.bytes() - kLengthBytes - header_bytes;

  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == kMetadataKey) {
      metadata_ = parse_metadata(value, file);
    } else {
      entries.push_back(parse_entry(name, value, data_bytes, file));
    }
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& left, const Entry& right) {
    return std::pair(left.begin, left.end) < std::pair(right.begin, right.end);
  });
  check_coverage(entries, data_bytes, file);

  for (const Entry& entry : entries) {
    const std::byte* source = data + entry.begin;
    if (reinterpret_cast<std::uintptr_t>(source) % size_of(entry.dtype) != 0) {
      const std::size_t bytes = entry.end - entry.begin;
      auto& copy = aligned_copies_.emplace_back(std::make_unique<double[]>(bytes / sizeof(double) + 1));
      std::memcpy(copy.get(), source, bytes);
      source = reinterpret_cast<const std::byte*>(copy.get());
    }
    // Tensor has no read-only form; the mapping itself refuses writes.
    tensors_[entry.name] = Tensor(const_cast<std::byte*>(source), entry.dtype, entry.shape);
    names_.push_back(entry.name);
  }
}

Tensor SafetensorsFile::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail_input("{}: there is no tensor '{}'", path().string(), name);
  return found->second;
}

Tensor SafetensorsFile::tensor(const std::string& name, const Shape& expected_shape) const {
  const Tensor found = tensor(name);
  if (!(found.shape == expected_shape)) {
    fail_input("{}: tensor '{}' has shape {}, expected {}", path().string(), name, to_string(found.shape),
               to_string(expected_shape));
  }
  return found;
}

}  // namespace plumb
