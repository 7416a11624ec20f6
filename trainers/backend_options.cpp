#include "backend_options.h"

namespace plumb {
namespace {

AttentionChoice attention_choice(const std::string& name) {
  if (name == "own") return AttentionChoice::Own;
  if (name == "library") return AttentionChoice::Library;
  return AttentionChoice::Auto;
}

}  // namespace

BackendOptions backend_options(const ComputeConfig& compute, const Launch& launch) {
  BackendOptions options;
  options.local_rank = launch.local_rank;
  options.local_size = launch.local_size;
  options.tf32 = compute.dtype == "tf32";
  options.attention = attention_choice(compute.attention);
  return options;
}

}  // namespace plumb
