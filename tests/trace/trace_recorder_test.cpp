// What the recorder holds of a model's passes and of a communicator's calls.
#include "trace/trace_recorder.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "nn/tiny_model.h"

namespace plumb::test {
namespace {

std::map<std::string, int> counts(const TraceRecorder& recorder, TraceKind kind) {
  std::map<std::string, int> list;
  for (const TraceEvent& event : recorder.events())
    if (event.kind == kind) ++list[event.name.data()];
  return list;
}

/// A pre-norm decoder's pass, by way of an observed backend.
class TracedPass {
 public:
  explicit TracedPass(std::size_t capacity = 4096) : model_(config()), recorder_(backend(), capacity) {}

  TraceRecorder& recorder() { return recorder_; }
  Backend& backend() { return model_.engine().backend(); }
  double run() {
    ObservedBackend observed(backend(), recorder_);
    model_.engine().pass_through(&observed);
    const double loss = model_.forward_backward();
    model_.engine().pass_through(nullptr);
    return loss;
  }

 private:
  static ModelConfig config() {
    ModelConfig config = tiny_config();
    use_placement(config, "pre");
    return config;
  }

  TinyModel model_;
  TraceRecorder recorder_;
};

TEST(TraceRecorder, EveryOpOfAPassHasASpan) {
  TracedPass pass;
  pass.recorder().start();
  pass.recorder().set_step(17);
  pass.run();
  pass.recorder().stop();
  const auto ops = counts(pass.recorder(), TraceKind::Op);
  // 2 blocks of attention (a product in, one out) and FFN (the same).
  EXPECT_EQ(ops.at("linear_forward"), 8);
  EXPECT_EQ(ops.at("linear_backward_weight"), 8);
  EXPECT_EQ(ops.at("linear_backward_input"), 8);
  EXPECT_EQ(ops.at("attention_forward"), 2);
  EXPECT_EQ(ops.at("attention_backward"), 2);
  EXPECT_EQ(ops.at("activation_forward"), 2);
  EXPECT_EQ(ops.at("activation_backward"), 2);
  EXPECT_EQ(ops.at("norm_forward"), 9) << "before every branch, the final one, and what backward makes again";
  EXPECT_EQ(ops.at("norm_backward"), 5);
  EXPECT_EQ(ops.at("residual_forward"), 4);
  EXPECT_EQ(ops.count("residual_backward"), 0u) << "x + z hands its gradient on";
  EXPECT_EQ(ops.at("embedding_forward"), 1);
  EXPECT_EQ(ops.at("embedding_backward"), 1);
  EXPECT_EQ(ops.at("head_loss_forward"), 1);
  EXPECT_EQ(ops.at("head_loss_backward"), 1);
  std::string names;
  for (const auto& [name, count] : ops) names += name + " ";
  EXPECT_EQ(ops.size(), 14u) << "and none that did not run: " << names;
  const auto phases = counts(pass.recorder(), TraceKind::Phase);
  EXPECT_EQ(phases.at("blocks.0.attention"), 2);
  EXPECT_EQ(phases.at("blocks.1.ffn"), 2);
  EXPECT_EQ(phases.at("head and loss"), 2);
  for (const TraceEvent& event : pass.recorder().events()) {
    EXPECT_LE(event.begin, event.end);
    EXPECT_EQ(event.step, 17);
  }
}

TEST(TraceRecorder, ShapesSayHowMuchWorkAnOpIs) {
  TracedPass pass;
  pass.recorder().start();
  pass.run();
  pass.recorder().stop();
  for (const TraceEvent& event : pass.recorder().events()) {
    if (std::string(event.name.data()) != "linear_forward") continue;
    ASSERT_EQ(event.tensors, 2) << "x and the weight";
    EXPECT_EQ(event.arguments[0].shape, (Shape{10, 12})) << "2 sequences of 5 tokens, width 12";
    EXPECT_EQ(event.arguments[1].shape, (Shape{36, 12})) << "queries, keys and values";
    EXPECT_EQ(event.arguments[1].dtype, DType::Float64);
    break;
  }
}

TEST(TraceRecorder, OffItSeesNothingAndChangesNothing) {
  TracedPass off, on;
  on.recorder().start();
  EXPECT_EQ(off.run(), on.run());
  EXPECT_TRUE(off.recorder().events().empty());
  EXPECT_FALSE(on.recorder().events().empty());
}

TEST(TraceRecorder, SpansBeyondItsRoomAreCounted) {
  TracedPass all, some(20);
  for (TracedPass* pass : {&all, &some}) {
    pass->recorder().start();
    pass->run();
    pass->recorder().stop();
  }
  ASSERT_EQ(some.recorder().events().size(), 20u);
  EXPECT_EQ(some.recorder().left_out(), static_cast<std::int64_t>(all.recorder().events().size()) - 20);
  EXPECT_EQ(all.recorder().left_out(), 0);
  for (std::size_t i = 0; i < 20; ++i)
    EXPECT_STREQ(some.recorder().events()[i].name.data(), all.recorder().events()[i].name.data());
}

TEST(TraceRecorder, CollectivesOverlapAndEndInOrder) {
  const auto backend = make_backend("reference");
  TraceRecorder recorder(*backend, 100);
  recorder.start();
  for (std::uint64_t ticket = 5; ticket < 8; ++ticket) {
    recorder.call_began("start_all_reduce", "bucket " + std::to_string(ticket), 100 * ticket);
    recorder.started(ticket);
    recorder.call_ended();
  }
  recorder.finished_before(6);
  recorder.wait_began("bucket 7");
  recorder.finished_before(8);
  recorder.wait_ended();
  recorder.started(8);
  recorder.stop();
  std::vector<TraceEvent> collectives;
  for (const TraceEvent& event : recorder.events())
    if (event.kind == TraceKind::Collective) collectives.push_back(event);
  ASSERT_EQ(collectives.size(), 4u);
  EXPECT_STREQ(collectives[0].name.data(), "bucket 5");
  EXPECT_EQ(collectives[1].bytes, 600);
  EXPECT_STREQ(collectives[2].collective, "start_all_reduce");
  EXPECT_LE(collectives[0].end, collectives[1].end);
  EXPECT_GE(collectives[0].end, collectives[2].begin) << "they overlap";
  EXPECT_STREQ(collectives[3].name.data(), "barrier") << "what no call has named";
  EXPECT_EQ(counts(recorder, TraceKind::Call).size(), 3u);
  EXPECT_EQ(counts(recorder, TraceKind::Wait).at("bucket 7"), 1);
}

TEST(TraceRecorder, CollectivesBeyondThoseThatItCanFollowAreCounted) {
  const auto backend = make_backend("reference");
  TraceRecorder recorder(*backend, 8000);
  recorder.start();
  constexpr std::int64_t kStarted = 3000;
  for (std::int64_t ticket = 1; ticket <= kStarted; ++ticket)
    recorder.started(static_cast<std::uint64_t>(ticket));
  recorder.stop();
  EXPECT_GT(recorder.left_out(), 0) << "it follows all of them: start more";
  EXPECT_EQ(std::ssize(recorder.events()) + recorder.left_out(), kStarted);
}

TEST(TraceRecorder, NamesAreCutNotOverrun) {
  const auto backend = make_backend("reference");
  TraceRecorder recorder(*backend, 4);
  recorder.start();
  const std::string name(200, 'n');
  recorder.entered(name.c_str());
  recorder.left();
  recorder.stop();
  EXPECT_EQ(recorder.events().front().name.data(), name.substr(0, TraceEvent::kNameCharacters));
}

}  // namespace
}  // namespace plumb::test
