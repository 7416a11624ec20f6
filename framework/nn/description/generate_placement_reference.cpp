// Writes docs/placements.md and docs/figures/placements/<name>.svg under the folder docs that it is given.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/error.h"
#include "nn/description/placement_reference.h"

namespace {

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.flush();
  if (!file) plumb::fail_input("{}: cannot be written", path.string());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: generate_placement_reference DOCS\n", stderr);
    return 2;
  }
  try {
    const std::filesystem::path docs = argv[1], figures = docs / "figures" / "placements";
    std::filesystem::create_directories(figures);
    write(docs / "placements.md", plumb::placement_reference_markdown());
    for (const auto& [name, svg] : plumb::placement_figures()) write(figures / (name + ".svg"), svg);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "generate_placement_reference: %s\n", error.what());
    return 1;
  }
  return 0;
}
