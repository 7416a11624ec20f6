// One rank of a training run with a fault planted in it, from outside the engine.
//
//   faulty_run new|resume CONFIG FAULT FIRST LAST RANK [key=value ...]
//
// The data are a cycle of eight tokens, which is soon learnt. FAULT, from step FIRST to step LAST (counted
// from 1, the data of a step being those that a run without roll-backs has in it):
//   none
//   noise   tokens are drawn uniformly, on all ranks
//   astray  the same, and rank RANK, once it has begun, finds nothing at relative paths
//   nan     on rank RANK one entry of what the activation of layer 7's FFN writes is not a number
//   nan-passes   the same, but in the FIRST-th and the LAST-th forward pass of the run alone
//   loss-passes  in these two passes the sum of the loss becomes infinite, and nothing else is wrong
// The run folder is that of the configuration; "resume" goes on from its last checkpoint.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <random>

#include "backend/observed_backend.h"
#include "core/error.h"
#include "distributed/training_run.h"

namespace plumb {
namespace {

struct Fault {
  std::string kind;
  std::int64_t first = 0, last = 0;
  int rank = 0;
};

class Cycle final : public SequenceSource {
 public:
  Cycle(std::int64_t length, std::uint64_t noise_begin, std::uint64_t noise_end)
      : length_(length), noise_begin_(noise_begin), noise_end_(noise_end) {}
  std::string name() const override { return "cycle"; }
  int vocabulary() const override { return kVocabulary; }
  std::int64_t sequence_length() const override { return length_; }
  std::int64_t targets_per_sequence() const override { return length_; }
  void fill(std::uint64_t sequence, std::span<std::int32_t> inputs,
            std::span<std::int32_t> targets) const override {
    std::mt19937_64 random(sequence);
    std::uniform_int_distribution<std::int32_t> token(0, kVocabulary - 1);
    const bool noise = noise_begin_ <= sequence && sequence < noise_end_;
    std::int32_t now = token(random) % 8;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      inputs[i] = now;
      now = noise ? token(random) : (now + 1) % 8;
      targets[i] = now;
    }
  }

 private:
  static constexpr int kVocabulary = 24;
  std::int64_t length_;
  std::uint64_t noise_begin_, noise_end_;
};

/// Spoils what one op has written.
class Spoiler final : public OpObserver {
 public:
  /// `passes`: which ones, counted from 1; none: all.
  Spoiler(Backend& backend, bool loss, std::vector<std::int64_t> passes)
      : backend_(backend), loss_(loss), passes_(std::move(passes)) {}
  void wrote(Stream& stream, const char* op, const char* name, const Tensor& tensor) override {
    if (loss_ ? std::string(name) != "sums"
              : range_ != "blocks.7.ffn" || std::string(op) != "activation_forward")
      return;
    ++pass_;
    if (!passes_.empty() && std::find(passes_.begin(), passes_.end(), pass_) == passes_.end()) return;
    if (loss_) {
      put(stream, tensor.as<double>() + kHeadLossCrossEntropy, std::numeric_limits<double>::infinity());
    } else {
      put(stream, tensor.as<float>() + 3 * tensor.cols() + 5, std::nanf(""));
    }
  }
  void entered(const char* range) override { range_ = range; }
  void left() override { range_.clear(); }

 private:
  template <class T>
  void put(Stream& stream, T* place, T value) {
    backend_.upload(stream, &value, place, sizeof value);
    stream.synchronize();
  }

  Backend& backend_;
  bool loss_;
  std::vector<std::int64_t> passes_;
  std::int64_t pass_ = 0;
  std::string range_;
};

void run(int count, char** values) {
  if (count < 7) fail_input("usage: faulty_run new|resume CONFIG FAULT FIRST LAST RANK [key=value ...]");
  const Fault fault{values[3], std::atoll(values[4]), std::atoll(values[5]), std::atoi(values[6])};
  const std::vector<std::string> overrides(values + 7, values + count);
  Session session;
  const Config config = load_config(session.read_config({values[2]}), overrides, placement_presets()).config;
  const auto first_of_step = [&](std::int64_t step) {
    return fault.kind == "noise" || fault.kind == "astray"
               ? static_cast<std::uint64_t>((step - 1) * config.training.sequences_per_step)
               : 0;
  };
  TrainingRun training(
      session, values[2], overrides,
      [&](LanguageModelTask& task) {
        task.train = std::make_shared<Cycle>(config.model.sequence_length, first_of_step(fault.first),
                                             first_of_step(fault.last + 1));
      },
      values[1] == std::string("resume"));
  const bool loss = fault.kind == "loss-passes", in_passes = loss || fault.kind == "nan-passes";
  if (fault.kind == "nan" || in_passes) {
    if (!in_passes) training.train_to(fault.first - 1);
    Spoiler spoiler(training.backend(), loss,
                    in_passes ? std::vector{fault.first, fault.last} : std::vector<std::int64_t>());
    ObservedBackend spoiled(training.backend(), spoiler);
    if (session.rank() == fault.rank) training.loop().engine().pass_through(&spoiled);
    training.train_to(in_passes ? training.steps() : fault.last);
    training.loop().engine().pass_through(nullptr);
  }
  if (fault.kind == "astray" && session.rank() == fault.rank) std::filesystem::current_path("/");
  training.train_to(training.steps());
}

}  // namespace
}  // namespace plumb

int main(int argc, char** argv) {
  try {
    plumb::run(argc, argv);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "faulty_run: %s\n", error.what());
    return plumb::leave_after_error(1);
  }
}
