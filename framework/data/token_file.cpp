#include "data/token_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "data/whole_file.h"

namespace plumb {
namespace {
static_assert(std::endian::native == std::endian::little, "token files are mapped as they are");

using Header = std::array<std::int32_t, 256>;
constexpr std::int32_t kMagic = 20240520;
constexpr std::int32_t kMagicOf32BitTokens = 20240801;
constexpr std::int32_t kVersion = 1;

struct DescriptorGuard {
  int descriptor;
  ~DescriptorGuard() { ::close(descriptor); }
};
}  // namespace

std::string_view name_of(TokenLayout layout) { return layout == TokenLayout::Raw ? "raw" : "llm.c"; }

TokenLayout token_layout(std::string_view name) {
  if (name == "raw") return TokenLayout::Raw;
  if (name == "llm.c") return TokenLayout::LlmC;
  fail_input("unknown layout of token files '{}' (known: raw, llm.c)", name);
}

TokenFile::TokenFile(std::filesystem::path path) : path_(std::move(path)) {
  const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    fail_input("cannot open token file {}: {}{}", path_.string(), std::strerror(errno),
               errno == ENOENT ? " ('plumb data prepare' makes token files from text)" : "");
  }
  const DescriptorGuard guard{descriptor};
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    fail_input("cannot read token file {}: {}", path_.string(), std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) fail_input("token file {} is not a regular file", path_.string());
  if (status.st_size == 0) fail_input("token file {} is empty", path_.string());
  bytes_ = static_cast<std::size_t>(status.st_size);
  void* mapping = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (mapping == MAP_FAILED) fail("cannot map token file {}: {}", path_.string(), std::strerror(errno));
  data_ = mapping;
  try {
    find_tokens();
  } catch (...) {
    ::munmap(data_, bytes_);  // the destructor of a half-made object does not run
    throw;
  }
}

void TokenFile::find_tokens() {
  Header header{};
  std::memcpy(header.data(), data_, std::min(bytes_, sizeof(Header)));
  if (bytes_ >= sizeof(std::int32_t) && header[0] == kMagicOf32BitTokens) {
    fail_input("token file {} holds llm.c's 32-bit tokens (magic {}); Plumb reads 16-bit tokens",
               path_.string(), header[0]);
  }
  has_header_ = bytes_ >= sizeof(std::int32_t) && header[0] == kMagic;
  if (has_header_) {
    if (bytes_ < sizeof(Header)) {
      fail_input("token file {} is corrupted or truncated: {} bytes, but its header alone has {}",
                 path_.string(), bytes_, sizeof(Header));
    }
    if (header[1] != kVersion) {
      fail_input("token file {} has version {} of llm.c's header; Plumb reads version {}", path_.string(),
                 header[1], kVersion);
    }
    const std::int64_t expected = static_cast<std::int64_t>(sizeof(Header)) + 2 * std::int64_t{header[2]};
    if (header[2] < 0 || expected != static_cast<std::int64_t>(bytes_)) {
      fail_input(
          "token file {} is corrupted or truncated: its header promises {} tokens ({} bytes), it has {} "
          "bytes",
          path_.string(), header[2], expected, bytes_);
    }
    if (header[2] == 0) fail_input("token file {} is empty (a header and no tokens)", path_.string());
  } else if (bytes_ % sizeof(std::uint16_t) != 0) {
    fail_input("token file {} is corrupted or truncated: {} bytes is no whole number of 16-bit tokens",
               path_.string(), bytes_);
  }
  const std::size_t skipped = has_header_ ? sizeof(Header) : 0;
  tokens_ = {reinterpret_cast<const std::uint16_t*>(static_cast<const std::byte*>(data_) + skipped),
             (bytes_ - skipped) / sizeof(std::uint16_t)};
}

TokenFile::~TokenFile() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

TokenFile::TokenFile(TokenFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      tokens_(std::exchange(other.tokens_, {})),
      has_header_(other.has_header_) {}

TokenFile& TokenFile::operator=(TokenFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(tokens_, other.tokens_);
  std::swap(has_header_, other.has_header_);
  return *this;
}

std::uint16_t TokenFile::max_token() const { return *std::max_element(tokens_.begin(), tokens_.end()); }

void TokenFile::check_vocabulary(int vocabulary) const {
  const auto bad =
      std::find_if(tokens_.begin(), tokens_.end(), [&](auto token) { return token >= vocabulary; });
  if (bad != tokens_.end()) {
    fail_input("token file {} holds token {} at position {}, but the vocabulary has {} tokens (0 to {})",
               path_.string(), *bad, bad - tokens_.begin(), vocabulary, vocabulary - 1);
  }
}

std::uint64_t TokenFile::hash() const { return hash_bytes(data_, bytes_); }

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
