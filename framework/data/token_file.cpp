#include "data/token_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/hash.h"

namespace plumb {
namespace {
static_assert(std::endian::native == std::endian::little, "token files are mapped as they are");

using Header = std::array<std::int32_t, 256>;
constexpr std::int32_t kMagic = 20240520;
constexpr std::int32_t kMagicOf32BitTokens = 20240801;
constexpr std::int32_t kVersion = 1;

MappedFile open_token_file(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::status(path, ignored).type() == std::filesystem::file_type::not_found) {
    fail_input(
        "cannot open token file {}: No such file or directory ('plumb data prepare' makes token files from "
        "text)",
        path.string());
  }
  return MappedFile(path);
}
}  // namespace

std::string_view name_of(TokenLayout layout) { return layout == TokenLayout::Raw ? "raw" : "llm.c"; }

TokenLayout token_layout(std::string_view name) {
  if (name == "raw") return TokenLayout::Raw;
  if (name == "llm.c") return TokenLayout::LlmC;
  fail_input("unknown layout of token files '{}' (known: raw, llm.c)", name);
}

TokenFile::TokenFile(const std::filesystem::path& path) : file_(open_token_file(path)) {
  if (bytes() == 0) fail_input("token file {} is empty", path.string());
  find_tokens();
}

void TokenFile::find_tokens() {
  Header header{};
  std::memcpy(header.data(), file_.data(), std::min(bytes(), sizeof(Header)));
  if (bytes() >= sizeof(std::int32_t) && header[0] == kMagicOf32BitTokens) {
    fail_input("token file {} holds llm.c's 32-bit tokens (magic {}); Plumb reads 16-bit tokens",
               path().string(), header[0]);
  }
  has_header_ = bytes() >= sizeof(std::int32_t) && header[0] == kMagic;
  if (has_header_) {
    if (bytes() < sizeof(Header)) {
      fail_input("token file {} is corrupted or truncated: {} bytes, but its header alone has {}",
                 path().string(), bytes(), sizeof(Header));
    }
    if (header[1] != kVersion) {
      fail_input("token file {} has version {} of llm.c's header; Plumb reads version {}", path().string(),
                 header[1], kVersion);
    }
    const std::int64_t expected = static_cast<std::int64_t>(sizeof(Header)) + 2 * std::int64_t{header[2]};
    if (header[2] < 0 || expected != static_cast<std::int64_t>(bytes())) {
      fail_input(
          "token file {} is corrupted or truncated: its header promises {} tokens ({} bytes), it has {} "
          "bytes",
          path().string(), header[2], expected, bytes());
    }
    if (header[2] == 0) fail_input("token file {} is empty (a header and no tokens)", path().string());
  } else if (bytes() % sizeof(std::uint16_t) != 0) {
    fail_input("token file {} is corrupted or truncated: {} bytes is no whole number of 16-bit tokens",
               path().string(), bytes());
  }
  const std::size_t skipped = has_header_ ? sizeof(Header) : 0;
  tokens_ = {reinterpret_cast<const std::uint16_t*>(file_.data() + skipped),
             (bytes() - skipped) / sizeof(std::uint16_t)};
}

std::uint16_t TokenFile::max_token() const { return *std::max_element(tokens_.begin(), tokens_.end()); }

void TokenFile::check_vocabulary(int vocabulary) const {
  const auto bad =
      std::find_if(tokens_.begin(), tokens_.end(), [&](auto token) { return token >= vocabulary; });
  if (bad != tokens_.end()) {
    fail_input("token file {} holds token {} at position {}, but the vocabulary has {} tokens (0 to {})",
               path().string(), *bad, bad - tokens_.begin(), vocabulary, vocabulary - 1);
  }
}

std::uint64_t TokenFile::hash() const { return hash_bytes(file_.data(), file_.bytes()); }

void write_token_file(const std::filesystem::path& path, std::span<const std::uint16_t> tokens,
                      TokenLayout layout) {
  if (tokens.empty()) fail_input("no tokens to write to {}", path.string());
  if (layout == TokenLayout::Raw) {
    write_whole_file(path, {std::as_bytes(tokens)});
    return;
  }
  if (tokens.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    fail_input(
        "cannot write {}: the llm.c header counts at most 2147483647 tokens, there are {}; use layout raw",
        path.string(), tokens.size());
  }
  Header header{kMagic, kVersion, static_cast<std::int32_t>(tokens.size())};
  write_whole_file(path, {std::as_bytes(std::span(header)), std::as_bytes(tokens)});
}

}  // namespace plumb
