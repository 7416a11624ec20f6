#include "backend/tested_backends.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "backend/loader.h"

namespace plumb::test {
namespace {

std::vector<std::string> chosen_backends(const char* list) {
  const std::vector<std::string> available = backend_names();
  std::vector<std::string> names;
  std::istringstream stream(list);
  for (std::string name; std::getline(stream, name, ',');) {
    if (std::find(available.begin(), available.end(), name) != available.end()) {
      names.push_back(name);
    } else {
      std::fprintf(stderr, "skipped: there is no backend %s here: %s\n", name.c_str(),
                   name == "cuda" ? cuda_absence().c_str() : "it is not in this build");
    }
  }
  return names;
}

}  // namespace

std::vector<std::string> tested_backends() {
  if (const char* chosen = std::getenv("PLUMB_TEST_BACKENDS")) {
    static const std::vector<std::string> names = chosen_backends(chosen);
    return names;
  }
  std::vector<std::string> names = backend_names();
  std::erase(names, "cuda-emulated");
  return names;
}

}  // namespace plumb::test
