#include "nn/description/block_drawing.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "nn/description/placement_equations.h"

namespace plumb {
namespace {

constexpr double kHalfBox = 62;      ///< of the branch's box
constexpr double kRadius = 8;        ///< of + and x
constexpr double kLineSpacing = 11;  ///< in a bundle of streams

/// A small mark inside a branch's box; norms are blue.
struct Chip {
  std::string text{};
  bool is_norm = false;
};

std::vector<Chip> attention_chips(const SublayerDescription& sublayer, const ModelConfig& model) {
  std::vector<Chip> chips;
  if (sublayer.norm("qk") != nullptr) chips.push_back({"Q, K", true});
  if (!sublayer.coefficient("gain.qk").is_absent()) chips.push_back({"gain Q, K"});
  if (sublayer.norm("v") != nullptr) chips.push_back({"V", true});
  if (!sublayer.coefficient("gain.first_value").is_absent()) {
    chips.push_back({"V + V_1"});
  } else if (!sublayer.coefficient("gain.value").is_absent()) {
    chips.push_back({"gain V"});
  }
  if (model.attention_soft_cap > 0) chips.push_back({"soft cap"});
  if (sublayer.config.head_gains) chips.push_back({"head gains"});
  if (sublayer.norm("pre_projection") != nullptr) chips.push_back({"before W_O", true});
  return chips;
}

std::vector<Chip> chips_of(const SublayerDescription& sublayer, const ModelConfig& model) {
  std::vector<Chip> chips;
  if (sublayer.config.branch_biases) chips.push_back({"scalar biases"});
  if (sublayer.kind == "attention") {
    for (Chip& chip : attention_chips(sublayer, model)) chips.push_back(std::move(chip));
  }
  if (sublayer.kind != "ffn") return chips;
  if (!sublayer.coefficient("gain.ffn").is_absent()) chips.push_back({"gain"});
  if (sublayer.norm("ffn_inner") != nullptr) chips.push_back({"before W_2", true});
  return chips;
}

double chip_width(const Chip& chip) { return SvgCanvas::text_width(chip.text, 9) + 10; }

/// Chips in rows that fit into the box.
std::vector<std::vector<Chip>> chip_rows(const std::vector<Chip>& chips) {
  std::vector<std::vector<Chip>> rows;
  double used = 0;
  for (const Chip& chip : chips) {
    const double width = chip_width(chip) + 4;
    if (rows.empty() || used + width > 2 * kHalfBox - 6) {
      rows.emplace_back();
      used = 0;
    }
    rows.back().push_back(chip);
    used += width;
  }
  return rows;
}

std::string title_of(const std::string& kind) {
  if (kind == "attention") return "Attention";
  return kind == "ffn" ? "FFN" : "Linear";
}

}  // namespace

BlockDrawing::BlockDrawing(SvgCanvas& canvas, const PlacementDescription& description,
                           const BlockGroup& group, double left)
    : canvas_(canvas), description_(description), group_(group), left_(left) {
  const StreamsConfig& streams = description.config.model.streams;
  if (streams.kind == "single") {
    width_ = 296;
    places_ = {.first = left + 64, .lines = {left + 64}};
  } else if (streams.kind == "residual" || streams.kind == "siamese") {
    width_ = 396;
    places_ = {.first = left + 64, .lines = {left + 64, left + 362}, .spread = true};
  } else {
    width_ = 368;
    places_.first = left + 132;
    const auto count = static_cast<double>(streams.count);
    for (double i = 0; i < count; ++i) {
      places_.lines.push_back(places_.first + (i - (count - 1) / 2) * kLineSpacing);
    }
  }
  branch_ = places_.first + 152;
}

std::string BlockDrawing::label(const SublayerDescription& sublayer, const std::string& name) const {
  const CoefficientDescription& coefficient = sublayer.coefficient(name);
  if (coefficient.knob.tie_to_branch) return "1 - b";
  if (coefficient.is_trained()) return name + " (trained)";
  if (coefficient.is_random()) return name + " (random)";
  if (coefficient.knob.time != "constant") return name + "(t)";
  if (!coefficient.varies_over_depth) return fmt::format("{} = {}", name, short_number(coefficient.value));
  const std::string rule = knob_rule(coefficient.knob);
  return rule.size() <= 12 ? fmt::format("{} = {}", name, rule) : name;
}

/// A multiplication on a vertical line with its label on the right; returns the height above it.
double BlockDrawing::draw_factor(const SublayerDescription& sublayer, const char* name, double x, double y) {
  const CoefficientDescription& coefficient = sublayer.coefficient(name);
  if (coefficient.is_one() || coefficient.is_zero()) return y;
  canvas_.times({x, y + 16});
  canvas_.text({x + 13, y + 16}, label(sublayer, name), Anchor::Start, 10);
  return y + 24;
}

double BlockDrawing::draw(double y) {
  double next = y + 4;
  for (std::size_t place = 0; place < description_.config.model.block.size(); ++place) {
    const SublayerDescription& sublayer = description_.sublayer(group_.example, place);
    if (place == 0) block_start_ = next + 14;
    next = draw_sublayer(sublayer, next);
  }
  const double edge = next + 10;
  for (double x : places_.lines) {
    canvas_.line({{x, y}, {x, y + 4}});
    canvas_.line({{x, next}, {x, edge}});
  }
  if (places_.spread) {
    canvas_.text({places_.first - 12, y + 12}, "X");
    canvas_.text({places_.lines.back() + 12, y + 12}, "Y");
  }
  canvas_.box({left_ + width_ / 2, (y + edge) / 2}, width_, edge - y, BoxStyle::Panel);
  return edge;
}

double BlockDrawing::draw_sublayer(const SublayerDescription& sublayer, double y) {
  const double tap = y + 14;
  const double input = is_mixed() ? draw_mixed_input(tap) : draw_input(sublayer, tap);
  double top = draw_branch(sublayer, input);
  if (places_.spread || is_mixed()) top = draw_factor(sublayer, "b", branch_, top);
  const double join = std::max(top + 20, is_mixed() ? input + 84 : y + 80);
  canvas_.line({{branch_, input}, {branch_, join}});
  return is_mixed() ? draw_mixing(y, join) : draw_sum(sublayer, y, tap, join);
}

/// From the stream to the foot of the branch; returns its height.
double BlockDrawing::draw_input(const SublayerDescription& sublayer, double tap) {
  const bool from_block = sublayer.config.branch_input == "block";
  if (from_block && tap != block_start_) {
    const double bus = branch_ + kHalfBox + 12;
    canvas_.line({{branch_, block_start_}, {bus, block_start_}, {bus, tap}, {branch_, tap}});
    canvas_.dot({branch_, block_start_});
    return tap;
  }
  canvas_.dot({places_.first, tap});
  if (description_.config.model.streams.kind != "siamese") {
    canvas_.line({{places_.first, tap}, {branch_, tap}});
    return tap;
  }
  const double second = places_.lines.back();
  canvas_.dot({second, tap});
  canvas_.line({{places_.first, tap}, {branch_ - kRadius, tap}}, true);
  canvas_.line({{second, tap}, {branch_ + kRadius, tap}}, true);
  canvas_.plus({branch_, tap});
  if (description_.model_norm("stream") != nullptr) {
    canvas_.labelled_box({(branch_ + second) / 2 + 4, tap}, 66, 20, BoxStyle::Norm, "N_stream");
  }
  return tap + kRadius;
}

/// The bar that reads from the bundle, below it what the mixing weights are made from.
double BlockDrawing::draw_mixed_input(double tap) {
  const StreamsConfig& streams = description_.config.model.streams;
  const bool dynamic = streams.dynamic || streams.kind == "mhc";
  const double half = places_.lines.back() - places_.first + 10;
  const double read = dynamic ? tap + 44 : tap + 4;
  if (dynamic) {
    const double side = left_ + 46;
    weights_from_ = tap;
    canvas_.line({{places_.first - half + 10, tap}, {side, tap}, {side, read}, {places_.first - half, read}},
                 true, true);
    canvas_.dot({places_.first - half + 10, tap});
    if (description_.model_norm("stream") != nullptr) {
      canvas_.labelled_box({side, tap + 20}, 64, 18, BoxStyle::Norm, "N_stream");
    }
    weights_from_ = read;
  }
  canvas_.labelled_box({places_.first, read}, 2 * half, 18, BoxStyle::Plain, "read");
  canvas_.line({{places_.first + half, read}, {branch_, read}});
  return read;
}

/// N_in, c, F, N_out; returns the top of the last box.
double BlockDrawing::draw_branch(const SublayerDescription& sublayer, double y) {
  double next = y;
  if (sublayer.norm("in") != nullptr) {
    canvas_.labelled_box({branch_, next + 22}, 64, 20, BoxStyle::Norm, "N_in");
    next += 32;
  }
  next = draw_factor(sublayer, "c", branch_, next);
  next = draw_box(sublayer, next + 12);
  if (sublayer.norm("out") == nullptr) return next;
  canvas_.labelled_box({branch_, next + 22}, 64, 20, BoxStyle::Norm, "N_out");
  return next + 32;
}

double BlockDrawing::draw_box(const SublayerDescription& sublayer, double y) {
  const auto rows = chip_rows(chips_of(sublayer, description_.config.model));
  const double height = 30 + 17 * static_cast<double>(rows.size());
  canvas_.line({{branch_, y - 8}, {branch_, y}}, true);
  canvas_.box({branch_, y + height / 2}, 2 * kHalfBox, height, BoxStyle::Branch);
  canvas_.text({branch_, y + height - 15}, title_of(sublayer.kind), Anchor::Middle, 12);
  double center = y + height - 34;
  for (const std::vector<Chip>& row : rows) {
    double width = -4;
    for (const Chip& chip : row) width += chip_width(chip) + 4;
    double x = branch_ - width / 2;
    for (const Chip& chip : row) {
      canvas_.box({x + chip_width(chip) / 2, center}, chip_width(chip), 14,
                  chip.is_norm ? BoxStyle::Norm : BoxStyle::Plain);
      canvas_.text({x + chip_width(chip) / 2, center}, chip.text, Anchor::Middle, 9, chip.is_norm);
      x += chip_width(chip) + 4;
    }
    center -= 17;
  }
  return y + height;
}

/// s = a x + b z + e x_block, then N_post and p; returns the height above.
double BlockDrawing::draw_sum(const SublayerDescription& sublayer, double y, double tap, double join) {
  const double x = places_.first;
  const bool skips = !sublayer.coefficient("a").is_zero();
  canvas_.line({{x, y}, {x, skips ? join - kRadius : tap}}, skips);
  if (skips) draw_factor(sublayer, "a", x, join - 46);
  canvas_.line({{branch_, join}, {x + kRadius, join}}, true);
  if (!places_.spread && !sublayer.coefficient("b").is_one()) {
    canvas_.times({x + 68, join});
    canvas_.text({x + 68, join + 14}, label(sublayer, "b"), Anchor::Middle, 10);
  }
  canvas_.plus({x, join});
  draw_block_skip(sublayer, join);
  double next = join + kRadius;
  if (sublayer.norm("post") != nullptr) {
    canvas_.labelled_box({x, next + 20}, 64, 20, BoxStyle::Norm, "N_post");
    next += 30;
  }
  next = draw_factor(sublayer, "p", x, next) + 8;
  canvas_.line({{x, join + kRadius}, {x, next}});
  if (!places_.spread) return next;
  const double second = places_.lines.back();
  canvas_.dot({branch_, join});
  canvas_.line({{branch_, join}, {second - kRadius, join}}, true);
  canvas_.line({{second, y}, {second, join - kRadius}}, true);
  canvas_.line({{second, join + kRadius}, {second, next}});
  canvas_.plus({second, join});
  return next;
}

void BlockDrawing::draw_block_skip(const SublayerDescription& sublayer, double join) {
  const CoefficientDescription& e = sublayer.coefficient("e");
  if (e.is_zero()) return;
  const double side = places_.first - 40;
  canvas_.dot({places_.first, block_start_});
  canvas_.line(
      {{places_.first, block_start_}, {side, block_start_}, {side, join}, {places_.first - kRadius, join}},
      true);
  if (e.is_one()) return;
  canvas_.times({side, join - 20});
  canvas_.text({side + 11, join - 20}, label(sublayer, "e"), Anchor::Start, 10);
}

/// The streams mix, then what the branch adds is written to all of them; returns the height above.
double BlockDrawing::draw_mixing(double y, double join) {
  const double half = places_.lines.back() - places_.first + 10, mix = join - 36;
  const StreamsConfig& streams = description_.config.model.streams;
  const double next = join + 24;
  for (double x : places_.lines) canvas_.line({{x, y}, {x, next}});
  canvas_.labelled_box({places_.first, mix}, 2 * half, 18, BoxStyle::Plain, "mix");
  canvas_.labelled_box({places_.first, join}, 2 * half, 18, BoxStyle::Plain, "+ write");
  canvas_.line({{branch_, join}, {places_.first + half, join}}, true);
  if (!streams.dynamic && streams.kind != "mhc") return next;
  const double side = left_ + 46;
  canvas_.line({{side, weights_from_}, {side, mix}, {places_.first - half, mix}}, true, true);
  canvas_.line({{side, mix}, {side, join}, {places_.first - half, join}}, true, true);
  canvas_.text({side - 4, mix - 30}, "weights", Anchor::End, 9);
  return next;
}

}  // namespace plumb
