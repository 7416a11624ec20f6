// Evaluator: mean loss of a model over a finite source, shared among the ranks.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/communicator.h"
#include "data/sampler.h"
#include "nn/engine.h"

namespace plumb {

class Evaluator {
 public:
  struct Result {
    double loss = 0;            ///< nats per target, mean over all targets, without z-loss
    std::uint64_t targets = 0;  ///< of all ranks
  };

  /// Reserves its batch; evaluate() then does not allocate. All arguments must outlive it.
  Evaluator(Engine& engine, std::shared_ptr<const FiniteSource> source, Communicator& communicator);
  /// The first `sequences` sequences, 0 = all. A collective: every rank gets the same result. Micro-batch m
  /// of the engine's batch size goes to rank m % world, so each sequence is used once whatever the world.
  Result evaluate(std::int64_t sequences);
  /// Device memory taken.
  std::size_t bytes() const { return loss_sums_.bytes(); }

 private:
  Engine& engine_;
  std::shared_ptr<const FiniteSource> source_;
  Communicator& communicator_;
  Batch batch_;
  Buffer loss_sums_;
  Probes probes_;
};

}  // namespace plumb
