#include "nn/description/placement_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "nn/description/placement_equations.h"
#include "nn/transformer.h"

namespace plumb {
namespace {

/// Of the head and of the embedding, where neither the configuration nor data says: that of bytes.
constexpr std::int64_t kVocabulary = 256;

std::vector<std::string> matrices_of(const std::string& name, std::size_t parts) {
  if (parts == 3 && name.ends_with("qkv.weight")) return {"W_Q", "W_K", "W_V"};
  return std::vector<std::string>(parts);
}

/// The mixing weights of n streams: read_i, write_i, mix_i1 ... mix_in for every i.
std::vector<TensorPart> mixing_parts(const std::vector<InitRule>& rules) {
  std::vector<TensorPart> parts = {{"read", {}, {}}, {"write", {}, {}}, {"mix", {}, {}}};
  std::size_t streams = 1;
  while (streams * (streams + 2) < rules.size()) ++streams;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    parts[std::min<std::size_t>(i % (streams + 2), 2)].values.push_back(rules[i].value);
  }
  return parts;
}

/// Successive parts that start alike are one.
std::vector<TensorPart> parts_of(const Parameter& parameter) {
  if (parameter.init_parts.empty()) return {{"", parameter.init, {}}};
  if (parameter.name.ends_with("streams.base")) return mixing_parts(parameter.init_parts);
  const std::vector<std::string> names = matrices_of(parameter.name, parameter.init_parts.size());
  std::vector<TensorPart> parts;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const InitRule& rule = parameter.init_parts[i];
    if (!parts.empty() && parts.back().init == rule) {
      parts.back().matrix += ", " + names[i];
    } else {
      parts.push_back({names[i], rule, {}});
    }
  }
  if (parts.size() == 1) parts.front().matrix.clear();
  return parts;
}

TensorDescription describe(const Parameter& parameter) {
  TensorDescription tensor{.name = parameter.name,
                           .shape = parameter.shape,
                           .parts = parts_of(parameter),
                           .twin = parameter.correlation != 0 ? parameter.twin : "",
                           .correlation = parameter.correlation,
                           .sphere = parameter.sphere,
                           .trainable = parameter.trainable,
                           .weight_decay = parameter.weight_decay};
  const std::string prefix = "blocks.";
  if (!parameter.name.starts_with(prefix)) return tensor;
  const std::size_t point = parameter.name.find('.', prefix.size());
  const std::int64_t block = std::stoll(parameter.name.substr(prefix.size(), point - prefix.size()));
  tensor.blocks = {{block, block}};
  tensor.name = prefix + "*" + parameter.name.substr(point);
  return tensor;
}

bool starts_alike(const TensorDescription& x, const TensorDescription& y) {
  return x.shape == y.shape && x.parts == y.parts && x.twin == y.twin && x.trainable == y.trainable &&
         x.weight_decay == y.weight_decay;
}

}  // namespace

std::vector<TensorDescription> describe_tensors(const Config& config) {
  ParameterStore store;
  const ModelConfig& model = config.model;
  const Transformer transformer(model, model.vocabulary > 0 ? model.vocabulary : kVocabulary,
                                {.batch = 1, .tokens = model.sequence_length}, store);
  // A list per name, so that the blocks of a tensor stand together, in the order of first declaration.
  std::vector<std::vector<TensorDescription>> lists;
  std::map<std::string, std::size_t> index;
  for (const Parameter& parameter : store.all()) {
    TensorDescription tensor = describe(parameter);
    const auto [found, is_new] = index.emplace(tensor.name, lists.size());
    if (is_new) lists.emplace_back();
    std::vector<TensorDescription>& list = lists[found->second];
    const auto alike = std::find_if(list.begin(), list.end(), [&](const TensorDescription& other) {
      return starts_alike(other, tensor);
    });
    if (alike == list.end()) {
      list.push_back(std::move(tensor));
    } else {
      append_block(alike->blocks, tensor.blocks.front().first);
    }
  }
  std::vector<TensorDescription> all;
  for (std::vector<TensorDescription>& list : lists) {
    all.insert(all.end(), list.begin(), list.end());
  }
  return all;
}

namespace {

/// "1 0 0 0"; of a square matrix that is one number on its diagonal and another off it, those two.
std::string values_text(const TensorPart& part) {
  const std::vector<double>& values = part.values;
  std::size_t side = 1;
  while (side * side < values.size()) ++side;
  if (part.matrix == "mix" && values.size() > 1) {
    const bool is_plain = [&] {
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] != values[i % (side + 1) == 0 ? 0 : 1]) return false;
      }
      return true;
    }();
    if (is_plain) {
      return fmt::format("{} on the diagonal, {} off it", short_number(values[0]), short_number(values[1]));
    }
  }
  std::vector<std::string> numbers;
  for (double value : values) numbers.push_back(short_number(value));
  return fmt::format("{}", fmt::join(numbers, " "));
}

}  // namespace

std::string text_of(const TensorDescription& tensor) {
  std::vector<std::string> parts;
  for (const TensorPart& part : tensor.parts) {
    parts.push_back(fmt::format("{}{}{}", part.matrix, part.matrix.empty() ? "" : ": ",
                                part.values.empty() ? text_of(part.init) : values_text(part)));
  }
  std::string text = fmt::format("{}", fmt::join(parts, "; "));
  if (tensor.sphere == Sphere::Rows) text += ", then rows to unit length";
  if (tensor.sphere == Sphere::Columns) text += ", then columns to unit length";
  if (!tensor.twin.empty()) {
    text += fmt::format(", correlation {} with {}", short_number(tensor.correlation), tensor.twin);
  }
  return text + (tensor.trainable ? "" : ", not trained");
}

std::string text_of(const InitRule& rule) {
  switch (rule.kind) {
    case InitRule::Kind::Constant:
      return short_number(rule.value);
    case InitRule::Kind::Normal:
      return "normal, sd " + short_number(rule.value);
    case InitRule::Kind::Uniform:
      break;
  }
  return fmt::format("uniform within {}, sd {}", short_number(rule.value),
                     short_number(rule.standard_deviation()));
}

}  // namespace plumb
