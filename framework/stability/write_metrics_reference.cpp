// Prints docs/metrics.md: write_metrics_reference > docs/metrics.md
#include <cstdio>
#include <string>

#include "stability/metrics_reference.h"

int main() {
  const std::string text = plumb::metrics_reference_markdown();
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? 0 : 1;
}
