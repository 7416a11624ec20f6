#include "export/gpt2_tokenizer.h"

#include <nlohmann/json.hpp>
#include <span>

#include "core/file.h"

namespace plumb {
namespace {

/// UTF-8 of a code point below U+0800.
std::string utf8(int code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

bool is_printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

void write_text(const std::filesystem::path& file, const std::string& text) {
  write_whole_file(file, {std::as_bytes(std::span(text))});
}

}  // namespace

std::array<std::string, 256> gpt2_byte_names() {
  std::array<std::string, 256> names;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte)
    names[static_cast<std::size_t>(byte)] = utf8(is_printable(byte) ? byte : next++);
  return names;
}

void write_gpt2_byte_tokenizer(const std::filesystem::path& folder) {
  nlohmann::ordered_json vocabulary;
  const std::array<std::string, 256> names = gpt2_byte_names();
  for (std::size_t byte = 0; byte < names.size(); ++byte) vocabulary[names[byte]] = byte;
  write_text(folder / "vocab.json", vocabulary.dump() + "\n");
  write_text(folder / "merges.txt", "#version: 0.2\n");
  write_text(folder / "tokenizer_config.json", "{\"tokenizer_class\": \"GPT2Tokenizer\"}\n");
}

}  // namespace plumb
