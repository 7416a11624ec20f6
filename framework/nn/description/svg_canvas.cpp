#include "nn/description/svg_canvas.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace plumb {
namespace {

constexpr const char* kText = "#1f2933";
constexpr const char* kLine = "#3e4c59";
constexpr const char* kAccent = "#1766a6";
constexpr const char* kAccentFill = "#e2eefa";
constexpr const char* kPanel = "#f5f6f8";
constexpr const char* kPanelLine = "#d3d8de";
constexpr double kRadius = 8;

std::string number(double value) {
  const std::string text = fmt::format("{:.1f}", value);
  return text.ends_with(".0") ? text.substr(0, text.size() - 2) : text;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char character : text) {
    if (character == '&') {
      out += "&amp;";
    } else if (character == '<') {
      out += "&lt;";
    } else {
      out += character;
    }
  }
  return out;
}

/// "N_in" -> N with "in" below the line, up to the next space.
std::string with_subscripts(const std::string& text, double size) {
  const std::size_t mark = text.find('_');
  if (mark == std::string::npos || mark == 0) return escaped(text);
  const std::size_t end = std::min(text.find(' ', mark), text.size());
  std::string out = escaped(text.substr(0, mark));
  out += fmt::format("<tspan dy=\"3\" font-size=\"{}\">{}</tspan>", number(size - 2),
                     escaped(text.substr(mark + 1, end - mark - 1)));
  if (end < text.size()) out += fmt::format("<tspan dy=\"-3\">{}</tspan>", escaped(text.substr(end)));
  return out;
}

}  // namespace

double SvgCanvas::text_width(const std::string& text, double size) {
  return 0.58 * size * static_cast<double>(text.size());
}

void SvgCanvas::line(const std::vector<Point>& points, bool arrow, bool dashed) {
  std::string path;
  for (const Point& point : points)
    path += fmt::format("{}{} {}", path.empty() ? "M" : "L", number(point.x), number(-point.y));
  elements_.push_back({1, fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"{}/>",
                                      path, kLine, dashed ? " stroke-dasharray=\"3 3\"" : "")});
  if (!arrow || points.size() < 2) return;
  const Point tip = points.back(), from = points[points.size() - 2];
  const double length = std::hypot(tip.x - from.x, tip.y - from.y);
  if (length == 0) return;
  const double dx = (tip.x - from.x) / length, dy = (tip.y - from.y) / length;
  const Point base = {tip.x - 7 * dx, tip.y - 7 * dy};
  elements_.push_back({1, fmt::format("<path d=\"M{} {}L{} {}L{} {}Z\" fill=\"{}\"/>", number(tip.x),
                                      number(-tip.y), number(base.x - 3.5 * dy), number(-base.y - 3.5 * dx),
                                      number(base.x + 3.5 * dy), number(-base.y + 3.5 * dx), kLine)});
}

void SvgCanvas::dot(Point at) {
  elements_.push_back({2, fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"2.6\" fill=\"{}\"/>", number(at.x),
                                      number(-at.y), kLine)});
}

void SvgCanvas::sign(Point at, bool is_plus) {
  const double arm = is_plus ? 4.5 : 3.2;
  const std::string stroke =
      is_plus ? fmt::format("M{} {}h{}M{} {}v{}", number(at.x - arm), number(-at.y), number(2 * arm),
                            number(at.x), number(-at.y - arm), number(2 * arm))
              : fmt::format("M{0} {1}l{2} {2}M{0} {3}l{2} -{2}", number(at.x - arm), number(-at.y - arm),
                            number(2 * arm), number(-at.y + arm));
  elements_.push_back(
      {2,
       fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"white\" stroke=\"{}\" stroke-width=\"1.3\"/>"
                   "<path d=\"{}\" stroke=\"{}\" stroke-width=\"1.3\"/>",
                   number(at.x), number(-at.y), number(kRadius), kLine, stroke, kLine)});
}

void SvgCanvas::plus(Point at) { sign(at, true); }
void SvgCanvas::times(Point at) { sign(at, false); }

void SvgCanvas::box(Point center, double width, double height, BoxStyle style) {
  const bool is_panel = style == BoxStyle::Panel, is_norm = style == BoxStyle::Norm;
  elements_.push_back(
      {is_panel ? 0 : 2,
       fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\" fill=\"{}\" stroke=\"{}\"/>",
                   number(center.x - width / 2), number(-center.y - height / 2), number(width),
                   number(height), is_panel ? 8 : 4,
                   is_panel  ? kPanel
                   : is_norm ? kAccentFill
                             : "white",
                   is_panel  ? kPanelLine
                   : is_norm ? kAccent
                             : kLine)});
}

void SvgCanvas::text(Point at, const std::string& text, Anchor anchor, double size, bool accent, bool bold) {
  const char* place = anchor == Anchor::Middle ? " text-anchor=\"middle\""
                      : anchor == Anchor::End  ? " text-anchor=\"end\""
                                               : "";
  elements_.push_back(
      {3, fmt::format("<text x=\"{}\" y=\"{}\"{} font-size=\"{}\" fill=\"{}\"{}>{}</text>", number(at.x),
                      number(-at.y + 0.35 * size), place, number(size), accent ? kAccent : kText,
                      bold ? " font-weight=\"bold\"" : "", with_subscripts(text, size))});
}

void SvgCanvas::labelled_box(Point center, double width, double height, BoxStyle style,
                             const std::string& label) {
  box(center, width, height, style);
  text(center, label, Anchor::Middle, 11, style == BoxStyle::Norm);
}

std::string SvgCanvas::svg(double width, double height, const std::string& title) const {
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
      "font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" role=\"img\">\n<title>{2}</title>\n<rect "
      "width=\"{0}\" "
      "height=\"{1}\" fill=\"white\"/>\n<g transform=\"translate(0 {1})\">\n",
      number(width), number(height), escaped(title));
  for (int layer = 0; layer < 4; ++layer) {
    for (const Element& element : elements_) {
      if (element.layer == layer) out += element.text + "\n";
    }
  }
  return out + "</g>\n</svg>\n";
}

}  // namespace plumb
