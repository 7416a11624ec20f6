// Prints docs/config.md.
#include <cstdio>

#include "config/reference.h"

int main() {
  const std::string text = plumb::config_reference_markdown();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 1;
}
