// Token files: unsigned 16-bit tokens, little endian, in the two layouts in common use.
//   raw    tokens from the first byte to the last (what nanoGPT's prepare scripts write)
//   llm.c  1024 bytes of header first: 256 int32 = magic 20240520, version 1, token count, then zeros
//          (llm.c, dev/data/data_common.py)
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/file.h"

namespace plumb {

enum class TokenLayout { Raw, LlmC };
/// "raw" or "llm.c".
std::string_view name_of(TokenLayout layout);
/// Throws InputError that lists the known names.
TokenLayout token_layout(std::string_view name);

/// A token file mapped read-only for the object's life. The layout is found out: a file that starts with
/// llm.c's magic has a header, and what the header says must agree with the file's size; any other file is
/// raw. (A raw file whose first two tokens are 55432 and 308 is therefore refused: no 50257-token vocabulary
/// and no byte text has such a token.)
class TokenFile {
 public:
  /// Throws InputError, naming the file, when it cannot be read, is empty, has an odd number of bytes, has a
  /// header that contradicts its size, or holds another format of llm.c (32-bit tokens).
  explicit TokenFile(const std::filesystem::path& path);

  std::span<const std::uint16_t> tokens() const { return tokens_; }
  const std::filesystem::path& path() const { return file_.path(); }
  bool has_header() const { return has_header_; }
  std::size_t bytes() const { return file_.bytes(); }
  /// The largest token; reads the whole file.
  std::uint16_t max_token() const;
  /// Throws InputError (token, position, file) unless every token is below `vocabulary`; reads the whole
  /// file.
  void check_vocabulary(int vocabulary) const;
  /// XXH3 of the file's bytes, header included (`xxhsum -H3` prints the same); reads the whole file.
  std::uint64_t hash() const;

 private:
  void find_tokens();

  MappedFile file_;
  std::span<const std::uint16_t> tokens_;
  bool has_header_ = false;
};

/// Writes tokens so that the file is whole or absent (write_whole_file). Throws InputError when there is
/// nothing to write, the place cannot be written, or llm.c's 31-bit count cannot hold the number of tokens.
void write_token_file(const std::filesystem::path& path, std::span<const std::uint16_t> tokens,
                      TokenLayout layout);

}  // namespace plumb
