// Text files to token files: what `plumb data prepare` does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/token_file.h"

namespace plumb {

struct PrepareOptions {
  std::vector<std::filesystem::path> inputs;  ///< text files, joined in this order with nothing in between
  std::filesystem::path output_folder;        ///< made when it does not exist
  std::string tokenizer = "byte";
  double validation_fraction = 0.05;  ///< of the tokens, the last ones; above 0 and below 1
  TokenLayout layout = TokenLayout::Raw;
};

/// A file of a prepared data set.
struct DataFile {
  std::string name;  ///< as given for a source, the file's name for a split
  std::uint64_t bytes = 0;
  std::uint64_t tokens = 0;
  std::string xxh3;  ///< of the whole file, 16 hexadecimal digits
};

/// What description.json says.
struct PreparedData {
  std::string tokenizer;
  int vocabulary = 0;
  TokenLayout layout = TokenLayout::Raw;
  double validation_fraction = 0;
  DataFile train, validation;
  std::vector<DataFile> sources;
};

/// Writes train.bin, validation.bin (floor(tokens * validation_fraction) tokens) and, last, description.json
/// into the output folder, each whole or not at all. Throws InputError: no inputs, an input that is missing,
/// empty, not a file or unreadable, a fraction outside (0, 1) or one that leaves a split fewer than 2 tokens,
/// an unknown tokenizer, an output folder that cannot be written.
PreparedData prepare_text(const PrepareOptions& options);

/// Reads the description.json beside a token file, if there is one (other programs' token files have none).
/// Throws InputError when it cannot be understood.
std::optional<PreparedData> find_description(const std::filesystem::path& token_file);

}  // namespace plumb
