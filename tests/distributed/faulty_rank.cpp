// One rank of a training run with a fault planted on one of them.
//
//   faulty_rank CONFIG FAULT RANK STEP [key=value ...]
//
// From step STEP on (counted from 1), on rank RANK:
//   none             nothing
//   noise            its sequences are drawn uniformly
//   scaled-gradient  its gradients are multiplied by 1.5 before the ranks meet
//   flipped-bit      after that step, one bit of one weight of blocks.1's first FFN matrix is another
//   nan              in that step only, one weight of the FFN of layer 7 is not a number
//   slow             every sequence takes 50 ms longer to read
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>

#include "core/error.h"
#include "distributed/training_run.h"

namespace plumb {
namespace {

struct Fault {
  std::string kind;
  int rank = 0;
  std::int64_t step = 1;
};

/// A source that something is wrong with, from a sequence on.
class FaultySource final : public SequenceSource {
 public:
  FaultySource(std::shared_ptr<const SequenceSource> inner, std::uint64_t first, bool is_noise)
      : inner_(std::move(inner)), first_(first), is_noise_(is_noise) {}
  std::string name() const override { return inner_->name(); }
  int vocabulary() const override { return inner_->vocabulary(); }
  std::int64_t sequence_length() const override { return inner_->sequence_length(); }
  std::int64_t targets_per_sequence() const override { return inner_->targets_per_sequence(); }
  void fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
            std::span<std::int32_t> targets) const override {
    inner_->fill(sequence, inputs, targets);
    if (sequence < first_) return;
    if (!is_noise_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      return;
    }
    std::mt19937_64 random(sequence);
    std::uniform_int_distribution<std::int32_t> token(0, vocabulary() - 1);
    for (std::int32_t& input : inputs) input = token(random);
    for (std::int32_t& target : targets) target = token(random);
  }

 private:
  std::shared_ptr<const SequenceSource> inner_;
  std::uint64_t first_;
  bool is_noise_;
};

/// Writes `word` to an element of a fp32 parameter on this rank and returns what was there.
std::uint32_t exchange_word(TrainingRun& run, const std::string& name, std::uint32_t word) {
  Engine& engine = run.loop().engine();
  Parameter* parameter = engine.parameters().find(name);
  PLUMB_CHECK(parameter != nullptr && parameter->value.dtype == DType::Float32, "no fp32 parameter {}", name);
  constexpr std::size_t kElement = 5;
  auto* place = static_cast<char*>(parameter->value.data) + kElement * sizeof(float);
  std::uint32_t before = 0;
  run.backend().download(engine.stream(), place, &before, sizeof(before));
  engine.stream().synchronize();
  run.backend().upload(engine.stream(), &word, place, sizeof(word));
  engine.parameters().refresh_compute(engine.stream());
  engine.stream().synchronize();
  return before;
}

void flip_bit(TrainingRun& run) {
  const std::string name = "blocks.1.ffn.expand.weight";
  const std::uint32_t before = exchange_word(run, name, 0);
  exchange_word(run, name, before ^ 1U << 16);
}

void scale_gradients(TrainingRun& run, Buffer& factor) {
  Engine& engine = run.loop().engine();
  const double scale = 1.5;
  factor = run.backend().allocate(sizeof(scale));
  run.backend().upload(engine.stream(), &scale, factor.data(), sizeof(scale));
  engine.stream().synchronize();
  engine.set_loss_scale(Tensor(factor.data(), DType::Float64, {1}));
}

void train(TrainingRun& run, const Fault& fault, bool is_here) {
  Buffer factor;
  if (fault.kind == "scaled-gradient") {
    run.train_to(fault.step - 1);
    if (is_here) scale_gradients(run, factor);
  } else if (fault.kind == "flipped-bit") {
    run.train_to(fault.step);
    if (is_here) flip_bit(run);
  } else if (fault.kind == "nan") {
    const std::string name = "blocks.7.ffn.expand.weight";
    run.train_to(fault.step - 1);
    const float nan = std::nanf("");
    std::uint32_t word = 0;
    std::memcpy(&word, &nan, sizeof(word));
    const std::uint32_t before = is_here ? exchange_word(run, name, word) : 0;
    run.train_to(fault.step);
    if (is_here) exchange_word(run, name, before);
  }
  run.train_to(run.steps());
}

void run(int count, char** values) {
  if (count < 5) fail_input("usage: faulty_rank CONFIG FAULT RANK STEP [key=value ...]");
  const Fault fault{values[2], std::atoi(values[3]), std::atoll(values[4])};
  Session session;
  const bool is_here = session.communicator().rank() == fault.rank;
  const bool in_source = fault.kind == "noise" || fault.kind == "slow";
  const std::vector<std::string> overrides(values + 5, values + count);
  const LoadedConfig loaded = load_config(session.read_config({values[1]}), overrides, placement_presets());
  const auto first = static_cast<std::uint64_t>((fault.step - 1) * loaded.config.training.sequences_per_step);
  TrainingRun training(session, values[1], overrides, [&](LanguageModelTask& task) {
    if (in_source && is_here)
      task.train = std::make_shared<FaultySource>(task.train, first, fault.kind == "noise");
  });
  train(training, fault, is_here);
}

}  // namespace
}  // namespace plumb

int main(int argc, char** argv) {
  try {
    plumb::run(argc, argv);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "faulty_rank: %s\n", error.what());
    return plumb::leave_after_error(1);
  }
}
