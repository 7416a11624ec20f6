// The frame around every record of a TensorBoard event file (TFRecord).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace plumb {

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4).
std::uint32_t crc32c(std::string_view bytes);

/// The record as it stands in the file, numbers little-endian: length (8 bytes), masked CRC of the length
/// (4), the record, its masked CRC (4); masked = the CRC rotated right by 15 bits, plus 0xa282ead8, so that a
/// CRC of data that hold CRCs is sound. (tensorflow/core/lib/io/record_writer.h, hash/crc32c.h)
std::string framed_record(std::string_view record);

}  // namespace plumb
