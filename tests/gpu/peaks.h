// What devices can do at best.
#pragma once

#include <string>

namespace plumb::gpu {

struct Peaks {
  std::string device;
  double bytes_per_second = 0;
  double tensor_operations_per_second = 0;  ///< bf16, dense
  double operations_per_second = 0;         ///< fp32
};
/// NVIDIA H100 SXM: 3.35 TB/s, 989 and 67 TFLOP/s (NVIDIA H100 data sheet, dense figures).
Peaks h100();
/// Of the device with that name: A100, H100 and H200 from NVIDIA's data sheets; of any other the H100's.
Peaks peaks_of(const std::string& device_name);

}  // namespace plumb::gpu
