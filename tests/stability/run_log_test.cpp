#include "stability/run_log.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "allocation_counter.h"
#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "sample_record.h"
#include "stability/absent.h"

namespace plumb {
namespace {

using nlohmann::json;
using plumb::testing::input_error_of;
using plumb::testing::read_bytes;
using plumb::testing::TemporaryFolder;
using plumb::testing::write_bytes;
using test::allocations_of_this_thread;
using test::sample_record;
using test::values_of;

RunLogSettings settings(int world) {
  return {.layout = test::sample_layout(world),
          .tensor_names = {"head", "middle", "tail"},
          .norm_names = {"norm"},
          .sublayer_names = {"first", "second"},
          .ranks_every = 2};
}

std::vector<json> records_of(const std::filesystem::path& file) {
  std::vector<json> records;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) records.push_back(json::parse(line));
  return records;
}

TEST(RunLog, ALogOfOtherTensorsIsNotContinued) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "stability.jsonl";
  EXPECT_NO_THROW(check_log_header(folder.path(), settings(1)));
  RunLog(folder.path(), settings(1)).close();
  EXPECT_NO_THROW(check_log_header(folder.path(), settings(2)));
  RunLogSettings other = settings(1);
  other.tensor_names[1] = "another";
  EXPECT_THAT(input_error_of([&] { check_log_header(folder.path(), other); }),
              ::testing::AllOf(::testing::HasSubstr(file.string()), ::testing::HasSubstr("run.dir"),
                               ::testing::Not(::testing::HasSubstr("\n"))));
  other = settings(1);
  other.sublayer_names.push_back("third");
  EXPECT_NE(input_error_of([&] { check_log_header(folder.path(), other); }), "");
  write_bytes(file, read_bytes(file).substr(0, 20));
  EXPECT_NO_THROW(check_log_header(folder.path(), other)) << "a torn header";
}

TEST(RunLog, EveryValueReadsBackToTheSameBits) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), settings(2));
  for (std::int64_t step = 1; step <= 4; ++step) {
    StepRecord record = sample_record(step, 2);
    record.sampled = step % 4 == 0;
    if (step == 3) record.set("val_loss", 0.1 + 0.2);
    log.append(record);
  }
  log.event("checkpoint", 4, "saved \"step_00000004\"");
  log.event("rank_gradient", 4, "it differs",
            {.ranks = {2, 5},
             .hosts = {"a", "b"},
             .tensor = "blocks.1.ffn.expand.weight",
             .first_sequence = 0,
             .sequences = 6});
  log.event("stop", 4, "");
  log.close();

  const auto metrics = records_of(folder.path() / "metrics.jsonl");
  ASSERT_EQ(metrics.size(), 4U);
  EXPECT_EQ(metrics[1]["step"], 2);
  EXPECT_EQ(metrics[1]["loss"].get<double>(), 2.0 / 3.0 + 2);
  EXPECT_EQ(metrics[1]["lr"].get<double>(), sample_record(2, 2).of(log_file::kMetrics, "lr")[0]);
  EXPECT_TRUE(metrics[1]["tokens"].is_number_integer());
  EXPECT_EQ(metrics[1]["skipped"], false);
  EXPECT_FALSE(metrics[1].contains("val_loss"));
  EXPECT_EQ(metrics[2]["val_loss"].get<double>(), 0.1 + 0.2);

  const auto stability = records_of(folder.path() / "stability.jsonl");
  ASSERT_EQ(stability.size(), 2U);
  EXPECT_EQ(stability[0]["tensors"], (json{"head", "middle", "tail"}));
  EXPECT_EQ(stability[0]["sublayers"], (json{"first", "second"}));
  const StepRecord last = sample_record(4, 2);
  EXPECT_EQ(stability[1]["profiles"]["stream"]["data_variance"].get<std::vector<double>>(),
            values_of(last, log_file::kStability, "profiles.stream.data_variance"));
  EXPECT_EQ(stability[1]["profiles"]["branch"]["interval_max"]["max_abs"].get<std::vector<double>>(),
            values_of(last, log_file::kStability, "profiles.branch.interval_max.max_abs"));
  EXPECT_EQ(stability[1]["tensors"]["grad_norm_local"]["std"].get<std::vector<double>>(),
            values_of(last, log_file::kStability, "tensors.grad_norm_local.std"));
  EXPECT_TRUE(stability[1]["tensors"]["grad_norm_local"]["argmax_rank"][0].is_number_integer());

  const auto ranks = records_of(folder.path() / "ranks.jsonl");
  ASSERT_EQ(ranks.size(), 2U) << "every second step";
  EXPECT_EQ(ranks[0]["step"], 2);
  EXPECT_EQ(ranks[0]["grad_norm"].get<std::vector<double>>(), values_of(last, log_file::kRanks, "grad_norm"));

  const auto events = records_of(folder.path() / "events.jsonl");
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0]["kind"], "checkpoint");
  EXPECT_EQ(events[0]["text"], "saved \"step_00000004\"");
  EXPECT_EQ(events[1]["ranks"], (json{2, 5}));
  EXPECT_EQ(events[1]["hosts"], (json{"a", "b"}));
  EXPECT_EQ(events[1]["tensor"], "blocks.1.ffn.expand.weight");
  EXPECT_EQ(events[1]["first_sequence"], 0);
  EXPECT_EQ(events[1]["sequences"], 6);
  for (const char* name : {"ranks", "hosts", "tensor", "first_sequence", "sequences"})
    EXPECT_TRUE(!events[0].contains(name) && !events[2].contains(name)) << name;
}

TEST(RunLog, WhatIsNotFiniteIsNullAndNamed) {
  const TemporaryFolder folder;
  StepRecord record = sample_record(2, 2);
  const auto spoil = [&](std::string_view file, std::string_view path, std::size_t entry, double value) {
    test::set(record, file, path, entry, value);
  };
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  spoil(log_file::kMetrics, "loss", 0, nan);
  spoil(log_file::kMetrics, "max_logit", 0, -infinity);
  spoil(log_file::kStability, "profiles.stream.mean_abs", 1, infinity);
  spoil(log_file::kStability, "tensors.grad_norm_local.max", 2, nan);
  spoil(log_file::kStability, "tensors.update_ratio", 0, kAbsent);  // null, but no report
  spoil(log_file::kRanks, "loss", 1, nan);
  {
    RunLog log(folder.path(), settings(2));
    log.append(record);
    log.close();
  }
  const json metrics = records_of(folder.path() / "metrics.jsonl").at(0);
  EXPECT_TRUE(metrics["loss"].is_null());
  EXPECT_EQ(metrics["nonfinite"],
            (json{{{"path", "loss"}, {"kind", "nan"}}, {{"path", "max_logit"}, {"kind", "-inf"}}}));
  const json stability = records_of(folder.path() / "stability.jsonl").at(1);
  EXPECT_TRUE(stability["profiles"]["stream"]["mean_abs"][1].is_null());
  EXPECT_TRUE(stability["tensors"]["update_ratio"][0].is_null());
  EXPECT_EQ(stability["nonfinite"], (json{{{"path", "profiles.stream.mean_abs[1]"}, {"kind", "inf"}},
                                          {{"path", "tensors.grad_norm_local.max[2]"}, {"kind", "nan"}}}));
  const json ranks = records_of(folder.path() / "ranks.jsonl").at(0);
  EXPECT_EQ(ranks["nonfinite"], (json::array({{{"path", "loss[1]"}, {"kind", "nan"}}})));
}

TEST(RunLog, OneRankHasNoSpread) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), settings(1));
  log.append(sample_record(2, 1));
  log.close();
  const json record = records_of(folder.path() / "stability.jsonl").at(1);
  EXPECT_TRUE(record["tensors"].contains("grad_norm"));
  EXPECT_FALSE(record["tensors"].contains("grad_norm_local"));
}

TEST(RunLog, WhatDoesNotExistIsLeftOut) {
  const TemporaryFolder folder;
  StepRecord record = sample_record(2, 1);
  for (std::size_t k = 0; k < 2; ++k)
    test::set(record, log_file::kStability, "profiles.branch.rms", k, kAbsent);
  test::set(record, log_file::kStability, "profiles.stream.rms", 1, kAbsent);
  test::set(record, log_file::kMetrics, "log_z", 0, kAbsent);
  RunLog log(folder.path(), settings(1));
  log.append(record);
  log.close();
  const json stability = records_of(folder.path() / "stability.jsonl").at(1);
  EXPECT_FALSE(stability["profiles"]["branch"].contains("rms"));
  EXPECT_TRUE(stability["profiles"]["stream"]["rms"][1].is_null());
  EXPECT_TRUE(stability["profiles"]["stream"]["rms"][2].is_number());
  EXPECT_FALSE(stability.contains("nonfinite"));
  EXPECT_FALSE(records_of(folder.path() / "metrics.jsonl").at(0).contains("log_z"));
}

TEST(RunLog, AnInterruptedLogEqualsAnUninterruptedOne) {
  const TemporaryFolder folder;
  const auto whole = folder.path() / "whole", broken = folder.path() / "broken";
  const auto write = [](const std::filesystem::path& run, std::int64_t first, std::int64_t last) {
    RunLog log(run, settings(3));
    for (std::int64_t step = first; step <= last; ++step) {
      StepRecord record = sample_record(step, 3);
      record.sampled = step % 3 == 0;
      log.append(record);
    }
    log.close();
  };
  open_run_directory(whole, {}, "config", "manifest");
  write(whole, 1, 12);
  open_run_directory(broken, {}, "config", "manifest");
  write(broken, 1, 9);
  // Killed in the middle of a line, 3 steps after the checkpoint of step 6.
  const std::string metrics = read_bytes(broken / "metrics.jsonl");
  write_bytes(broken / "metrics.jsonl", metrics.substr(0, metrics.size() - 20));
  open_run_directory(broken, {.resume_step = 6}, "config", "manifest");
  write(broken, 7, 12);
  for (const char* name : {"metrics.jsonl", "stability.jsonl", "ranks.jsonl"}) {
    EXPECT_EQ(read_bytes(broken / name), read_bytes(whole / name)) << name;
  }
}

TEST(RunLog, FlushMakesEverythingVisible) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), settings(2));
  for (std::int64_t step = 1; step <= 100; ++step)
    log.append(sample_record(step, 2));  // more than the queue holds
  log.flush();
  const auto records = records_of(folder.path() / "metrics.jsonl");
  ASSERT_EQ(records.size(), 100U);
  for (std::size_t i = 0; i < records.size(); ++i) EXPECT_EQ(records[i]["step"], i + 1);
}

TEST(RunLog, AppendTakesNoMemory) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), settings(2));
  const StepRecord record = sample_record(2, 2);
  const std::string text(100, 'x');
  const std::int64_t before = allocations_of_this_thread();
  static_assert(RunLog::kQueue >= 2 * 6);  // a full queue would say so, which is not counted here
  for (int i = 0; i < 6; ++i) {
    log.append(record);
    log.event("checkpoint", 2, text);
  }
  EXPECT_EQ(allocations_of_this_thread(), before);
  EXPECT_GT(before, 0) << "the counter must count";
}

TEST(RunLog, AFullDiskIsReportedByTheNextCall) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "needs /dev/full";
  const TemporaryFolder folder;
  std::filesystem::create_symlink("/dev/full", folder.path() / "metrics.jsonl");
  RunLog log(folder.path(), settings(2));
  log.append(sample_record(1, 2));
  try {
    log.flush();
    FAIL() << "a lost record went unnoticed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("metrics.jsonl"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("No space left"));
  }
}

TEST(RunLog, AFolderThatIsNotThere) {
  const std::string message = input_error_of([] { const RunLog log("/proc/plumb_run", settings(2)); });
  EXPECT_THAT(message, ::testing::HasSubstr("/proc/plumb_run/metrics.jsonl"));
}

}  // namespace
}  // namespace plumb
