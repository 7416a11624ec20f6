// What write_netcdf wrote, read back through the C library.
#include "export/netcdf.h"

#include <gmock/gmock.h>
#include <netcdf.h>

#include <cmath>

#include "sample_run.h"

namespace plumb {
namespace {

using plumb::testing::TemporaryFolder;
using ::testing::ElementsAre;

/// Every call must succeed.
void expect_success(int status) { EXPECT_EQ(status, NC_NOERR) << nc_strerror(status); }

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) {
    expect_success(nc_open(file.c_str(), NC_NOWRITE, &id_));
  }
  ~Reader() { nc_close(id_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  int variable(const char* name) const {
    int variable = -1;
    const int status = nc_inq_varid(id_, name, &variable);
    EXPECT_EQ(status, NC_NOERR) << name << ": " << nc_strerror(status);
    return variable;
  }
  bool has(const char* name) const {
    int variable = -1;
    return nc_inq_varid(id_, name, &variable) == NC_NOERR;
  }
  std::size_t length(const char* dimension) const {
    int id = -1;
    std::size_t length = 0;
    expect_success(nc_inq_dimid(id_, dimension, &id));
    expect_success(nc_inq_dimlen(id_, id, &length));
    return length;
  }
  std::vector<std::string> dimensions(const char* name) const {
    int count = 0, ids[NC_MAX_VAR_DIMS];
    expect_success(nc_inq_varndims(id_, variable(name), &count));
    expect_success(nc_inq_vardimid(id_, variable(name), ids));
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i) {
      char text[NC_MAX_NAME + 1];
      expect_success(nc_inq_dimname(id_, ids[i], text));
      names.emplace_back(text);
    }
    return names;
  }
  std::vector<double> numbers(const char* name) const {
    std::size_t size = 1;
    for (const std::string& dimension : dimensions(name)) size *= length(dimension.c_str());
    std::vector<double> values(size);
    expect_success(nc_get_var_double(id_, variable(name), values.data()));
    return values;
  }
  std::vector<std::string> texts(const char* name) const {
    std::vector<char*> pointers(length(dimensions(name)[0].c_str()));
    expect_success(nc_get_var_string(id_, variable(name), pointers.data()));
    std::vector<std::string> values(pointers.begin(), pointers.end());
    expect_success(nc_free_string(pointers.size(), pointers.data()));
    return values;
  }
  std::string attribute(int of, const char* name) const {
    std::size_t length = 0;
    expect_success(nc_inq_attlen(id_, of, name, &length));
    std::string text(length, '\0');
    expect_success(nc_get_att_text(id_, of, name, text.data()));
    return text;
  }
  std::string attribute(const char* of, const char* name) const { return attribute(variable(of), name); }

 private:
  int id_ = -1;
};

class Netcdf : public ::testing::Test {
 protected:
  void SetUp() override {
    test::write_sample_run(folder_.path() / "run");
    write_netcdf(read_run_logs(folder_.path() / "run"), file());
  }
  std::filesystem::path file() const { return folder_.path() / "out/logs.nc"; }
  TemporaryFolder folder_;
};

TEST_F(Netcdf, DimensionsHaveCoordinates) {
  const Reader reader(file());
  EXPECT_THAT(reader.numbers("step"), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(reader.numbers("stability_step"), ElementsAre(2, 4));
  EXPECT_THAT(reader.numbers("ranks_step"), ElementsAre(2, 4));
  EXPECT_THAT(reader.numbers("stream_layer"), ElementsAre(0, 1, 2));
  EXPECT_THAT(reader.texts("sublayer"), ElementsAre("blocks.0.attention", "blocks.0.ffn"));
  EXPECT_THAT(reader.texts("norm"), ElementsAre("blocks.0.attention.norm_in"));
  EXPECT_THAT(reader.texts("tensor"), ElementsAre("one", "two, \"quoted\""));
  EXPECT_THAT(reader.numbers("rank"), ElementsAre(0, 1));
}

TEST_F(Netcdf, Values) {
  const Reader reader(file());
  EXPECT_THAT(reader.dimensions("tokens"), ElementsAre("step"));
  EXPECT_THAT(reader.numbers("tokens"), ElementsAre(64, 128, 192, 256));
  EXPECT_EQ(reader.numbers("val_loss")[3], 0.1 + 0.2);
  EXPECT_THAT(reader.dimensions("profiles_stream_rms"), ElementsAre("stability_step", "stream_layer"));
  EXPECT_THAT(reader.numbers("profiles_stream_rms"), ElementsAre(1, 2, 3, 1.5, 2.5, 3.5));
  EXPECT_THAT(reader.dimensions("profiles_branch_rms"), ElementsAre("stability_step", "sublayer"));
  EXPECT_THAT(reader.numbers("profiles_branch_rms"), ElementsAre(7, 8, 7.5, 8.5));
  EXPECT_THAT(reader.dimensions("norms_gain_mean"), ElementsAre("stability_step", "norm"));
  EXPECT_THAT(reader.numbers("norms_gain_mean"), ElementsAre(0.75, ::testing::IsNan()));
  EXPECT_THAT(reader.dimensions("tensors_grad_norm"), ElementsAre("stability_step", "tensor"));
  EXPECT_THAT(reader.numbers("tensors_grad_norm"), ElementsAre(0.25, 0.5, 0.125, 0.75));
  EXPECT_THAT(reader.dimensions("ranks_loss"), ElementsAre("ranks_step", "rank"));
  EXPECT_THAT(reader.numbers("ranks_loss"), ElementsAre(2, 2.5, 0.1, ::testing::IsNan()));
  EXPECT_FALSE(reader.has("lr")) << "no record has it";
}

TEST_F(Netcdf, WhatIsMissingOrNotFiniteIsNan) {
  const Reader reader(file());
  const auto nan = ::testing::IsNan();
  EXPECT_THAT(reader.numbers("loss"), ElementsAre(2.5, 2.25, nan, 0.1));
  EXPECT_THAT(reader.numbers("val_loss"), ElementsAre(nan, nan, nan, ::testing::_));
  EXPECT_THAT(reader.numbers("profiles_stream_max_abs"), ElementsAre(4, nan, 6, 4, 5, 6));
  EXPECT_THAT(reader.numbers("attention_max_logit"), ElementsAre(nan, nan, 11, nan));
  EXPECT_THAT(reader.numbers("stability_gradient_bottom_top"), ElementsAre(0.5, nan));
}

TEST_F(Netcdf, VariablesSayWhatTheyAre) {
  const Reader reader(file());
  EXPECT_EQ(reader.attribute("profiles_stream_rms", "long_name"), "sqrt((1/(M C)) sum x_mi^2)");
  EXPECT_EQ(reader.attribute("profiles_stream_rms", "units"), "activation");
  EXPECT_EQ(reader.attribute("attention_max_logit", "source"), "arXiv 2302.05442, 2309.14322");
  EXPECT_EQ(reader.attribute("ranks_loss", "field"), "ranks.jsonl: loss");
  EXPECT_EQ(reader.attribute(NC_GLOBAL, "config"), "device = \"cpu\"\n");
  EXPECT_EQ(reader.attribute(NC_GLOBAL, "manifest"), "{\"world\": 2}\n");
  EXPECT_EQ(reader.attribute(NC_GLOBAL, "title"), "logs of the run run");
}

TEST_F(Netcdf, Events) {
  const Reader reader(file());
  EXPECT_THAT(reader.numbers("event_step"), ElementsAre(4));
  EXPECT_THAT(reader.texts("event_kind"), ElementsAre("checkpoint"));
  EXPECT_THAT(reader.texts("event_text"), ElementsAre("a \"b\",\nc"));
  EXPECT_THAT(reader.texts("event_time"), ElementsAre("2026-01-02T03:04:05Z"));
}

TEST(NetcdfFile, ARunWithoutARecordIsAFileWithoutVariables) {
  const TemporaryFolder folder;
  plumb::testing::write_bytes(folder.path() / "metrics.jsonl", "");
  write_netcdf(read_run_logs(folder.path()), folder.path() / "logs.nc");
  const Reader reader(folder.path() / "logs.nc");
  EXPECT_EQ(reader.attribute(NC_GLOBAL, "config"), "");
  EXPECT_FALSE(reader.has("step"));
}

TEST(NetcdfFile, APlaceThatCannotBeWrittenIsNamed) {
  const TemporaryFolder folder;
  test::write_sample_run(folder.path());
  const RunLogs logs = read_run_logs(folder.path());
  try {
    write_netcdf(logs, "/proc/plumb/logs.nc");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("/proc/plumb"));
  }
  // What was there stays until the new file is whole.
  write_netcdf(logs, folder.path() / "logs.nc");
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
    files += entry.path().extension() == ".partial" ? 1 : 0;
  EXPECT_EQ(files, 0u);
}

}  // namespace
}  // namespace plumb
