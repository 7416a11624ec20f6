// plumb train --trace and plumb trace, alone and over two ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tiny_run.h"
#include "trace/trace_events.h"

namespace plumb::test {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;

TraceJson trace_of(const Folder& folder) { return TraceJson::parse(read_file(folder / "run/trace.json")); }

std::set<std::int64_t> steps_of(const TraceJson& trace) {
  std::set<std::int64_t> steps;
  for (const TraceJson& event : events_where(trace, "name", "step"))
    steps.insert(event.at("args").at("step").get<std::int64_t>());
  return steps;
}

TEST(Trace, StepsOfOneRank) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome outcome =
      train_tiny(folder, 1, {"--trace", "--set", "checkpoint.every=4", "--set", "device='cpu'"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("trace of steps 3 to 5: " + folder.path().string() + "/run/trace.json"));
  const TraceJson trace = trace_of(folder);
  EXPECT_GT(expect_spans_nest(trace), 100);
  EXPECT_EQ(steps_of(trace), (std::set<std::int64_t>{3, 4, 5}));
  const auto counts = span_counts(trace, 0);
  for (const char* phase :
       {"step", "begin step", "data", "upload batch", "forward", "backward", "reduce gradients", "optimiser",
        "read statistics", "wait for the step", "statistics", "log"})
    EXPECT_EQ(counts.at(phase), 3) << phase;
  EXPECT_EQ(counts.at("checkpoint"), 1) << "after step 4";
  // Peri: norms around every branch of 2 blocks of attention and FFN, and the final one.
  EXPECT_EQ(counts.at("linear_forward"), 3 * 8);
  EXPECT_EQ(counts.at("linear_backward_weight"), 3 * 8);
  EXPECT_EQ(counts.at("attention_forward"), 3 * 2);
  EXPECT_EQ(counts.at("norm_forward"), 3 * (9 + 4)) << "backward norms the sublayers' inputs again";
  EXPECT_EQ(counts.at("adamw"), 3);
  EXPECT_EQ(trace.at("otherData").at("ranks").at(0).at("op_times"),
            "of the calls, which return when the op is done");
}

TEST(Trace, OpsThatAreMadeAgainAreInIt) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome outcome = train_tiny(folder, 1, {"--trace=2", "--set", "compute.recompute='block'"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  const TraceJson trace = trace_of(folder);
  EXPECT_EQ(steps_of(trace), std::set<std::int64_t>{2});
  const auto counts = span_counts(trace, 0);
  EXPECT_EQ(counts.at("recompute"), 1) << "of 2 blocks the last is still there";
  EXPECT_EQ(counts.at("linear_forward"), 8 + 4) << "N_out reads the last product of the block";
}

TEST(Trace, TwoRanksMakeOneFile) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome outcome =
      train_tiny(folder, 2, {"--trace=3-4", "--set", "communication.bucket_megabytes=0.01"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("; all ranks have one clock"));
  const TraceJson trace = trace_of(folder);
  expect_spans_nest(trace);
  EXPECT_EQ(span_counts(trace, 0).at("linear_forward"), 16);
  EXPECT_EQ(span_counts(trace, 1).at("linear_forward"), 16);

  // Both ranks took part in the same collectives, which carry the gradients of every parameter in every step.
  std::map<int, std::map<std::string, int>> names;
  std::map<int, double> bytes;
  for (const TraceJson& event : events_where(trace, "cat", "collective")) {
    if (event.at("ph") != "b") continue;
    ++names[event.at("pid")][event.at("name")];
    if (event.at("args").at("collective") == "start_all_reduce")
      bytes[event.at("pid")] += event.at("args").at("bytes").get<double>();
  }
  ASSERT_EQ(names.size(), 2u);
  EXPECT_EQ(names[0], names[1]);
  EXPECT_EQ(bytes[0], bytes[1]);
  const auto manifest = nlohmann::json::parse(read_file(folder / "run/manifest.json"));
  const double gradients = 2 * 4 * manifest.at("parameters").get<double>();
  EXPECT_GE(bytes[0], gradients);
  EXPECT_LE(bytes[0], 1.1 * gradients) << "padding between tensors";
  EXPECT_EQ(events_where(trace, "cat", "collective").size() % 2, 0u);

  const std::string merged = read_file(folder / "run/trace.json");
  std::filesystem::remove(folder / "run/trace.json");
  const Outcome again = run_plumb(folder, 1, {"trace", folder / "run"});
  ASSERT_EQ(again.status, 0) << again.text();
  EXPECT_THAT(again.out, HasSubstr("trace.json: 2 of 2 ranks"));
  EXPECT_TRUE(read_file(folder / "run/trace.json") == merged);
}

TEST(Trace, CollectivesOfAShardedOptimizerHaveTheirNames) {
  const Folder folder;
  write_tiny_run(folder);
  const Outcome outcome = train_tiny(folder, 2, {"--trace=3", "--set", "optimizer.sharded=true"});
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  std::set<std::string> kinds;
  for (const TraceJson& event : events_where(trace_of(folder), "cat", "collective")) {
    if (event.at("ph") == "b") kinds.insert(event.at("args").at("collective").get<std::string>());
  }
  EXPECT_TRUE(kinds.contains("start_reduce_scatter"));
  EXPECT_TRUE(kinds.contains("start_all_gather"));
  EXPECT_FALSE(kinds.contains("barrier")) << "a step has none";
}

/// Starts rank 1 on a host of another name, whose steady clock is 1000 s ahead.
constexpr const char* kAnotherClock = R"(#!/bin/sh
if [ "$OMPI_COMM_WORLD_RANK" = 1 ]; then
  exec unshare --uts --time --monotonic 1000 --fork sh -c 'hostname other; exec "$@"' sh "$@"
fi
exec "$@"
)";

TEST(Trace, HostsWhoseClocksAreApart) {
  if (std::system("unshare --uts --time --monotonic 1 --fork hostname other 2>/dev/null") != 0) {
    GTEST_SKIP() << "no namespaces for clocks here";
  }
  const Folder folder;
  write_tiny_run(folder);
  write_file(folder / "rank.sh", kAnotherClock);
  std::filesystem::permissions(folder / "rank.sh", std::filesystem::perms::owner_all);
  std::vector<std::string> line = plumb_line(2, {"train", folder / "config.toml", "--trace=3-4"});
  line.insert(std::find(line.begin(), line.end(), "train") - 1, folder / "rank.sh");
  const Outcome outcome = Running(folder, line).wait();
  ASSERT_EQ(outcome.status, 0) << outcome.text();
  EXPECT_THAT(outcome.out, HasSubstr("clocks of ranks agree within"));
  const TraceJson trace = trace_of(folder);
  const TraceJson& part = trace.at("otherData").at("ranks").at(1);
  EXPECT_EQ(part.at("host"), "other");
  for (const char* when : {"clock_at_begin", "clock_at_end"}) {
    const double offset = part.at(when).at("offset_us"), error = part.at(when).at("error_us");
    EXPECT_NEAR(offset, 1e9, error + 1e-3) << when;
    EXPECT_LT(error, 1e6) << when;
    EXPECT_FALSE(part.at(when).at("same_clock_as_rank_0").get<bool>());
  }
}

TEST(Trace, ChangesNothingAndIsNotThereUnasked) {
  const Folder traced, plain;
  for (const Folder* folder : {&traced, &plain}) write_tiny_run(*folder);
  EXPECT_EQ(train_tiny(traced, 1, {"--trace=1-6"}).status, 0);
  EXPECT_EQ(train_tiny(plain, 1).status, 0);
  EXPECT_EQ(read_file(traced / "run/stability.jsonl"), read_file(plain / "run/stability.jsonl"));
  EXPECT_FALSE(std::filesystem::exists(plain / "run/trace.json"));
  EXPECT_FALSE(std::filesystem::exists(plain / "run/trace"));
}

TEST(Trace, WrongStepsAreOneLine) {
  const Folder folder;
  write_tiny_run(folder);
  for (const char* steps : {"x", "5-3", "0", "3-", "-3", "2-4x"}) {
    const Outcome outcome = train_tiny(folder, 1, {std::string("--trace=") + steps});
    EXPECT_EQ(outcome.status, 2) << steps;
    EXPECT_THAT(outcome.error, HasSubstr("is not a range of steps; --trace=3-5 traces steps 3 to 5"));
    EXPECT_EQ(lines_of(outcome.error).size(), 1u) << outcome.error;
  }
  const Outcome late = train_tiny(folder, 1, {"--trace=9"});
  EXPECT_EQ(late.status, 0);
  EXPECT_THAT(late.error, HasSubstr("nothing was traced: the run ended before step 9"));
  const Outcome none = run_plumb(folder, 1, {"trace", folder / "run"});
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.error, HasSubstr("there is no trace in"));
}

}  // namespace
}  // namespace plumb::test
