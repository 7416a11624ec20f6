// A whole model against its golden file on one backend: loss, hidden states and every gradient. With
// Frobenius norms: hidden states and loss |h - h*| / |h*|, gradients |g - g*| / max(|g*|, 1e-4 |whole g*|).
// In bf16 every tensor's error is held against what rounding alone does to that tensor, too.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/dtype.h"
#include "golden/golden_case.h"

namespace plumb::golden {

/// Gradients below this share of the whole one are measured against it.
constexpr double kGradientFloor = 1e-4;

struct Platform {
  std::string backend;
  DType compute;
  double tolerance;
};
void PrintTo(const Platform& platform, std::ostream* out);
/// "cpu_bf16", for names of tests.
std::string name_of(const Platform& platform);

/// Every backend under test (backend/tested_backends.h) in the dtypes that the golden files are held against.
std::vector<Platform> platforms();

/// Runs the configuration with the file's parameters and batch, prints the largest errors and fails the test
/// where one is above what the platform allows.
void expect_agreement(const Config& config, const GoldenFile& golden, const Platform& platform);

/// Norm of all gradients of the file taken together.
double whole_gradient_norm(const GoldenFile& golden);

}  // namespace plumb::golden
