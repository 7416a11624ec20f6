#include "gpu/peaks.h"

#include <utility>
#include <vector>

namespace plumb::gpu {

Peaks h100() { return {"NVIDIA H100 SXM", 3.35e12, 989e12, 67e12}; }

Peaks peaks_of(const std::string& device_name) {
  static const std::vector<std::pair<std::string, Peaks>> known = {
      {"A100", {"NVIDIA A100 SXM 80GB", 2.039e12, 312e12, 19.5e12}},
      {"H200", {"NVIDIA H200 SXM", 4.8e12, 989e12, 67e12}},
  };
  for (const auto& [word, peaks] : known)
    if (device_name.find(word) != std::string::npos) return peaks;
  return h100();
}

}  // namespace plumb::gpu
