// Event files, read by a reader of their own: frames by a bit-wise CRC, messages by the wire format of
// Protocol Buffers (https://protobuf.dev/programming-guides/encoding).
#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <ctime>
#include <map>

#include "checkpoint/temporary_folder.h"
#include "export/event_file.h"
#include "export/record_frame.h"
#include "export/tensorboard_log.h"
#include "stability/run_log.h"
#include "stability/sample_record.h"

namespace plumb {
namespace {

using plumb::testing::read_bytes;
using plumb::testing::TemporaryFolder;
using plumb::testing::write_bytes;

/// The remainder of the message times x^32 by 0x11EDC6F41, bit by bit, lowest bit of a byte first; then
/// rotated and shifted as TFRecord masks it.
std::uint32_t masked_crc(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      const bool feedback =
          ((crc ^ static_cast<std::uint32_t>(static_cast<unsigned char>(byte)) >> bit) & 1) != 0;
      crc >>= 1;
      if (feedback) crc ^= 0x82F63B78;
    }
  }
  crc ^= 0xFFFFFFFF;
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8;
}

template <class T>
T little_endian(const std::string& bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

/// The whole records of a file; what is torn off at its end is passed over.
std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> records;
  for (std::size_t at = 0; at + 16 <= file.size();) {
    const auto length = little_endian<std::uint64_t>(file, at);
    EXPECT_EQ(little_endian<std::uint32_t>(file, at + 8), masked_crc(file.substr(at, 8)));
    if (at + 16 + length > file.size()) break;
    records.push_back(file.substr(at + 12, length));
    EXPECT_EQ(little_endian<std::uint32_t>(file, at + 12 + length), masked_crc(records.back()));
    at += 16 + length;
  }
  return records;
}

/// Fields of one message by number; numbers as their bits, strings and messages as bytes.
struct Message {
  std::multimap<int, std::uint64_t> numbers;
  std::multimap<int, std::string> texts;

  explicit Message(const std::string& bytes) {
    for (std::size_t at = 0; at < bytes.size();) {
      const std::uint64_t key = varint(bytes, at);
      const int field = static_cast<int>(key >> 3);
      switch (key & 7) {
        case 0:
          numbers.emplace(field, varint(bytes, at));
          break;
        case 1:
          numbers.emplace(field, little_endian<std::uint64_t>(bytes, at));
          at += 8;
          break;
        case 2: {
          const std::uint64_t length = varint(bytes, at);
          texts.emplace(field, bytes.substr(at, length));
          at += length;
          break;
        }
        case 5:
          numbers.emplace(field, little_endian<std::uint32_t>(bytes, at));
          at += 4;
          break;
        default:
          ADD_FAILURE() << "wire type " << (key & 7);
          return;
      }
    }
  }

  static std::uint64_t varint(const std::string& bytes, std::size_t& at) {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes.at(at++));
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) break;
    }
    return value;
  }

  std::uint64_t number(int field) const { return numbers.contains(field) ? numbers.find(field)->second : 0; }
  std::string text(int field) const { return texts.contains(field) ? texts.find(field)->second : ""; }
};

// Of event.proto: wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7. Of summary.proto:
// value = 1; in a value tag = 1, simple_value = 2, metadata = 9; in metadata plugin_data = 1 (in which
// plugin_name = 1), summary_description = 3.
struct Scalar {
  std::int64_t step;
  std::string tag;
  float value;
  std::string description;
};

std::vector<Message> events_of(const std::filesystem::path& file) {
  std::vector<Message> events;
  for (const std::string& record : records_of(read_bytes(file))) events.emplace_back(record);
  return events;
}

std::vector<Scalar> scalars_of(const std::filesystem::path& file) {
  std::vector<Scalar> scalars;
  for (const Message& event : events_of(file)) {
    const Message summary(event.text(5));
    const auto [first, last] = summary.texts.equal_range(1);
    for (auto entry = first; entry != last; ++entry) {
      const Message value(entry->second);
      EXPECT_TRUE(value.numbers.contains(2)) << value.text(1) << " has no value, which is not the same as 0";
      if (!value.text(9).empty()) {
        EXPECT_EQ(Message(Message(value.text(9)).text(1)).text(1), "scalars");
      }
      scalars.push_back({static_cast<std::int64_t>(event.number(2)), value.text(1),
                         std::bit_cast<float>(static_cast<std::uint32_t>(value.number(2))),
                         Message(value.text(9)).text(3)});
    }
  }
  return scalars;
}

std::vector<std::filesystem::path> files_of(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// RFC 3720, appendix B.4, and the check value that catalogues of CRCs give.
TEST(Crc32c, KnownValues) {
  std::string rising;
  for (char byte = 0; byte < 32; ++byte) rising += byte;
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  EXPECT_EQ(crc32c(rising), 0x46DD794Eu);
  EXPECT_EQ(crc32c(std::string(rising.rbegin(), rising.rend())), 0x113FDB5Cu);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(EventFile, EventsAreReadable) {
  const TemporaryFolder folder;
  EventFile file(folder.path() / "tensorboard", std::nullopt);
  const std::vector<EventScalar> scalars = {{"a", 1.5, "what a is"}, {"b", -0.25, "what b is"}};
  file.add(7, scalars);
  file.add(300, std::span(scalars).first(1));
  // Not closed, not flushed: a reader sees a run while it trains.
  EXPECT_THAT(file.path().filename().string(), ::testing::StartsWith("events.out.tfevents."));
  const std::vector<Message> events = events_of(file.path());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].text(3), "brain.Event:2");
  const double wall_time = std::bit_cast<double>(events[1].number(1));
  EXPECT_NEAR(wall_time, static_cast<double>(std::time(nullptr)), 100);
  const std::vector<Scalar> found = scalars_of(file.path());
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].step, 7);
  EXPECT_EQ(found[0].tag, "a");
  EXPECT_EQ(found[0].value, 1.5F);
  EXPECT_EQ(found[0].description, "what a is");
  EXPECT_EQ(found[1].value, -0.25F);
  EXPECT_EQ(found[2].step, 300);
  EXPECT_EQ(found[2].tag, "a");
  EXPECT_EQ(found[2].description, "") << "once per file is enough";
}

TEST(EventFile, AZeroIsAValue) {
  const TemporaryFolder folder;
  EventFile file(folder.path(), std::nullopt);
  const std::vector<EventScalar> scalars = {{"overflows", 0, "how many"}};
  file.add(1, scalars);
  const std::vector<Scalar> found = scalars_of(file.path());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].value, 0.0F);
}

TEST(EventFile, OneCutAnywhereHoldsItsWholeEvents) {
  const TemporaryFolder folder;
  EventFile file(folder.path(), std::nullopt);
  std::vector<std::size_t> ends = {std::filesystem::file_size(file.path())};
  for (std::int64_t step = 1; step <= 3; ++step) {
    const std::vector<EventScalar> scalars = {{"a", static_cast<double>(step), ""}};
    file.add(step, scalars);
    ends.push_back(std::filesystem::file_size(file.path()));
  }
  const std::string whole = read_bytes(file.path());
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    const auto expected =
        std::count_if(ends.begin(), ends.end(), [&](std::size_t end) { return end <= size; });
    EXPECT_EQ(records_of(whole.substr(0, size)).size(), static_cast<std::size_t>(expected)) << size;
  }
}

TEST(EventFile, AResumedRunVoidsWhatItWritesAgain) {
  const TemporaryFolder folder;
  std::vector<std::filesystem::path> paths;
  for (const auto& first_step : {std::optional<std::int64_t>(), std::optional<std::int64_t>(4)}) {
    const EventFile file(folder.path(), first_step);
    paths.push_back(file.path());
  }
  // TensorBoard takes the files in this order, even if both are of one second.
  EXPECT_EQ(files_of(folder.path()), paths);
  const std::vector<Message> events = events_of(paths[1]);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].text(3), "brain.Event:2");
  EXPECT_EQ(events[1].number(2), 4u);
  EXPECT_EQ(Message(events[1].text(7)).number(1), 1u) << "SessionLog.START";
  // The same for a run that goes back while it writes.
  EventFile back(folder.path(), std::nullopt);
  back.restart(7);
  const Message restarted = events_of(back.path()).back();
  EXPECT_EQ(restarted.number(2), 7u);
  EXPECT_EQ(Message(restarted.text(7)).number(1), 1u) << "SessionLog.START";
  // A file from a clock that was ahead.
  write_bytes(folder.path() / "events.out.tfevents.4000000000.host.1", "");
  const EventFile later(folder.path(), std::nullopt);
  EXPECT_EQ(files_of(folder.path()).back(), later.path());
}

class TensorboardLogOfASample : public ::testing::Test {
 protected:
  /// By tag, of one record.
  std::map<std::string, Scalar> write(const StepRecord& record) {
    TensorboardLog(folder_.path(), std::nullopt, *record.layout).append(record);
    std::map<std::string, Scalar> by_tag;
    for (const Scalar& scalar : scalars_of(files_of(folder_.path()).back()))
      by_tag.emplace(scalar.tag, scalar);
    return by_tag;
  }
  TemporaryFolder folder_;
};

TEST_F(TensorboardLogOfASample, ScalarsAreThoseOfTheRecord) {
  StepRecord record = test::sample_record(12, 2);
  const auto scalars = write(record);
  for (const RecordField& field : record.layout->fields()) {
    if (field.statistic->file != log_file::kMetrics || field.path == "step") continue;
    const double value = record.of(field)[0];
    const auto found = scalars.find("metrics/" + field.path);
    if (is_absent(value)) {
      EXPECT_EQ(found, scalars.end()) << field.path;
      continue;
    }
    ASSERT_NE(found, scalars.end()) << field.path;
    EXPECT_EQ(found->second.value, static_cast<float>(value)) << field.path;
    EXPECT_EQ(found->second.step, 12);
  }
  EXPECT_THAT(scalars.at("metrics/grad_norm").description,
              ::testing::HasSubstr("2-norm of the whole reduced"));
  EXPECT_THAT(scalars.at("metrics/grad_norm").description, ::testing::HasSubstr("loss / parameter"));
}

TEST_F(TensorboardLogOfASample, ProfilesAreShownWhereItMatters) {
  StepRecord record = test::sample_record(12, 1);
  const auto values = [&](const char* path) { return test::values_of(record, log_file::kStability, path); };
  test::set(record, log_file::kStability, "profiles.stream.max_abs", 1, 1000);
  test::set(record, log_file::kStability, "attention.max_logit", 0, kAbsent);
  test::set(record, log_file::kStability, "attention.max_logit", 1, 3);
  test::set(record, log_file::kStability, "attention.normalised_entropy.min", 1, 0.0625);
  test::set(record, log_file::kStability, "tensors.grad_norm", 1, std::nan(""));
  for (std::size_t tensor = 0; tensor < 3; ++tensor)
    test::set(record, log_file::kStability, "tensors.update_ratio", tensor, kAbsent);
  const auto scalars = write(record);
  const auto value = [&](const std::string& tag) { return scalars.at("stability/" + tag).value; };
  EXPECT_EQ(value("profiles_stream_mean_abs_last"),
            static_cast<float>(values("profiles.stream.mean_abs").back()));
  EXPECT_EQ(value("profiles_stream_gradient_norm_first"),
            static_cast<float>(values("profiles.stream.gradient_norm").front()));
  EXPECT_EQ(value("profiles_stream_max_abs_max"), 1000);
  EXPECT_EQ(value("attention_max_logit_max"), 3) << "an absent entry is none";
  EXPECT_EQ(value("attention_normalised_entropy_min_min"), 0.0625F);
  EXPECT_TRUE(std::isnan(value("tensors_grad_norm_max"))) << "a NaN is not lost";
  EXPECT_EQ(value("gradient_bottom_top"), static_cast<float>(values("gradient_bottom_top")[0]));
  EXPECT_FALSE(scalars.contains("stability/tensors_update_ratio_max")) << "there is none";
}

TEST_F(TensorboardLogOfASample, AnUnsampledStepHasNoProfiles) {
  StepRecord record = test::sample_record(3, 1);
  record.sampled = false;
  const auto scalars = write(record);
  EXPECT_TRUE(scalars.contains("metrics/loss"));
  for (const auto& [tag, scalar] : scalars) EXPECT_THAT(tag, ::testing::StartsWith("metrics/"));
}

TEST(RunLog, HandsEveryRecordToTheSink) {
  const TemporaryFolder folder;
  const auto layout = test::sample_layout(1);
  const auto sink = std::make_shared<TensorboardLog>(folder.path() / "tensorboard", std::nullopt, *layout);
  RunLog log(folder.path(), {.layout = layout,
                             .tensor_names = {"a", "b", "c"},
                             .norm_names = {"norm"},
                             .sublayer_names = {"first", "second"},
                             .ranks_every = 0,
                             .also = sink});
  for (std::int64_t step = 1; step <= 20; ++step) log.append(test::sample_record(step, 1));
  log.flush();
  std::vector<std::int64_t> steps;
  for (const Scalar& scalar : scalars_of(files_of(folder.path() / "tensorboard").front())) {
    if (scalar.tag == "metrics/loss") steps.push_back(scalar.step);
  }
  EXPECT_EQ(steps.size(), 20u);
  EXPECT_TRUE(std::is_sorted(steps.begin(), steps.end()));
}

}  // namespace
}  // namespace plumb
