#include "nn/module.h"

#include "core/error.h"

namespace plumb {

Recompute recompute_from_name(const std::string& name) {
  if (name == "none") return Recompute::None;
  if (name == "ffn") return Recompute::FeedForward;
  if (name == "block") return Recompute::Block;
  fail_input("recompute '{}' is unknown; known: none, ffn, block", name);
}

void announce_gradients(const Context& context, const std::vector<Parameter*>& parameters) {
  if (context.listener == nullptr) return;
  // Flat order is the reverse of declaration, so the last declared tensor is announced first.
  for (auto parameter = parameters.rbegin(); parameter != parameters.rend(); ++parameter) {
    if ((*parameter)->trainable) context.listener->gradient_ready(**parameter);
  }
}

}  // namespace plumb
