// One block of a placement on a canvas: its sublayers from the bottom up.
#pragma once

#include <string>
#include <vector>

#include "nn/description/placement_description.h"
#include "nn/description/svg_canvas.h"

namespace plumb {

/// Where the streams run.
struct StreamPlaces {
  double first = 0;             ///< the stream, or the middle of a bundle
  std::vector<double> lines{};  ///< x of every stream
  bool spread = false;          ///< two streams on both sides of the branch, not a bundle
};

class BlockDrawing {
 public:
  BlockDrawing(SvgCanvas& canvas, const PlacementDescription& description, const BlockGroup& group,
               double left);

  /// Draws the block on a panel whose lower edge is at y; returns the height of its upper edge.
  double draw(double y);
  const StreamPlaces& streams() const { return places_; }
  double width() const { return width_; }

 private:
  double draw_sublayer(const SublayerDescription& sublayer, double y);
  double draw_input(const SublayerDescription& sublayer, double tap);
  double draw_mixed_input(double tap);
  double draw_branch(const SublayerDescription& sublayer, double y);
  double draw_box(const SublayerDescription& sublayer, double y);
  double draw_sum(const SublayerDescription& sublayer, double y, double tap, double join);
  void draw_block_skip(const SublayerDescription& sublayer, double join);
  double draw_mixing(double y, double join);
  double draw_factor(const SublayerDescription& sublayer, const char* name, double x, double y);
  std::string label(const SublayerDescription& sublayer, const std::string& name) const;
  bool is_mixed() const { return !places_.spread && places_.lines.size() > 1; }

  SvgCanvas& canvas_;
  const PlacementDescription& description_;
  const BlockGroup& group_;
  double left_, width_ = 0, branch_ = 0;
  StreamPlaces places_;
  double block_start_ = 0;   ///< height where the first sublayer leaves the stream
  double weights_from_ = 0;  ///< mixed streams: height of what the mixing weights are made from
};

}  // namespace plumb
