// What the theory knows of each activation of the FFN.
#pragma once

#include <string_view>
#include <vector>

#include "backend/ops/activation.h"

namespace plumb {

/// How |act(h)|_2 is bounded by |h|_2 for a row h.
enum class ActivationGrowth {
  Linear,   ///< |act(h)| <= |h|, as |f(t)| <= |t| for every t
  Square,   ///< |act(h)| <= |h|^2
  Product,  ///< |act(h)| <= |gate| |up|, as |f(t)| <= |t| on the gate
};

/// A gated activation is f(gate) up; f and its slope are those of the gate.
struct ActivationConstants {
  ActivationKind kind = ActivationKind::Gelu;
  std::string_view name{};
  double (*value)(double t) = nullptr;
  double (*slope)(double t) = nullptr;
  ActivationGrowth growth = ActivationGrowth::Linear;
  double lipschitz = 1;  ///< sup |f'|; infinite where there is none
  std::string_view citation{};
};

const std::vector<ActivationConstants>& activation_constants();
const ActivationConstants& constants_of(ActivationKind kind);

}  // namespace plumb
