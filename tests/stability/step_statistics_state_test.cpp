// What a step leaves behind for later ones, and what it takes: state, collectives, memory. Runs on one rank
// and on four.
#include <cstring>

#include "allocation_counter.h"
#include "step_statistics_fixture.h"

namespace plumb::test {
namespace {

// A step that is made again was never there: nothing that a later record or a checkpoint holds knows of it.
TEST_F(StepStatisticsTest, ADiscardedStepCountsForNothing) {
  const Data calm{}, wild{.offset = 1e6};
  const auto other = make();
  for (StepStatistics* statistics : {statistics_.get(), other.get()}) {
    run(*statistics, calm, 1, true);
    run(*statistics, calm, 2, false);
    if (statistics != statistics_.get()) continue;
    for (const bool sampled : {true, false}) {
      emit(*statistics, wild, 3, sampled);
      EXPECT_EQ(statistics->discard_step(), 3);
    }
  }
  const std::vector<double> values = run(*statistics_, calm, 3, true).values;
  EXPECT_EQ(
      std::memcmp(values.data(), run(*other, calm, 3, true).values.data(), values.size() * sizeof(double)),
      0);
  const auto state = statistics_->state_tensors(), expected = other->state_tensors();
  for (std::size_t i = 0; i < state.size(); ++i)
    EXPECT_EQ(std::memcmp(state[i].tensor.data, expected[i].tensor.data, state[i].tensor.bytes()), 0)
        << state[i].name;
}

// A host that runs ahead begins a step before the one before it has moved the shift.
TEST_F(StepStatisticsTest, StepsInFlightKeepTheShiftThatTheyBeganWith) {
  const Data data{.offset = 3};
  const auto other = make();
  emit(*statistics_, data, 1, true);
  for (int step = 1; step <= 4; ++step) {
    if (step < 4) emit(*statistics_, data, step + 1, true);
    const StepRecord& ahead = statistics_->finish_step(*stream_, times());
    const StepRecord& alone = run(*other, data, step, true);
    for (std::int64_t probe = 0; probe < kProbes; ++probe)
      for (const char* name : {"feature_kurtosis", "data_variance"})
        expect_near(profile(ahead, probe, name), profile(alone, probe, name), 1e-10, name);
  }
}

TEST_F(StepStatisticsTest, LocalGradientSquaresMayComeFromElsewhere) {
  const auto other = make();
  for (const bool sampled : {false, true}) {
    const std::vector<std::uint64_t> expected = bits(run(*other, Data{}, 1, sampled));
    emit(*statistics_, Data{}, 1, sampled, {}, [&](StepInputs& step) {
      Tensor own = statistics_->gradient_squares_local();
      std::copy_n(own.as<double>(), kTensors, local_);
      std::fill_n(own.as<double>(), kTensors, kNaN);
      step.local_gradient_squares = Tensor(local_, DType::Float64, {kTensors});
    });
    EXPECT_EQ(bits(statistics_->finish_step(*stream_, times())), expected);
  }
}

TEST_F(StepStatisticsTest, OneRanksWishToStopReachesAll) {
  for (const bool wish : {false, true}) {
    statistics_->begin_step(*stream_, Cadence::EveryStep);
    statistics_->read_step(*stream_, inputs(1));
    StepTimes step_times = times();
    step_times.stop_requested = wish && ranks().rank() == ranks().world() - 1;
    EXPECT_EQ(statistics_->finish_step(*stream_, step_times).stop_requested, wish);
  }
}

TEST_F(StepStatisticsTest, AllRanksHoldTheSameRecord) {
  run(*statistics_, Data{.offset = 1e5}, 1, true);
  const StepRecord& record = run(*statistics_, Data{.offset = 1e5}, 2, true);
  std::vector<double> theirs = record.values;
  ranks().broadcast("record of rank 0",
                    Tensor(theirs.data(), DType::Float64, {static_cast<std::int64_t>(theirs.size())}), 0);
  const std::vector<std::uint64_t> mine = bits(record);
  for (std::size_t i = 0; i < mine.size(); ++i) EXPECT_EQ(mine[i], std::bit_cast<std::uint64_t>(theirs[i]));
}

TEST_F(StepStatisticsTest, ARestoredRunLogsTheSameBits) {
  const Data data{.offset = 2e6};
  run(*statistics_, data, 1, true);
  run(*statistics_, data, 2, false);
  statistics_->unify_state();
  std::vector<std::vector<double>> saved;  // rank 0's, as a checkpoint would hold
  for (const auto& state : statistics_->state_tensors()) {
    const Tensor& tensor = state.tensor;
    saved.emplace_back(tensor.as<double>(), tensor.as<double>() + tensor.elements());
    ranks().broadcast("state", Tensor(saved.back().data(), DType::Float64, {tensor.elements()}), 0);
  }
  // A run that never met a checkpoint is what both must equal.
  const auto uninterrupted = make();
  run(*uninterrupted, data, 1, true);
  run(*uninterrupted, data, 2, false);
  const StepRecord& expected = run(*uninterrupted, data, 3, true);
  EXPECT_EQ(bits(run(*statistics_, data, 3, true)), bits(expected));

  const auto restored = make();
  std::size_t next = 0;
  for (const auto& state : restored->state_tensors()) {
    std::copy(saved[next].begin(), saved[next].end(), state.tensor.as<double>());
    ++next;
  }
  restored->state_restored(*stream_);
  const StepRecord& actual = run(*restored, data, 3, true);
  EXPECT_EQ(bits(actual), bits(expected));
  // Without the state the bits differ, so the comparison means something.
  const StepRecord fresh = run(*make(), data, 3, true);  // a copy: its owner goes away
  EXPECT_NE(profiled(fresh, "stream.data_variance")[0], profiled(expected, "stream.data_variance")[0]);
}

/// Passes everything on and counts.
class CountingCommunicator final : public Communicator {
 public:
  explicit CountingCommunicator(Communicator& inner) : inner_(inner) {
    set_ranks(inner.rank(), inner.hosts());
  }
  int all_reduces = 0, all_gathers = 0, others = 0;

  void barrier(std::string_view name) override { ++others, inner_.barrier(name); }
  void reserve(int requests) override { inner_.reserve(requests); }
  bool poll(Request& request) override { return inner_.poll(request); }
  void wait(Request& request) override { inner_.wait(request); }
  void progress() override { inner_.progress(); }
  StallNotes& stall_notes() override { return inner_.stall_notes(); }

 private:
  void do_all_reduce(std::string_view name, const Tensor& tensor, ReduceOp op) override {
    EXPECT_EQ(tensor.dtype, DType::Float64);
    EXPECT_EQ(op, ReduceOp::Sum);
    ++all_reduces;
    inner_.all_reduce(name, tensor, op);
  }
  void do_all_gather(std::string_view name, const Tensor& send, const Tensor& receive) override {
    ++all_gathers;
    inner_.all_gather(name, send, receive);
  }
  void do_reduce_scatter(std::string_view name, const Tensor& send, const Tensor& receive) override {
    ++others, inner_.reduce_scatter(name, send, receive);
  }
  void do_broadcast(std::string_view name, const Tensor& tensor, int root) override {
    ++others, inner_.broadcast(name, tensor, root);
  }
  Request do_start_all_reduce(std::string_view name, const Tensor& tensor) override {
    ++others;
    return inner_.start_all_reduce(name, tensor);
  }
  Communicator& inner_;
};

TEST_F(StepStatisticsTest, AtMostTwoCollectivesPerStep) {
  CountingCommunicator counting(ranks());
  StepStatistics statistics(kShape, all_statistics(), *backend_, counting);
  run(statistics, Data{}, 1, false);
  EXPECT_EQ(counting.all_reduces, 0);
  EXPECT_EQ(counting.all_gathers, 1);
  run(statistics, Data{}, 2, true);
  EXPECT_EQ(counting.all_reduces, 1);
  EXPECT_EQ(counting.all_gathers, 2);
  EXPECT_EQ(counting.others, 0);
}

TEST_F(StepStatisticsTest, FinishTakesNoMemory) {
  run(*statistics_, Data{}, 1, true);
  for (const bool sampled : {false, true}) {
    statistics_->begin_step(*stream_, sampled ? Cadence::Detailed : Cadence::EveryStep);
    const StepInputs step_inputs = inputs(2);
    const std::int64_t before = allocations_of_this_thread();
    statistics_->read_step(*stream_, step_inputs);
    statistics_->finish_step(*stream_, times());
    EXPECT_EQ(allocations_of_this_thread(), before);
    EXPECT_GT(before, 0) << "the counter must count";
  }
}

}  // namespace
}  // namespace plumb::test
