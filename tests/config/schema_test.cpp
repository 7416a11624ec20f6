// The schema against the structs: no member without a key, no two keys for one member.
#include "config/schema.h"

#include <gtest/gtest.h>

#include <set>

#include "config/dump.h"
#include "config/fixture.h"

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
       {"in", "out", "post", "qk", "v", "pre_projection", "ffn_inner", "embedding", "final"}) {
    EXPECT_EQ(keys_in(std::string("model.norm.") + slot), member_count<NormConfig>()) << slot;
  }
  // tie_to_branch is a's alone, stop_gradient p's alone.
  for (const char* knob : {"a", "p"}) {
    EXPECT_EQ(keys_in(std::string("model.residual.") + knob), member_count<KnobConfig>() - 1) << knob;
  }
  for (const char* knob : {"b", "c", "e"}) {
    EXPECT_EQ(keys_in(std::string("model.residual.") + knob), member_count<KnobConfig>() - 2) << knob;
  }
  // ModelConfig: two norms, base, init and overrides have tables of their own; SublayerConfig: norm and
  // residual.
  EXPECT_EQ(keys_in("model") + keys_in("model.dropout"),
            member_count<ModelConfig>() - 5 + member_count<SublayerConfig>() - 2);
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

/// Changes that a key's own change does not go without.
std::vector<std::string> neighbours(const Field& field) {
  const std::size_t point = field.key.rfind('.');
  const std::string name = field.key.substr(point == std::string::npos ? 0 : point + 1);
  const std::string table = field.key.substr(0, field.key.size() - name.size());
  std::vector<std::string> changes;
  for (const Condition& condition : field.read_when) {
    const std::string value = condition.values.empty() ? "2" : condition.values.front();
    changes.push_back(condition.key + "=" + (condition.key == "model.block" ? "['" + value + "']" : value));
  }
  if (name == "time" || name == "time_start") changes.push_back(table + "ramp_steps=4");
  if (name == "list") changes.insert(changes.end(), {"model.blocks=1", "model.block=['ffn']"});
  if (name == "keep_depth") changes.push_back(table + "keep_probability=0.5");
  if (field.key == "data.validation") changes.push_back("data.train=a.bin");
  if (field.key == "model.width") changes.push_back("model.heads=1");
  if (field.key == "model.vocabulary") changes.push_back("data.synthetic_vocabulary=2");
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
