#include "data/prepare.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <system_error>

#include "core/error.h"
#include "core/file.h"
#include "core/hash.h"
#include "data/tokenizer.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;
using json = nlohmann::ordered_json;  // keys stay in the order of writing

constexpr char kDescriptionName[] = "description.json";

std::string read_text(const fs::path& path) {
  std::string text = read_whole_file(path);
  if (text.empty()) fail_input("text file {} is empty", path.string());
  return text;
}

DataFile write_split(const fs::path& path, std::span<const std::uint16_t> tokens, TokenLayout layout) {
  write_token_file(path, tokens, layout);
  const TokenFile file(path);  // what is described is what a reader will find
  return {path.filename().string(), file.bytes(), file.tokens().size(), hash_to_string(file.hash())};
}

json to_json(const DataFile& file) {
  return {{"name", file.name}, {"bytes", file.bytes}, {"tokens", file.tokens}, {"xxh3", file.xxh3}};
}

DataFile data_file(const json& object) {
  return {object.at("name"), object.at("bytes"), object.at("tokens"), object.at("xxh3")};
}

void write_description(const fs::path& path, const PreparedData& data) {
  json object;
  object["tokenizer"] = data.tokenizer;
  object["vocabulary"] = data.vocabulary;
  object["layout"] = name_of(data.layout);
  object["validation_fraction"] = data.validation_fraction;
  object["train"] = to_json(data.train);
  object["validation"] = to_json(data.validation);
  object["sources"] = json::array();
  for (const DataFile& source : data.sources) object["sources"].push_back(to_json(source));
  // A file name may be any bytes; JSON wants UTF-8.
  const std::string text = object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  write_whole_file(path, {std::as_bytes(std::span(text))});
}
}  // namespace

PreparedData prepare_text(const PrepareOptions& options) {
  if (options.inputs.empty()) fail_input("no text files given to prepare");
  if (!(options.validation_fraction > 0 && options.validation_fraction < 1)) {
    fail_input("validation fraction {} is not above 0 and below 1", options.validation_fraction);
  }
  const auto tokenizer = make_tokenizer(options.tokenizer);
  PreparedData data;
  data.tokenizer = tokenizer->name();
  data.vocabulary = tokenizer->vocabulary_size();
  data.layout = options.layout;
  data.validation_fraction = options.validation_fraction;

  std::vector<std::uint16_t> tokens;
  for (const fs::path& path : options.inputs) {
    const std::string text = read_text(path);
    const auto encoded = tokenizer->encode(text);
    tokens.insert(tokens.end(), encoded.begin(), encoded.end());
    data.sources.push_back({path.string(), text.size(), encoded.size(), hash_to_string(hash_text(text))});
  }

  const auto held_out =
      static_cast<std::size_t>(std::floor(static_cast<double>(tokens.size()) * options.validation_fraction));
  const std::size_t trained = tokens.size() - held_out;
  if (held_out < 2 || trained < 2) {
    fail_input(
        "{} tokens at validation fraction {} leave {} for training and {} for validation; each needs at "
        "least 2",
        tokens.size(), options.validation_fraction, trained, held_out);
  }

  create_folders(options.output_folder);
  // A description never stands beside splits of another preparation.
  const fs::path description = options.output_folder / kDescriptionName;
  std::error_code error;
  fs::remove(description, error);
  if (error) fail_input("cannot remove {}: {}", description.string(), error.message());
  const std::span<const std::uint16_t> all(tokens);
  data.train = write_split(options.output_folder / "train.bin", all.first(trained), options.layout);
  data.validation =
      write_split(options.output_folder / "validation.bin", all.subspan(trained), options.layout);
  write_description(description, data);
  return data;
}

std::optional<PreparedData> find_description(const fs::path& token_file) {
  const fs::path path = token_file.parent_path() / kDescriptionName;
  std::ifstream stream(path);
  if (!stream) return std::nullopt;
  try {
    const json object = json::parse(stream);
    PreparedData data{.tokenizer = object.at("tokenizer"),
                      .vocabulary = object.at("vocabulary"),
                      .layout = token_layout(object.at("layout").get<std::string>()),
                      .validation_fraction = object.at("validation_fraction"),
                      .train = data_file(object.at("train")),
                      .validation = data_file(object.at("validation")),
                      .sources = {}};
    for (const json& source : object.at("sources")) data.sources.push_back(data_file(source));
    return data;
  } catch (const json::exception& error) {
    fail_input("cannot understand {}: {}", path.string(), error.what());
  }
}

}  // namespace plumb
