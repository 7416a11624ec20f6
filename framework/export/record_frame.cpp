#include "export/record_frame.h"

#include <array>
#include <bit>

namespace plumb {
namespace {

/// The polynomial 0x1EDC6F41 with its bits reversed, as bytes are read from their lowest bit.
constexpr std::uint32_t kPolynomial = 0x82F63B78;
constexpr std::uint32_t kMaskDelta = 0xA282EAD8;

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = remainder >> 1 ^ ((remainder & 1) != 0 ? kPolynomial : 0);
    table[byte] = remainder;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kTable = make_table();

std::uint32_t masked(std::uint32_t crc) { return std::rotr(crc, 15) + kMaskDelta; }

void append_number(std::string& text, std::uint64_t number, int bytes) {
  for (int byte = 0; byte < bytes; ++byte) text += static_cast<char>(number >> 8 * byte & 0xFF);
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~std::uint32_t{0};
  for (const char byte : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF];
  return ~crc;
}

std::string framed_record(std::string_view record) {
  std::string frame;
  frame.reserve(record.size() + 16);
  append_number(frame, record.size(), 8);
  append_number(frame, masked(crc32c(frame)), 4);
  frame += record;
  append_number(frame, masked(crc32c(record)), 4);
  return frame;
}

}  // namespace plumb
