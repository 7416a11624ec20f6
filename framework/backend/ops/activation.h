// Activation functions of the FFN, fused with the bias of the matrix before them.
#pragma once

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb {

/// With t = pre + bias:  Gelu t Phi(t) (erf form);  GeluTanh 0.5 t (1 + tanh(sqrt(2/pi)(t + 0.044715 t^3)));
/// Relu max(t,0);  ReluSquared max(t,0)^2;  Silu t sigmoid(t);
/// gated ones take rows [gate | up] of 2F entries: SwiGlu silu(gate) up;  GeGlu gelu(gate) up (erf form).
enum class ActivationKind { Gelu, GeluTanh, Relu, ReluSquared, Silu, SwiGlu, GeGlu };

inline bool is_gated(ActivationKind kind) {
  return kind == ActivationKind::SwiGlu || kind == ActivationKind::GeGlu;
}

struct ActivationForward {
  ActivationKind kind = ActivationKind::Gelu;
  Tensor pre;   ///< (R, F), gated: (R, 2F); compute dtype; the matrix product without its bias
  Tensor bias;  ///< (cols of pre) master dtype; empty = none
  Tensor h;     ///< (R, F) compute dtype; must not overlap pre
};

struct ActivationBackward {
  ActivationKind kind = ActivationKind::Gelu;
  Tensor pre, bias;  ///< as in forward
  Tensor dh;         ///< (R, F)
  Tensor dpre;       ///< (R, cols of pre); may be the same view as pre
  Tensor dbias;      ///< (cols of pre) master dtype, +=; empty = none
  Workspace workspace;
  Tensor h{};  ///< (R, F), made again to the bit of forward; may be the same view as dh; empty = none
};

class ActivationOps {
 public:
  virtual ~ActivationOps() = default;
  virtual void activation_forward(Stream& stream, const ActivationForward& arguments) const = 0;
  virtual void activation_backward(Stream& stream, const ActivationBackward& arguments) const = 0;
  virtual std::size_t activation_backward_workspace(const ActivationBackward& arguments) const = 0;
};

}  // namespace plumb
