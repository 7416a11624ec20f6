// Tokenizers: text to 16-bit tokens and back.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plumb {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;
  /// Tokens are 0 .. vocabulary_size() - 1; at most 65536.
  virtual int vocabulary_size() const = 0;
  virtual std::vector<std::uint16_t> encode(std::string_view text) const = 0;
  /// Throws InputError on a token outside the vocabulary.
  virtual std::string decode(std::span<const std::uint16_t> tokens) const = 0;
  /// Bytes of text behind the tokens: what turns nats per token into bits per byte.
  virtual std::uint64_t text_bytes(std::span<const std::uint16_t> tokens) const {
    return decode(tokens).size();
  }
};

/// One token per byte, its value; any text or binary goes through unchanged.
class ByteTokenizer final : public Tokenizer {
 public:
  std::string name() const override { return "byte"; }
  int vocabulary_size() const override { return 256; }
  std::vector<std::uint16_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::uint16_t> tokens) const override;
  std::uint64_t text_bytes(std::span<const std::uint16_t> tokens) const override { return tokens.size(); }
};

/// Throws InputError that lists the known names.
std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name);

}  // namespace plumb
