#include "nn/description/placement_equations.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "core/error.h"
#include "nn/knob.h"
#include "nn/rows.h"

namespace plumb {
namespace {

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

bool is_letter(char character) { return std::isalpha(static_cast<unsigned char>(character)) != 0; }

/// Where a letter stands by itself from a place on; npos if nowhere.
std::size_t find_symbol(const std::string& text, char symbol, std::size_t from = 0) {
  for (std::size_t i = text.find(symbol, from); i != std::string::npos; i = text.find(symbol, i + 1)) {
    const bool alone =
        (i == 0 || !is_letter(text[i - 1])) && (i + 1 == text.size() || !is_letter(text[i + 1]));
    if (alone) return i;
  }
  return std::string::npos;
}

bool has_symbol(const std::string& text, char symbol) {
  return find_symbol(text, symbol) != std::string::npos;
}

void replace_symbol(std::string& text, char symbol, char other) {
  for (std::size_t i = find_symbol(text, symbol); i != std::string::npos;
       i = find_symbol(text, symbol, i + 1)) {
    text[i] = other;
  }
}

/// The formula of the schedule over depth with the knob's own numbers in it.
std::string depth_text(const KnobConfig& knob) {
  std::string text(row_named(depth_schedules(), knob.depth, "schedule").formula);
  const std::size_t remark = text.find(", exponent");
  if (remark != std::string::npos) text.erase(remark);
  replace_all(text, "exponent", short_number(knob.depth_exponent));
  replace_all(text, "base", short_number(knob.depth_base));
  replace_all(text, "end", short_number(knob.depth_end));
  replace_all(text, "(L / 1)", "L");
  replace_all(text, "1 / ", "1/");
  if (text == "L^1") text = "L";
  // L and l are blocks to the reader; sublayers are K and k.
  if (!counts_blocks(knob)) {
    replace_symbol(text, 'L', 'K');
    replace_symbol(text, 'l', 'k');
  }
  return text;
}

bool is_zero_power(const KnobConfig& knob) {
  return (knob.depth == "power" || knob.depth == "completep") && knob.depth_exponent == 0;
}

bool has_depth(const KnobConfig& knob) { return knob.depth != "constant" && !is_zero_power(knob); }

/// ", l = 1..24 the sublayer", or ", L = 24 sublayers", or nothing.
std::string unit_text(const KnobConfig& knob, const DepthPosition& position) {
  if (!has_depth(knob)) return "";
  const std::string text = depth_text(knob);
  if (has_symbol(text, 'l')) return fmt::format(", l = 1..{} the block", position.blocks);
  if (has_symbol(text, 'k')) return fmt::format(", k = 1..{} the sublayer", position.sublayers);
  if (has_symbol(text, 'L')) return fmt::format(", L = {} blocks", position.blocks);
  if (has_symbol(text, 'K')) return fmt::format(", K = {} sublayers", position.sublayers);
  return "";
}

/// "L^0.25 = 2.2134", or "0.05" alone, or "1/sqrt(l)" alone.
std::string rule_and_value(const CoefficientDescription& coefficient) {
  const std::string rule = knob_rule(coefficient.knob), value = short_number(coefficient.value);
  if (coefficient.varies_over_depth || rule == value) return rule;
  return fmt::format("{} = {}", rule, value);
}

std::string training_text(const CoefficientDescription& coefficient) {
  const KnobConfig& knob = coefficient.knob;
  const std::string number = knob.trainable == "vector" ? "vector" : "number";
  const std::string shared = knob.per_block ? ", one for the sublayers of a block" : "";
  if (knob.transform == "gpas") {
    const std::string factor = knob_rule(knob) == "1" ? "" : rule_and_value(coefficient) + ", times ";
    return fmt::format("{}1 - SiLU(g), g a trained {} from 0 on{}", factor, number, shared);
  }
  const std::string absolute = knob.transform == "absolute" ? "|.| of " : "";
  const std::string unit = knob.storage == "unit" ? "1" : knob.storage;
  const std::string stored = knob.storage == "value" ? "" : fmt::format(" (stored from {} on)", unit);
  return fmt::format("{}a trained {} from {} on{}{}", absolute, number, rule_and_value(coefficient), stored,
                     shared);
}

/// " times min(t / T, 1) over time, T = 300" and what is random.
std::string further_factors(const CoefficientDescription& coefficient) {
  const KnobConfig& knob = coefficient.knob;
  std::string out;
  if (knob.time != "constant") {
    out += fmt::format(", times {} at step t, T = {} steps",
                       row_named(time_schedules(), knob.time, "schedule").formula, knob.ramp_steps);
  }
  if (coefficient.is_random()) {
    out += fmt::format(", times a draw per sequence that is kept with probability {}{}",
                       short_number(knob.keep_probability),
                       knob.keep_depth == "linear" ? " at the top, falling linearly from 1" : "");
  }
  if (knob.stop_gradient) out += "; the gradient of the stream passes as if it were 1";
  return out;
}

std::string definition(const CoefficientDescription& coefficient, const DepthPosition& position) {
  if (coefficient.knob.tie_to_branch) return coefficient.name + " = 1 - b";
  return fmt::format("{} = {}{}{}", coefficient.name,
                     coefficient.is_trained() ? training_text(coefficient) : rule_and_value(coefficient),
                     unit_text(coefficient.knob, position), further_factors(coefficient));
}

/// "b z", "b o z", "z", or "" for 0 z.
std::string term(const CoefficientDescription& coefficient, const std::string& operand) {
  if (coefficient.is_zero()) return "";
  if (coefficient.is_one()) return operand;
  return fmt::format("{} {}{}", coefficient.name, coefficient.knob.trainable == "vector" ? "o " : "",
                     operand);
}

std::string tied_skip(const SublayerDescription& sublayer, const std::string& x) {
  const CoefficientDescription& b = sublayer.coefficient("b");
  return fmt::format("(1 - b) {}{}", b.knob.trainable == "vector" ? "o " : "", x);
}

/// a x + b z + e x_block.
std::string sum_text(const SublayerDescription& sublayer, const std::string& x, const std::string& z) {
  const CoefficientDescription& a = sublayer.coefficient("a");
  std::vector<std::string> terms = {a.knob.tie_to_branch ? tied_skip(sublayer, x) : term(a, x),
                                    term(sublayer.coefficient("b"), z),
                                    term(sublayer.coefficient("e"), "x_block")};
  std::erase(terms, "");
  return terms.empty() ? "0" : fmt::format("{}", fmt::join(terms, " + "));
}

struct StreamNames {
  std::string x, input;
};

StreamNames names_of(const SublayerDescription& sublayer, const ModelConfig& model) {
  const std::string& kind = model.streams.kind;
  const bool normed = model.stream_norm.kind != "none";
  if (kind == "residual") return {"X", "X"};
  if (kind == "siamese") return {"X", normed ? "X + N_stream(Y)" : "X + Y"};
  if (kind != "single") return {"X", "h"};
  return {"x", sublayer.config.branch_input == "block" ? "x_block" : "x"};
}

/// "N_post(s)" with its factor, or s itself.
std::string output_text(const SublayerDescription& sublayer, const std::string& sum) {
  const CoefficientDescription& p = sublayer.coefficient("p");
  const bool normed = sublayer.norm("post") != nullptr;
  if (p.is_one()) return normed ? fmt::format("N_post({})", sum) : sum;
  return term(p, normed ? fmt::format("N_post({})", sum) : fmt::format("({})", sum));
}

std::string stream_weights_text(const ModelConfig& model) {
  const bool manifold = model.streams.kind == "mhc";
  const std::string input = model.stream_norm.kind != "none" ? "N_stream(X" : "(X";
  if (manifold) {
    return fmt::format(
        "per token: read = sigmoid(base + s W {0})), write = 2 sigmoid(base + s W {0})), mix = "
        "Sinkhorn(exp(base "
        "+ s W {0})))",
        input);
  }
  if (!model.streams.dynamic) return "read_i, write_j, mix_ij: trained numbers";
  return fmt::format("read_i, write_i, mix_ij = base + s tanh(W {}_i)), per token", input);
}

}  // namespace

std::string short_number(double value) { return fmt::format("{:.5g}", value); }

std::string knob_rule(const KnobConfig& knob) {
  std::vector<std::string> factors;
  if (knob.value != 1) factors.push_back(short_number(knob.value));
  if (knob.width_exponent != 0) factors.push_back("width^" + short_number(knob.width_exponent));
  if (has_depth(knob)) {
    const std::string depth = depth_text(knob);
    const bool compound = depth.find_first_of("+,") != std::string::npos && knob.value != 1;
    factors.push_back(compound ? "(" + depth + ")" : depth);
  }
  if (knob.value == 0) return "0";
  return factors.empty() ? "1" : fmt::format("{}", fmt::join(factors, " * "));
}

std::vector<std::string> equation_lines(const SublayerDescription& sublayer, const ModelConfig& model) {
  const StreamNames names = names_of(sublayer, model);
  const bool mixed = model.streams.kind == "hyper" || model.streams.kind == "mhc";
  std::vector<std::string> lines;
  if (mixed) lines.emplace_back("h = sum_i read_i X_i");
  std::string u = names.input;
  const CoefficientDescription& c = sublayer.coefficient("c");
  if (sublayer.norm("in") != nullptr || !c.is_one()) {
    const bool normed = sublayer.norm("in") != nullptr;
    const bool is_sum = u.find(' ') != std::string::npos;
    lines.push_back("u = " + term(c, normed ? fmt::format("N_in({})", u) : is_sum ? "(" + u + ")" : u));
    u = "u";
  }
  std::string z = fmt::format("F({})", u);
  if (sublayer.norm("out") != nullptr) z = fmt::format("N_out({})", z);
  const bool has_two = model.streams.kind == "residual" || model.streams.kind == "siamese";
  if (has_two) {
    lines.push_back("z = " + z);
    z = "z";
  }
  if (mixed) {
    lines.push_back(fmt::format("X'_j = sum_i mix_ij X_i + write_j {}", term(sublayer.coefficient("b"), z)));
    return lines;
  }
  lines.push_back(fmt::format("{}' = {}", names.x, output_text(sublayer, sum_text(sublayer, names.x, z))));
  if (has_two) lines.push_back(fmt::format("Y' = Y + {}", term(sublayer.coefficient("b"), "z")));
  return lines;
}

namespace {

std::string extent_text(const std::string& extent) {
  return extent == "head" ? "per head" : "over all heads";
}

void attention_lines(const SublayerDescription& sublayer, const ModelConfig& model,
                     std::vector<std::string>& lines) {
  const SublayerConfig& config = sublayer.config;
  if (sublayer.norm("qk") != nullptr) {
    lines.push_back(fmt::format("q, k: N_qk {}", extent_text(config.qk_norm_extent)));
  }
  if (!sublayer.coefficient("gain.qk").is_absent()) lines.emplace_back("q, k: times gain.qk");
  if (sublayer.norm("v") != nullptr) {
    lines.push_back(fmt::format("v: N_v {}", extent_text(config.v_norm_extent)));
  }
  const CoefficientDescription& own = sublayer.coefficient("gain.value");
  const CoefficientDescription& first = sublayer.coefficient("gain.first_value");
  if (!first.is_absent()) {
    lines.emplace_back("v: gain.value v + gain.first_value v_1, v_1 the values of the first attention");
  } else if (!own.is_absent()) {
    lines.emplace_back("v: times gain.value");
  }
  if (model.attention_scale > 0) {
    lines.push_back(fmt::format("q.k: times {}", short_number(model.attention_scale)));
  } else if (model.attention_scale_by == "sqrt(head_width)") {
    lines.emplace_back("q.k: times sqrt(head width) instead of 1/sqrt(head width)");
  }
  if (model.attention_soft_cap > 0) {
    lines.push_back(
        fmt::format("attention logits: {0} tanh(. / {0})", short_number(model.attention_soft_cap)));
  }
  if (config.head_gains) lines.emplace_back("heads: a trained gain each, from 1 on");
  if (sublayer.norm("pre_projection") != nullptr) lines.emplace_back("before W_O: N_pre_projection");
}

}  // namespace

std::vector<std::string> inside_lines(const SublayerDescription& sublayer, const ModelConfig& model) {
  std::vector<std::string> lines;
  if (sublayer.config.branch_biases) {
    lines.emplace_back(
        sublayer.kind == "ffn"
            ? "a trained number, from 0 on, added before W_1, before the activation and before W_2"
            : "a trained number, from 0 on, added before W_Q, W_K, W_V");
  }
  if (sublayer.kind == "attention") attention_lines(sublayer, model, lines);
  if (sublayer.kind != "ffn") return lines;
  if (!sublayer.coefficient("gain.ffn").is_absent()) {
    lines.emplace_back("before the activation: times gain.ffn");
  }
  if (sublayer.norm("ffn_inner") != nullptr) lines.emplace_back("after the activation: N_ffn_inner");
  return lines;
}

std::vector<std::string> definition_lines(const SublayerDescription& sublayer, const ModelConfig& model) {
  const bool mixes_values =
      sublayer.kind == "attention" && !sublayer.coefficient("gain.first_value").is_absent();
  std::vector<std::string> lines;
  for (const CoefficientDescription& coefficient : sublayer.coefficients) {
    const bool is_gain = coefficient.name.starts_with("gain.");
    const bool is_named = coefficient.name == "gain.value" && mixes_values;
    const bool needs_none = is_gain ? coefficient.is_absent() : coefficient.is_one() || coefficient.is_zero();
    if ((needs_none && !is_named) || coefficient.knob.tie_to_branch) continue;
    std::string line = definition(coefficient, sublayer.position);
    if (coefficient.name == "a" && model.init.profile == "admin") {
      line += "; a pass over the first batch sets where it starts";
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<std::string> start_lines(const ModelConfig& model) {
  const double by_width =
      model.embedding_scale_by == "sqrt(width)" ? std::sqrt(static_cast<double>(model.width)) : 1;
  std::string scale;
  if (model.embedding_scale != 1) scale += short_number(model.embedding_scale) + " ";
  if (by_width != 1) scale += "sqrt(width) ";
  std::string sum = model.position == "learned" ? "token + position" : "token";
  const bool normed = model.embedding_norm.kind != "none";
  if (!scale.empty()) sum = model.position == "learned" ? fmt::format("{}({})", scale, sum) : scale + sum;
  std::vector<std::string> lines = {normed ? fmt::format("x_0 = N_embedding({})", sum) : "x_0 = " + sum};
  const std::string& streams = model.streams.kind;
  if (streams == "residual" || streams == "siamese") lines.emplace_back("X = Y = x_0");
  if (streams == "hyper" || streams == "mhc") {
    lines.push_back(fmt::format("X_1 = ... = X_n = x_0, n = {}", model.streams.count));
    lines.push_back(stream_weights_text(model));
  }
  return lines;
}

std::vector<std::string> end_lines(const ModelConfig& model) {
  const std::string& streams = model.streams.kind;
  std::string last = "x";
  if (streams == "residual" || streams == "siamese") {
    last = model.stream_norm.kind != "none" ? "X + N_stream(Y)" : "X + Y";
  } else if (streams != "single") {
    last = "sum_i X_i";
  }
  const bool is_sum = last.find(' ') != std::string::npos;
  if (model.final_norm.kind != "none") {
    last = fmt::format("N_final({})", last);
  } else if (is_sum) {
    last = "(" + last + ")";
  }
  const KnobConfig& gain = model.logit_gain;
  const bool trained = gain.trainable != "none";
  const double start = knob_start(gain, {}, model.width);
  std::string logits = fmt::format("W_head {}", last);
  if (trained || start != 1) {
    logits = fmt::format("gain.logits {}{}", gain.trainable == "vector" ? "o " : "", logits);
  }
  if (model.head_soft_cap > 0) {
    logits = fmt::format("{0} tanh({1} / {0})", short_number(model.head_soft_cap), logits);
  }
  std::vector<std::string> lines = {"logits = " + logits};
  if (trained || start != 1) {
    const std::string rule = knob_rule(gain), value = short_number(start);
    const std::string both = rule == value ? rule : rule + " = " + value;
    lines.push_back(trained ? fmt::format("gain.logits = a trained {} from {} on",
                                          gain.trainable == "vector" ? "vector" : "number", both)
                            : "gain.logits = " + both);
  }
  return lines;
}

}  // namespace plumb
