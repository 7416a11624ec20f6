// plumb eval: loss of a checkpoint on a split. Under mpirun the ranks share the split.
#include <fmt/format.h>

#include "checkpointed_model.h"
#include "commands.h"
#include "core/error.h"
#include "evaluator.h"
#include "lm_task.h"
#include "session.h"

namespace plumb {

int run_eval(const EvalOptions& options) {
  Session session;
  CheckpointedModel model;
  std::shared_ptr<const FiniteSource> source;
  double bytes_per_target = 0;
  const bool ready = session.all_succeed([&] {
    model = load_checkpointed_model(options.checkpoint, options.device, options.dtype, /*batch=*/8,
                                    session.default_thread_count());
    source = open_split(model.config, options.split, model.engine->model().vocabulary());
    bytes_per_target = model.config.data.kind == "tokens" && model.config.data.tokenizer == "byte" ? 1 : 0;
  });
  if (!ready) return 2;
  Evaluator evaluator(*model.engine, source, session.communicator());
  const Evaluator::Result result = evaluator.evaluate(options.sequences);
  if (session.is_first()) {
    fmt::print(
        "checkpoint     {} (step {})\ncomputed in    {} on {}\nsplit          {}\ntargets        {}\n"
        "loss           {:.6f} nats per target\n",
        model.path.string(), model.manifest.step, name_of(model.engine->model().shape().compute),
        model.backend->name(), source->name(), result.targets, result.loss);
    if (bytes_per_target > 0) {
      fmt::print("bits per byte  {:.4f}\n", bits_per_byte(result.loss, bytes_per_target));
    }
  }
  return 0;
}

}  // namespace plumb
