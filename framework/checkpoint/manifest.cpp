#include "checkpoint/manifest.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/hash.h"

namespace plumb {
namespace {
using Json = nlohmann::ordered_json;

constexpr const char* kManifestHash = "manifest_hash";

/// Hash of everything but the hash itself.
std::string hash_of(Json json) {
  json.erase(kManifestHash);
  return hash_to_string(hash_text(json.dump()));
}
}  // namespace

std::string manifest_to_json(const CheckpointManifest& manifest) {
  Json files = Json::array();
  for (const CheckpointFile& file : manifest.files) {
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh3", hash_to_string(file.hash)}});
  }
  Json json = {{"format", manifest.format},
               {"plumb_version", manifest.plumb_version},
               {"step", manifest.step},
               {"data_cursor", manifest.data_cursor},
               {"seed", manifest.seed},
               {"world", manifest.world},
               {"files", files},
               {"extra", manifest.extra},
               {"config_hash", manifest.config_hash},
               {"config_text", manifest.config_text}};
  json[kManifestHash] = hash_of(json);
  return json.dump(2) + "\n";
}

CheckpointManifest manifest_from_json(const std::string& text, const std::filesystem::path& file) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    fail_input("{}: not a JSON object; the file is truncated or damaged", file.string());
  }
  CheckpointManifest manifest;
  try {
    manifest.format = json.at("format").get<int>();
    if (manifest.format != CheckpointManifest::kFormat) {
      fail_input("{}: checkpoint format {}; this program reads format {}", file.string(), manifest.format,
                 CheckpointManifest::kFormat);
    }
    const std::string expected = json.at(kManifestHash).get<std::string>();
    const std::string actual = hash_of(json);
    if (actual != expected) {
      fail_input("{}: its content has hash {}, it says {}; the file is damaged", file.string(), actual,
                 expected);
    }
    json.at("plumb_version").get_to(manifest.plumb_version);
    json.at("step").get_to(manifest.step);
    json.at("data_cursor").get_to(manifest.data_cursor);
    json.at("seed").get_to(manifest.seed);
    json.at("world").get_to(manifest.world);
    json.at("extra").get_to(manifest.extra);
    json.at("config_hash").get_to(manifest.config_hash);
    json.at("config_text").get_to(manifest.config_text);
    for (const Json& entry : json.at("files")) {
      const auto hash = entry.at("xxh3").get<std::string>();
      manifest.files.push_back({entry.at("name").get<std::string>(), entry.at("bytes").get<std::uint64_t>(),
                                std::stoull(hash, nullptr, 16)});
    }
  } catch (const nlohmann::json::exception& error) {
    fail_input("{}: {}", file.string(), error.what());
  } catch (const std::logic_error&) {  // stoull
    fail_input("{}: a file's xxh3 is not hexadecimal", file.string());
  }
  return manifest;
}

}  // namespace plumb
