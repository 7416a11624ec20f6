#include "export/csv.h"

#include <gmock/gmock.h>

#include "sample_run.h"

namespace plumb {
namespace {

using plumb::testing::read_bytes;
using plumb::testing::TemporaryFolder;
using ::testing::ElementsAre;
using Row = std::vector<std::string>;

/// Records of RFC 4180, section 2, read character by character.
std::vector<Row> records_of(const std::string& text) {
  std::vector<Row> records(1, Row(1));
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string& field = records.back().back();
    if (quoted) {
      if (text[i] != '"') {
        field += text[i];
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        field += text[++i];
      } else {
        quoted = false;
      }
    } else if (text[i] == '"') {
      EXPECT_TRUE(field.empty()) << "a quote inside an unquoted field";
      quoted = true;
    } else if (text[i] == ',') {
      records.back().emplace_back();
    } else if (text.compare(i, 2, "\r\n") == 0) {
      records.emplace_back(1);
      ++i;
    } else {
      EXPECT_NE(text[i], '\n') << "a line that does not end in CR LF";
      field += text[i];
    }
  }
  EXPECT_EQ(records.back(), Row(1)) << "the last record is not ended";
  records.pop_back();
  for (const Row& record : records) EXPECT_EQ(record.size(), records.front().size());
  return records;
}

class Csv : public ::testing::Test {
 protected:
  void SetUp() override {
    test::write_sample_run(folder_.path() / "run");
    write_csv(read_run_logs(folder_.path() / "run"), folder_.path() / "out");
  }
  std::vector<Row> table(const std::string& name) const {
    return records_of(read_bytes(folder_.path() / "out" / name));
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(Csv, Metrics) {
  EXPECT_THAT(
      table("metrics.csv"),
      ElementsAre(Row{"step", "tokens", "loss", "skipped", "val_loss"}, Row{"1", "64", "2.5", "false", ""},
                  Row{"2", "128", "2.25", "false", ""}, Row{"3", "192", "nan", "true", ""},
                  Row{"4", "256", "0.1", "false", "0.30000000000000004"}));
}

TEST_F(Csv, ProfilesAreLong) {
  const std::vector<Row> rows = table("stability_profiles.csv");
  EXPECT_EQ(rows[0], (Row{"step", "field", "dimension", "index", "name", "value"}));
  EXPECT_THAT(rows, ::testing::IsSupersetOf(
                        {Row{"2", "profiles.stream.rms", "stream", "2", "", "3"},
                         Row{"2", "profiles.stream.max_abs", "stream", "1", "", "inf"},
                         Row{"4", "profiles.branch.rms", "sublayer", "1", "blocks.0.ffn", "8.5"},
                         Row{"4", "attention.max_logit", "sublayer", "0", "blocks.0.attention", "11"},
                         Row{"2", "norms.gain.mean", "norm", "0", "blocks.0.attention.norm_in", "0.75"},
                         Row{"2", "gradient_bottom_top", "", "", "", "0.5"}}));
  // Records of 3 + 3 + 2 values each, one of the ratio, one of a norm, one of attention.
  EXPECT_EQ(rows.size(), 1u + 8 + 8 + 1 + 1 + 1);
}

TEST_F(Csv, Tensors) {
  EXPECT_THAT(table("tensors.csv"),
              ElementsAre(Row{"step", "tensor", "tensors.grad_norm"}, Row{"2", "one", "0.25"},
                          Row{"2", "two, \"quoted\"", "0.5"}, Row{"4", "one", "0.125"},
                          Row{"4", "two, \"quoted\"", "0.75"}));
}

TEST_F(Csv, RanksThatAreGoneHaveNoRows) {
  EXPECT_THAT(table("ranks.csv"),
              ElementsAre(Row{"step", "rank", "loss", "step_seconds"}, Row{"2", "0", "2", "0.5"},
                          Row{"2", "1", "2.5", "0.25"}, Row{"4", "0", "0.1", "0.5"}));
}

TEST_F(Csv, EventsAndFields) {
  EXPECT_THAT(table("events.csv"),
              ElementsAre(Row{"step", "kind", "text", "time"},
                          Row{"4", "checkpoint", "a \"b\",\nc", "2026-01-02T03:04:05Z"}));
  const std::vector<Row> fields = table("fields.csv");
  EXPECT_EQ(fields[0], (Row{"file", "field", "definition", "unit", "source"}));
  EXPECT_THAT(fields, ::testing::Contains(Row{"stability_profiles.csv", "profiles.branch.rms",
                                              "sqrt((1/(M C)) sum x_mi^2)", "activation", "defined here"}));
  EXPECT_THAT(fields, ::testing::Contains(ElementsAre("tensors.csv", "tensors.grad_norm", ::testing::_,
                                                      "loss / parameter", ::testing::_)));
}

TEST(CsvField, IsQuotedWhereItMustBe) {
  EXPECT_EQ(csv_field("plain text"), "plain text");
  EXPECT_EQ(csv_field("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_field("say \"a\""), "\"say \"\"a\"\"\"");
  EXPECT_EQ(csv_field("two\nlines"), "\"two\nlines\"");
  EXPECT_EQ(csv_field(""), "");
}

}  // namespace
}  // namespace plumb
