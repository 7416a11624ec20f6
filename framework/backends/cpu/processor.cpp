#include "backends/cpu/processor.h"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace plumb::cpu {

bool ProcessorFacts::has(const std::string& flag) const {
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

ProcessorFacts read_processor_facts() {
  ProcessorFacts facts{"unknown processor", {}};
  std::ifstream file("/proc/cpuinfo");
  // Lines "key<tabs>: value", one paragraph per core; the first one is enough.
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const auto colon = line.find(':');
    if (colon == std::string::npos || colon + 2 > line.size()) continue;
    const std::string key = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    const std::string value = line.substr(colon + 2);
    if (key == "model name") facts.model = value;
    if (key == "flags" || key == "Features") {
      std::istringstream words(value);
      for (std::string word; words >> word;) facts.flags.push_back(word);
    }
  }
  return facts;
}

}  // namespace plumb::cpu
