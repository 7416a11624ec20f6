// GPT-2's tokenizer for a model whose tokens are bytes.
#pragma once

#include <array>
#include <filesystem>
#include <string>

#include "core/error.h"

namespace plumb {

/// What GPT-2's vocabulary calls each byte, UTF-8: printable characters of Latin-1 by themselves, the others
/// by the characters from U+0100 on, in the order of the bytes (Radford et al. 2019, encoder.py,
/// bytes_to_unicode).
std::array<std::string, 256> gpt2_byte_names();

/// vocab.json (token = value of the byte), merges.txt without a merge, tokenizer_config.json.
void write_gpt2_byte_tokenizer(const std::filesystem::path& folder);

}  // namespace plumb
