// The files: parts that are JSON by themselves, joined to one that is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "backend/loader.h"
#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "trace/chrome_trace.h"
#include "trace/merge_traces.h"
#include "trace/trace_events.h"

namespace plumb::test {
namespace {
using ::testing::HasSubstr;

/// Clocks of two ranks that are a second apart at first and a second and 4 us at the end.
ClockOffset offset_of(int rank, bool end) {
  const std::int64_t at = end ? 2'000'000 : 1'000'000, first_at = 5'000'000 + (end ? 1'000'000 : 0);
  return {.offset = rank == 0 ? 0 : at - first_at + (end ? 4000 : 0),
          .error = 300 * rank,
          .at = at,
          .first_at = first_at};
}

TracePart part_of(int rank) {
  ClockOffset begin = offset_of(rank, false), end = offset_of(rank, true);
  if (rank == 0) begin.at = begin.first_at, end.at = end.first_at;
  return {.rank = rank,
          .world = 2,
          .host = "host " + std::to_string(rank),
          .backend = "cpu",
          .begin = begin,
          .end = end};
}

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

class TraceFile : public ::testing::Test {
 protected:
  void write(int rank) {
    TraceRecorder recorder(*backend_, 100);
    recorder.start();
    recorder.set_step(3);
    recorder.entered("a \"quoted\" phase");
    const Tensor x(nullptr, DType::Float32, {4, 7});
    const Tensor* work[] = {&x};
    recorder.began("an_op", work);
    recorder.ended();
    recorder.call_began("all_reduce", "sums", 640);
    recorder.started(1);
    recorder.finished_before(2);
    recorder.call_ended();
    recorder.left();
    recorder.stop();
    write_trace_part(folder_.path(), part_of(rank), recorder);
  }

  testing::TemporaryFolder folder_;
  std::unique_ptr<Backend> backend_ = make_backend("reference");
};

TEST_F(TraceFile, APartIsJsonByItself) {
  write(1);
  const TraceJson trace = TraceJson::parse(text_of(trace_part_path(folder_.path(), 1)));
  EXPECT_EQ(expect_spans_nest(trace), 3);
  EXPECT_EQ(trace.at("otherData").at("clock_at_begin").at("error_us"), 0.3);
  const TraceJson op = events_where(trace, "cat", "op").at(0);
  EXPECT_EQ(op.at("args").at("shapes").at(0), "fp32 (4,7)");
  EXPECT_EQ(op.at("args").at("step"), 3);
  EXPECT_EQ(op.at("pid"), 1);
  const auto collective = events_where(trace, "cat", "collective");
  ASSERT_EQ(collective.size(), 2u);
  EXPECT_EQ(collective[0].at("ph"), "b");
  EXPECT_EQ(collective[1].at("ph"), "e");
  EXPECT_EQ(collective[0].at("id"), collective[1].at("id"));
  EXPECT_EQ(collective[0].at("args").at("bytes"), 640);
}

TEST_F(TraceFile, TwoPartsMakeOneFile) {
  write(0);
  write(1);
  const MergedTrace merged = merge_traces(folder_.path());
  EXPECT_EQ(merged.world, 2);
  EXPECT_TRUE(merged.missing.empty());
  const TraceJson trace = TraceJson::parse(text_of(merged.path));
  EXPECT_EQ(expect_spans_nest(trace), 6);
  EXPECT_EQ(trace.at("otherData").at("ranks").size(), 2u);
  const auto names = events_where(trace, "name", "process_name");
  ASSERT_EQ(names.size(), 2u);
  EXPECT_EQ(names[1].at("args").at("name"), "rank 1 on host 1");
  EXPECT_EQ(events_where(trace, "name", "an_op").size(), 2u);
}

// 1.5 ms on rank 1's clock is halfway between the measurements, where the offset has grown by 2 us.
TEST_F(TraceFile, TimesAreThoseOfRank0) {
  const TracePart part = part_of(1);
  TraceRecorder recorder(*backend_, 1);
  recorder.start();
  recorder.entered("now");
  recorder.left();
  recorder.stop();
  write_trace_part(folder_.path(), part, recorder);
  const TraceEvent& event = recorder.events().front();
  const double begin = static_cast<double>(event.begin);
  const double share = (begin - 1e6) / 1e6, offset = -4e6 + share * 4000;
  const TraceJson trace = TraceJson::parse(text_of(trace_part_path(folder_.path(), 1)));
  const double expected = (begin - offset - 5e6) / 1000;
  EXPECT_NEAR(events_where(trace, "ph", "X").at(0).at("ts").get<double>(), expected,
              1e-3 + 1e-12 * std::abs(expected));
}

TEST_F(TraceFile, WhatIsMissingIsNamed) {
  EXPECT_THAT(
      [&] { merge_traces(folder_.path()); },
      ::testing::ThrowsMessage<InputError>(HasSubstr("rank_00000.json' is missing; `plumb train --trace`")));
  write(0);
  EXPECT_EQ(merge_traces(folder_.path()).missing, std::vector<int>{1});
  write(1);
  const std::filesystem::path torn = trace_part_path(folder_.path(), 1);
  std::filesystem::resize_file(torn, std::filesystem::file_size(torn) - 3);
  EXPECT_THAT(
      [&] { merge_traces(folder_.path()); },
      ::testing::ThrowsMessage<InputError>(HasSubstr("rank_00001.json' is no whole part of a trace")));
}

TEST_F(TraceFile, PartsOfTwoTracesDoNotMix) {
  write(0);
  TraceRecorder recorder(*backend_, 1);
  TracePart part = part_of(1);
  part.begin.first_at += 1;
  write_trace_part(folder_.path(), part, recorder);
  EXPECT_THAT([&] { merge_traces(folder_.path()); },
              ::testing::ThrowsMessage<InputError>(HasSubstr("is of another trace than")));
}

}  // namespace
}  // namespace plumb::test
