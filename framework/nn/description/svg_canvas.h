// A drawing of lines, boxes and text as SVG, in the one style of the placement drawings. y grows upward.
#pragma once

#include <string>
#include <vector>

namespace plumb {

struct Point {
  double x = 0, y = 0;
};

enum class BoxStyle { Branch, Norm, Plain, Panel };
enum class Anchor { Start, Middle, End };

/// Panels lie below lines, lines below everything else, so that a box may be put on a line.
class SvgCanvas {
 public:
  void line(const std::vector<Point>& points, bool arrow = false, bool dashed = false);
  /// A dot where lines part.
  void dot(Point at);
  /// A circle with + or x in it.
  void plus(Point at);
  void times(Point at);
  /// `center` is the middle of the box.
  void box(Point center, double width, double height, BoxStyle style);
  /// Text whose baseline is so that it stands in the middle of the height `at`. "N_in" gets a subscript.
  void text(Point at, const std::string& text, Anchor anchor = Anchor::Middle, double size = 11,
            bool accent = false, bool bold = false);
  /// A box with a text in it.
  void labelled_box(Point center, double width, double height, BoxStyle style, const std::string& text);

  std::string svg(double width, double height, const std::string& title) const;

  /// About how wide a text is.
  static double text_width(const std::string& text, double size = 11);

 private:
  void sign(Point at, bool is_plus);

  struct Element {
    int layer = 0;
    std::string text{};
  };
  std::vector<Element> elements_;
};

}  // namespace plumb
