// The HTML page around the data: one file that opens from disk without a network.
#pragma once

#include <string>
#include <string_view>

namespace plumb {

/// A part of framework/report/page by its file name, as embedded at build time.
std::string_view page_part(std::string_view name);

/// Debian's build of Vega as CommonJS factories in an object `vegaModules`, as embedded at build time.
/// InputError with what to install where the build did not find it (no_vega.cpp).
std::string_view vega_script();

/// title: what is reported on, plain text. document: JSON of report_document.
std::string report_page(std::string_view title, std::string_view document);

}  // namespace plumb
