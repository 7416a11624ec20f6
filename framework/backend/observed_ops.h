// Observed: a family of ops, all of whose calls an observer is told of. Only observed_backend.cpp and the
// other observed_*.h use it.
#pragma once

#include <initializer_list>

#include "backend/observed_backend.h"

namespace plumb {

struct Written {
  const char* name;
  const Tensor& tensor;
};

/// Around the call of an op.
class ObservedOp {
 public:
  ObservedOp(OpObserver& observer, const char* op, std::initializer_list<const Tensor*> work)
      : observer_(observer) {
    observer_.began(op, work);
  }
  ~ObservedOp() { observer_.ended(); }
  ObservedOp(const ObservedOp&) = delete;
  ObservedOp& operator=(const ObservedOp&) = delete;

 private:
  OpObserver& observer_;
};

template <class Ops>
class Observed : public Ops {
 public:
  Observed(const Ops& inner, OpObserver& observer) : inner_(inner), observer_(observer) {}

 protected:
  void tell(Stream& stream, const char* op, std::initializer_list<Written> list) const {
    for (const Written& written : list)
      if (written.tensor.defined()) observer_.wrote(stream, op, written.name, written.tensor);
  }
  void tell(Stream& stream, const char* op, const char* name, const CoefficientGradient& gradient) const {
    tell(stream, op, {{name, gradient.feature}});
  }

  const Ops& inner_;
  OpObserver& observer_;
};

}  // namespace plumb
