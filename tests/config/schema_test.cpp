// The schema against the structs: no member without a key, no two keys for one member.
#include "config/schema.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "config/dump.h"
#include "config/fixture.h"
#include "core/error.h"

namespace plumb {
namespace {

struct AnyValue {
  template <class T>
  operator T() const;
};

/// Number of members of an aggregate: the largest number of initialisers it takes.
template <class Struct, class... Values>
constexpr std::size_t member_count() {
  if constexpr (requires { Struct{Values{}..., AnyValue{}}; }) {
    return member_count<Struct, Values..., AnyValue>();
  } else {
    return sizeof...(Values);
  }
}

std::size_t keys_in(const std::string& table) {
  std::size_t count = 0;
  for (const Field& field : config_fields()) {
    const std::size_t point = field.key.rfind('.');
    count += point != std::string::npos && field.key.substr(0, point) == table ? 1 : 0;
  }
  return count;
}

TEST(ConfigSchema, EveryMemberHasAKey) {
  EXPECT_EQ(keys_in("run"), member_count<RunConfig>());
  EXPECT_EQ(keys_in("compute"), member_count<ComputeConfig>());
  EXPECT_EQ(keys_in("training"), member_count<TrainingConfig>());
  EXPECT_EQ(keys_in("optimizer"), member_count<OptimizerConfig>());
  EXPECT_EQ(keys_in("learning_rate"), member_count<LearningRateConfig>());
  EXPECT_EQ(keys_in("communication"), member_count<CommunicationConfig>());
  EXPECT_EQ(keys_in("data"), member_count<DataConfig>());
  EXPECT_EQ(keys_in("validation"), member_count<ValidationConfig>());
  EXPECT_EQ(keys_in("log"), member_count<LogConfig>());
  EXPECT_EQ(keys_in("checkpoint"), member_count<CheckpointConfig>());
  EXPECT_EQ(keys_in("model.init"), member_count<InitConfig>());
  for (const char* slot :
       {"in", "out", "post", "qk", "v", "pre_projection", "ffn_inner", "embedding", "final", "stream"}) {
    EXPECT_EQ(keys_in(std::string("model.norm.") + slot), member_count<NormConfig>()) << slot;
  }
  // tie_to_branch is a's alone, stop_gradient p's alone.
  for (const char* knob : {"a", "p"}) {
    EXPECT_EQ(keys_in(std::string("model.residual.") + knob), member_count<KnobConfig>() - 1) << knob;
  }
  for (const char* knob : {"b", "c", "e"}) {
    EXPECT_EQ(keys_in(std::string("model.residual.") + knob), member_count<KnobConfig>() - 2) << knob;
  }
  // Factors inside a branch have the schedules alone: no sharing, transform, draws, tie and stop. That of the
  // logits has no depth: neither its six keys nor time_counts.
  for (const char* gain : {"qk", "value", "first_value", "ffn"}) {
    EXPECT_EQ(keys_in(std::string("model.gain.") + gain), member_count<KnobConfig>() - 6) << gain;
  }
  EXPECT_EQ(keys_in("model.gain.logits"), member_count<KnobConfig>() - 6 - 7);
  EXPECT_EQ(keys_in("model.streams"), member_count<StreamsConfig>());
  // ModelConfig: three norms, the gain of the logits, streams, base, init and overrides have tables of their
  // own; SublayerConfig: norm, residual and gain.
  EXPECT_EQ(keys_in("model") + keys_in("model.dropout"),
            member_count<ModelConfig>() - 8 + member_count<SublayerConfig>() - 3);
}

TEST(ConfigSchema, NoTwoKeysShareAMember) {
  Config config;
  std::set<const void*> members;
  for (const Field& field : config_fields()) {
    const void* member =
        std::visit([](auto* pointer) -> const void* { return pointer; }, field.member(config));
    EXPECT_TRUE(members.insert(member).second) << field.key;
  }
}

/// Another valid value of the key, as --set takes it.
std::string another_value(const Field& field) {
  const std::string now = toml_text(field_default(field));
  const std::string type = type_text(field);
  if (type == "true or false") return now == "true" ? "false" : "true";
  if (type == "a list of numbers") return "[0.5]";
  if (type == "a list of strings") return "[\"" + field.allowed.names.back() + "\"]";
  if (type == "a string") {
    if (field.key == "model.placement") return "none";
    for (const std::string& name : field.allowed.names) {
      if ("\"" + name + "\"" != now) return name;
    }
    return "something";
  }
  for (const char* value : {"2", "3"}) {
    if (value != now && field.allowed.high >= 2) return value;
  }
  return "0.625";
}

/// The line of a key in a dump, without the comment.
std::string line_of(const std::string& dump, const std::string& key) {
  const std::size_t point = key.rfind('.');
  const std::string table = point == std::string::npos ? "" : "\n[" + key.substr(0, point) + "]\n";
  const std::size_t table_start = dump.find(table);
  const std::string name = "\n" + key.substr(point == std::string::npos ? 0 : point + 1) + " = ";
  const std::size_t start = dump.find(name, table.empty() ? 0 : table_start + table.size() - 1);
  return dump.substr(start + 1, dump.find("  # ", start) - start - 1);
}

TEST(ConfigSchema, EveryKeyIsSetByNameAndShowsInTheDump) {
  for (const Field& field : config_fields()) {
    if (field.allowed.names.size() == 1) continue;
    // Loading may refuse the single change for what it conflicts with; the schema is what is tested here.
    LoadedConfig loaded, unchanged;
    const std::string value = another_value(field);
    TomlValue parsed = parse_toml_value(value).value_or(TomlValue{value, 0});
    assign(field, field.member(loaded.config), parsed, "here");
    const std::string before = line_of(dump_config(unchanged), field.key);
    const std::string after = line_of(dump_config(loaded), field.key);
    EXPECT_NE(before, after) << field.key;
    EXPECT_EQ(before.substr(0, before.find(" = ")), after.substr(0, after.find(" = ")));
    EXPECT_NE(settings_text(loaded.config), settings_text(unchanged.config)) << field.key;
  }
}

/// A value under which the condition holds, as --set takes it.
std::string value_that_meets(const Condition& condition) {
  const Field& field = *find_field(condition.key);
  const std::string value = condition.values.empty() ? another_value(field) : condition.values.front();
  return condition.key == "model.block" ? "['" + value + "']" : value;
}

/// Changes that the change of a whole key does not go without.
std::vector<std::string> neighbours_of(const std::string& key) {
  static const std::map<std::string, std::vector<std::string>> changes = {
      {"data.validation", {"data.train=a.bin"}},
      {"model.width", {"model.heads=1"}},
      {"model.vocabulary", {"data.synthetic_vocabulary=2"}},
      {"model.sphere_weights", {"optimizer.weight_decay=0"}},
      {"model.init.profile", {"model.residual.a.trainable=scalar"}},
      {"spikes.roll_back_limit", {"spikes.action=roll_back", "checkpoint.every=1"}},
      {"optimizer.scaling", {"model.residual.b.depth=depth-mup"}},
      {"optimizer.scaling_base_width", {"optimizer.scaling=completep", "model.residual.b.depth=completep"}},
  };
  const auto found = changes.find(key);
  return found == changes.end() ? std::vector<std::string>{} : found->second;
}

/// Changes that a key's own change does not go without.
std::vector<std::string> neighbours(const Field& field) {
  const std::size_t point = field.key.rfind('.');
  const std::string name = field.key.substr(point == std::string::npos ? 0 : point + 1);
  const std::string table = field.key.substr(0, field.key.size() - name.size());
  std::vector<std::string> changes = neighbours_of(field.key);
  for (const Condition& condition : field.read_when) {
    changes.push_back(condition.key + "=" + value_that_meets(condition));
  }
  if (name == "time" || name == "time_start" || name == "time_counts") {
    changes.push_back(table + "ramp_steps=4");
  }
  if (name == "list") {
    const std::string kind = field.acts_in.empty() ? "ffn" : field.acts_in;
    changes.insert(changes.end(), {"model.blocks=1", "model.block=['" + kind + "']"});
  }
  if (name == "keep_depth") changes.push_back(table + "keep_probability=0.5");
  // From 0 on neither can be trained.
  if (name == "storage" || name == "transform") changes.push_back(table + "value=0.5");
  if (table == "model.norm.stream.") changes.push_back("model.streams.kind=residual");
  return changes;
}

TEST(ConfigSchema, EveryKeyIsLoadedThroughSet) {
  for (const Field& field : config_fields()) {
    if (field.allowed.names.size() == 1) continue;
    std::vector<std::string> changes = neighbours(field);
    changes.push_back(field.key + "=" + another_value(field));
    std::string text = minimal();
    if (field.key == "training.tokens_per_step") {
      text = "data.kind = 'markov'\nmodel.sequence_length = 2\n";
    } else if (field.key == "data.kind") {
      text += "data.train = 'a.bin'\n";
      changes = {"data.kind=tokens"};
    }
    try {
      const LoadedConfig loaded = load_text(text, changes);
      EXPECT_EQ(loaded.origin(field.key), "--set") << field.key;
      if (field.key != "data.kind") {
        EXPECT_NE(toml_text(field_value(field, loaded.config)), toml_text(field_default(field))) << field.key;
      }
      EXPECT_NE(dump_config(loaded), dump_config(load_text(minimal()))) << field.key;
    } catch (const InputError& error) {
      ADD_FAILURE() << field.key << ": " << error.what();
    }
  }
}

TEST(ConfigSchema, OverridesReachTheSublayerMember) {
  for (const Field& field : config_fields()) {
    if (!field.sublayer_member) continue;
    Config config;
    // The member through the sublayer is the member through the configuration.
    EXPECT_EQ(field.sublayer_member(config.model.base), field.member(config)) << field.key;
  }
}

}  // namespace
}  // namespace plumb
