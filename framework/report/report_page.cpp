#include "report/report_page.h"

#include <initializer_list>

#include "core/error.h"

namespace plumb {
namespace {

std::string escape_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

/// In the order in which they run: each uses what those before it define.
constexpr std::string_view kScripts[] = {"modules.js",   "values.js", "elements.js",
                                         "figure.js",    "curves.js", "profiles.js",
                                         "heat_maps.js", "tables.js", "page.js"};

std::string scripts() {
  std::string text;
  for (const std::string_view name : kScripts) text.append(page_part(name)).append("\n");
  return text;
}

}  // namespace

std::string report_page(std::string_view title, std::string_view document) {
  const std::string_view frame = page_part("page.html");
  std::string page;
  page.reserve(frame.size() + document.size() + 1'000'000);
  std::size_t at = 0;
  while (true) {
    const std::size_t open = frame.find("{{", at);
    page.append(frame.substr(at, open - at));
    if (open == frame.npos) return page;
    const std::size_t close = frame.find("}}", open);
    const std::string_view name = frame.substr(open + 2, close - open - 2);
    if (name == "title") {
      page.append(escape_html(title));
    } else if (name == "style") {
      page.append(page_part("page.css"));
    } else if (name == "licences") {
      page.append(escape_html(page_part("vega_licences.txt")));
    } else if (name == "data") {
      page.append(document);
    } else if (name == "vega") {
      page.append(vega_script());
    } else if (name == "scripts") {
      page.append(scripts());
    } else {
      fail("page.html has a place '{}' that nothing fills", name);
    }
    at = close + 2;
  }
}

}  // namespace plumb
