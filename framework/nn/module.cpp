#include "nn/module.h"

namespace plumb {

void announce_gradients(const Context& context, const std::vector<Parameter*>& parameters) {
  if (context.listener == nullptr) return;
  // Flat order is the reverse of declaration, so the last declared tensor is announced first.
  for (auto parameter = parameters.rbegin(); parameter != parameters.rend(); ++parameter) {
    if ((*parameter)->trainable) context.listener->gradient_ready(**parameter);
  }
}

}  // namespace plumb
