#include "nn/description/placement_drawing.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "nn/description/block_drawing.h"
#include "nn/description/placement_equations.h"
#include "nn/description/svg_canvas.h"

namespace plumb {
namespace {

constexpr std::size_t kMostColumns = 3;
constexpr double kMargin = 14, kGap = 22, kLegend = 20;

bool is_last_block(const PlacementDescription& description, const BlockGroup& group) {
  return group.blocks.back().last == description.config.model.blocks - 1;
}

std::string caption(const PlacementDescription& description, const BlockGroup& group) {
  const StreamsConfig& streams = description.config.model.streams;
  const bool bundled = streams.kind == "hyper" || streams.kind == "mhc";
  if (description.blocks.size() == 1) {
    return fmt::format("every block (L = {}){}", description.options.layers,
                       bundled ? fmt::format(", {} streams", streams.count) : "");
  }
  const bool one = group.blocks.size() == 1 && group.blocks[0].first == group.blocks[0].last;
  return fmt::format("{} {}", one ? "block" : "blocks", text_of(group.blocks));
}

/// Height of what lies between the embedding and the first block.
double start_height(const PlacementDescription& description) {
  const ModelConfig& model = description.config.model;
  double height = 52;
  if (model.embedding_scale != 1 || model.embedding_scale_by != "constant") height += 28;
  if (description.model_norm("embedding") != nullptr) height += 34;
  return height;
}

std::string embedding_scale_text(const ModelConfig& model) {
  std::string text;
  if (model.embedding_scale != 1) text = short_number(model.embedding_scale);
  if (model.embedding_scale_by == "sqrt(width)")
    text += (text.empty() ? "" : " ") + std::string("sqrt(width)");
  return text;
}

/// From the embedding, whose box stands at `y`, up to the block at `top`.
void draw_start(SvgCanvas& canvas, const PlacementDescription& description, const StreamPlaces& places,
                double y, double top) {
  canvas.labelled_box({places.first, y + 11}, 80, 22, BoxStyle::Plain, "embedding");
  double next = y + 22;
  const std::string scale = embedding_scale_text(description.config.model);
  if (!scale.empty()) {
    canvas.times({places.first, next + 16});
    canvas.text({places.first + 13, next + 16}, scale, Anchor::Start, 10);
    next += 28;
  }
  if (description.model_norm("embedding") != nullptr) {
    canvas.labelled_box({places.first, next + 22}, 82, 20, BoxStyle::Norm, "N_embedding");
    next += 34;
  }
  canvas.line({{places.first, y + 22}, {places.first, next + 12}});
  for (double x : places.lines) {
    canvas.line({{places.first, next + 12}, {x, next + 12}, {x, top}},
                places.spread || places.lines.size() == 1);
  }
}

/// What becomes of several streams above the last block; returns how high it reached.
double draw_merge(SvgCanvas& canvas, const PlacementDescription& description, const StreamPlaces& places,
                  double y) {
  if (places.lines.size() == 1) return y;
  const double join = y + 26;
  if (!places.spread) {
    for (double x : places.lines) canvas.line({{x, y}, {x, join}, {places.first, join}});
    canvas.plus({places.first, join});
    return join + 8;
  }
  const double second = places.lines.back();
  canvas.line({{places.first, y}, {places.first, join}});
  canvas.line({{second, y}, {second, join}, {places.first + 8, join}}, true);
  if (description.model_norm("stream") != nullptr) {
    canvas.labelled_box({(places.first + second) / 2, join}, 70, 20, BoxStyle::Norm, "N_stream");
  }
  canvas.plus({places.first, join});
  return join + 8;
}

/// From the last block up to the head; returns the height of its top.
double draw_end(SvgCanvas& canvas, const PlacementDescription& description, const StreamPlaces& places,
                double y) {
  const ModelConfig& model = description.config.model;
  const double merged = draw_merge(canvas, description, places, y);
  double next = merged;
  if (description.model_norm("final") != nullptr) {
    canvas.labelled_box({places.first, next + 24}, 64, 20, BoxStyle::Norm, "N_final");
    next += 34;
  }
  canvas.line({{places.first, merged}, {places.first, next + 18}}, true);
  canvas.labelled_box({places.first, next + 29}, 64, 22, BoxStyle::Plain, "head");
  next += 40;
  if (model.head_soft_cap != 0) {
    canvas.text({places.first + 40, next - 11}, fmt::format("soft cap {}", short_number(model.head_soft_cap)),
                Anchor::Start, 10);
  }
  if (model.logit_gain == KnobConfig{}) return next;
  canvas.line({{places.first, next}, {places.first, next + 20}});
  canvas.times({places.first, next + 16});
  canvas.text({places.first + 13, next + 16}, "gain.logits", Anchor::Start, 10);
  return next + 28;
}

void collect_kinds(const std::vector<NormDescription>& norms, std::vector<std::string>& kinds) {
  for (const NormDescription& norm : norms) {
    if (std::find(kinds.begin(), kinds.end(), norm.norm.kind) == kinds.end()) kinds.push_back(norm.norm.kind);
  }
}

std::string legend(const PlacementDescription& description) {
  std::vector<std::string> kinds;
  for (const SublayerDescription& sublayer : description.sublayers) collect_kinds(sublayer.norms, kinds);
  collect_kinds(description.model_norms, kinds);
  std::string text = kinds.empty() ? "no norms" : fmt::format("blue: norms ({})", fmt::join(kinds, ", "));
  const std::size_t more = description.blocks.size() - std::min(description.blocks.size(), kMostColumns);
  if (more > 0) text += fmt::format("; {} more kinds of block", more);
  return text;
}

}  // namespace

std::string placement_svg(const PlacementDescription& description) {
  SvgCanvas canvas;
  const std::size_t columns = std::min(description.blocks.size(), kMostColumns);
  const double bottom = kMargin + kLegend + start_height(description);
  double left = kMargin, top = 0;
  std::size_t last = columns - 1;
  for (std::size_t i = 0; i < columns; ++i) {
    if (is_last_block(description, description.blocks[i])) last = i;
  }
  for (std::size_t i = 0; i < columns; ++i) {
    const BlockGroup& group = description.blocks[i];
    BlockDrawing block(canvas, description, group, left);
    const double edge = block.draw(bottom);
    const StreamPlaces& places = block.streams();
    const double right = places.spread ? places.lines.back() - 8 : left + block.width() - 6;
    canvas.text({right, edge + 10}, caption(description, group), Anchor::End, 10);
    if (i == 0) {
      draw_start(canvas, description, places, kMargin + kLegend, bottom);
    } else {
      for (double x : places.lines) canvas.line({{x, bottom - 26}, {x, bottom}}, true);
    }
    double reached = edge + 20;
    if (i == last) {
      reached = draw_end(canvas, description, places, edge);
    } else {
      for (double x : places.lines) canvas.line({{x, edge}, {x, edge + 26}}, true);
      reached = edge + 26;
    }
    top = std::max(top, reached);
    left += block.width() + kGap;
  }
  const double width = left - kGap + kMargin, height = top + 34;
  canvas.text({kMargin, kMargin}, legend(description), Anchor::Start, 10);
  canvas.text({kMargin, height - 16}, std::string(description.row->name), Anchor::Start, 13, false, true);
  return canvas.svg(width, height, fmt::format("{}: {}", description.row->name, description.row->formula));
}

}  // namespace plumb
