#include "plan/fabric.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "core/error.h"

namespace plumb {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kVersion = 2;
constexpr const char* kRemedy = "`plumb doctor --bandwidth --output FILE` writes such a file";

/// An object of the file, whose keys are all asked for once.
class StrictObject {
 public:
  StrictObject(const Json& json, std::string file, std::string prefix)
      : json_(json), file_(std::move(file)), prefix_(std::move(prefix)) {
    if (!json.is_object())
      fail_input("{}: {} is not an object; {}", file_, prefix_.empty() ? "the file" : prefix_, kRemedy);
  }

  const Json& at(const std::string& key) {
    known_.push_back(key);
    const auto found = json_.find(key);
    if (found == json_.end()) fail_input("{}: key '{}{}' is missing; {}", file_, path(), key, kRemedy);
    return *found;
  }
  double number(const std::string& key, double least, double most) {
    const Json& value = at(key);
    if (!value.is_number()) fail_input("{}: {}{} must be a number", file_, path(), key);
    const auto number = value.get<double>();
    if (!(number >= least && number <= most))
      fail_input("{}: {}{} = {} must lie between {} and {}", file_, path(), key, number, least, most);
    return number;
  }
  int whole(const std::string& key, int least) {
    const Json& value = at(key);
    if (!value.is_number_integer() || value.get<std::int64_t>() < least ||
        value.get<std::int64_t>() > 1'000'000)
      fail_input("{}: {}{} must be a whole number from {} on", file_, path(), key, least);
    return value.get<int>();
  }
  std::string text(const std::string& key, const std::vector<std::string>& allowed) {
    const Json& value = at(key);
    for (const std::string& word : allowed)
      if (value == word) return word;
    fail_input("{}: {}{} = {} must be one of {}", file_, path(), key, value.dump(), fmt::join(allowed, ", "));
  }
  /// Call when all keys have been asked for.
  void refuse_others() const {
    for (const auto& [key, value] : json_.items()) {
      if (std::find(known_.begin(), known_.end(), key) == known_.end())
        fail_input("{}: unknown key '{}{}'; known: {}", file_, path(), key, fmt::join(known_, ", "));
    }
  }
  std::string path() const { return prefix_.empty() ? "" : prefix_ + "."; }

 private:
  const Json& json_;
  std::string file_, prefix_;
  std::vector<std::string> known_;
};

Json json_of(const LinkSpeed& speed) {
  return {{"latency_seconds", speed.latency},
          {"seconds_per_byte", speed.seconds_per_byte},
          {"hidden", speed.hidden},
          {"seconds_per_poll", speed.per_poll},
          {"worst_residual", speed.worst_residual}};
}

Json json_of(const std::optional<Link>& link) {
  if (!link) return nullptr;
  Json json = Json::object();
  for (const LinkWay& way : kLinkWays) json[std::string(way.name)] = json_of((*link).*way.speed);
  return json;
}

LinkSpeed parsed_speed(const Json& json, const std::string& file, const std::string& name) {
  StrictObject object(json, file, name);
  LinkSpeed speed{.latency = object.number("latency_seconds", 0, 10),
                  .seconds_per_byte = object.number("seconds_per_byte", 0, 1),
                  .hidden = object.number("hidden", 0, 1),
                  .per_poll = object.number("seconds_per_poll", 1e-9, LinkSpeed::kNeedsNoPolls),
                  .worst_residual = object.number("worst_residual", 0, 1e9)};
  object.refuse_others();
  return speed;
}

std::optional<Link> link_of(const Json& json, const std::string& file, const std::string& name) {
  if (json.is_null()) return std::nullopt;
  StrictObject object(json, file, name);
  Link link;
  for (const LinkWay& way : kLinkWays) {
    const std::string key(way.name);
    link.*way.speed = parsed_speed(object.at(key), file, name + "." + key);
  }
  object.refuse_others();
  return link;
}

Json parsed(const std::string& file, const std::string& text) {
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    fail_input("{}: is not JSON (at byte {}); {}", file, error.byte, kRemedy);
  }
}

}  // namespace

std::string fabric_json(const Fabric& fabric) {
  const Json json = {{"plumb_fabric", kVersion},
                     {"library", fabric.library == CollectiveLibrary::Mpi ? "mpi" : "nccl"},
                     {"ranks", fabric.ranks},
                     {"hosts", fabric.hosts},
                     {"inside", json_of(fabric.inside)},
                     {"between", json_of(fabric.between)},
                     {"flops_per_second", fabric.flops_per_second}};
  return json.dump(2) + "\n";
}

std::string fabric_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) fail_input("{}: cannot be read; {}", path.string(), kRemedy);
  return text.str();
}

Fabric parse_fabric(const std::string& file, const std::string& text) {
  const Json json = parsed(file, text);
  StrictObject object(json, file, "");
  if (object.whole("plumb_fabric", 1) != kVersion)
    fail_input("{}: plumb_fabric must be {}: another version of Plumb wrote it; measure again", file,
               kVersion);
  Fabric fabric;
  fabric.library =
      object.text("library", {"mpi", "nccl"}) == "mpi" ? CollectiveLibrary::Mpi : CollectiveLibrary::Nccl;
  fabric.ranks = object.whole("ranks", 1);
  fabric.hosts = object.whole("hosts", 1);
  fabric.inside = link_of(object.at("inside"), file, "inside");
  fabric.between = link_of(object.at("between"), file, "between");
  fabric.flops_per_second = object.number("flops_per_second", 1, 1e18);
  object.refuse_others();
  if (fabric.ranks % fabric.hosts != 0)
    fail_input("{}: {} ranks cannot be spread evenly over {} hosts", file, fabric.ranks, fabric.hosts);
  return fabric;
}

}  // namespace plumb
