#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "checkpoint/temporary_folder.h"
#include "core/error.h"

namespace plumb {
namespace {
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::input_error_of;
using ::testing::Not;
using testing::read_bytes;
using testing::TemporaryFolder;
using testing::write_bytes;

/// A file of the format from its two parts, put together here and not by the writer under test.
std::string file_of(const std::string& header, const std::string& data) {
  std::string text;
  for (int i = 0; i < 8; ++i) text.push_back(static_cast<char>((header.size() >> (8 * i)) & 0xff));
  return text + header + data;
}

class Safetensors : public ::testing::Test {
 protected:
  std::string error_of(const std::string& header, const std::string& data) {
    write_bytes(path_, file_of(header, data));
    return input_error_of([&] { SafetensorsFile file(path_); });
  }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "x.safetensors";
};

TEST_F(Safetensors, RoundTripOfEveryDtypeAndShape) {
  std::vector<double> f64 = {1.0 / 3, -0.0, std::numeric_limits<double>::infinity(), 5e-324, 1e300, 7};
  std::vector<float> f32 = {1.5F, -2.25F};
  std::vector<bfloat16> bf16 = {bfloat16(0.1F), bfloat16(-3.0F), bfloat16(1e30F)};
  std::vector<std::int64_t> i64 = {std::numeric_limits<std::int64_t>::min(), 42};
  std::vector<std::int32_t> i32 = {-1, 2, 3, 4, 5, 6, 7, 8};
  write_safetensors(path_,
                    {{"ints", Tensor(i32.data(), DType::Int32, {2, 1, 2, 2})},
                     {"halves", Tensor(bf16.data(), DType::BFloat16, {3})},
                     {"doubles", Tensor(f64.data(), DType::Float64, {3, 2})},
                     {"floats", Tensor(f32.data(), DType::Float32, {1, 2})},
                     {"longs", Tensor(i64.data(), DType::Int64, {2})}},
                    {{"step", "7"}, {"note", "a \"quoted\" \n line, \xc3\xa9"}});

  const SafetensorsFile file(path_);
  EXPECT_THAT(file.names(), ElementsAre("doubles", "longs", "ints", "floats", "halves"));
  const auto check = [&](const std::string& name, DType dtype, const Shape& shape, const void* bytes) {
    const Tensor tensor = file.tensor(name, shape);
    EXPECT_EQ(tensor.dtype, dtype) << name;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data) % size_of(dtype), 0U) << name;
    EXPECT_EQ(std::memcmp(tensor.data, bytes, tensor.bytes()), 0) << name;
  };
  check("doubles", DType::Float64, {3, 2}, f64.data());
  check("floats", DType::Float32, {1, 2}, f32.data());
  check("halves", DType::BFloat16, {3}, bf16.data());
  check("longs", DType::Int64, {2}, i64.data());
  check("ints", DType::Int32, {2, 1, 2, 2}, i32.data());
  EXPECT_EQ(file.metadata().at("note"), "a \"quoted\" \n line, \xc3\xa9");
  EXPECT_EQ(file.metadata().at("step"), "7");
  EXPECT_FALSE(file.contains("absent"));
}

TEST_F(Safetensors, WritesTheBytesOfTheFormat) {
  std::vector<float> weight = {1.0F, -2.0F};
  std::vector<bfloat16> bias = {bfloat16(1.0F)};
  write_safetensors(path_,
                    {{"b", Tensor(bias.data(), DType::BFloat16, {1})},
                     {"w", Tensor(weight.data(), DType::Float32, {2, 1})}},
                    {{"k", "v"}});
  std::string header = R"({"__metadata__":{"k":"v"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                       R"("b":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]}})";
  while (header.size() % 8 != 0) header += ' ';
  // 1.0f = 3f800000, -2.0f = c0000000, bf16 1.0 = 3f80, all little-endian.
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\xc0\x80\x3f", 10);
  EXPECT_EQ(read_bytes(path_), file_of(header, data));
}

TEST_F(Safetensors, ReadsFilesOfOtherWriters) {
  // A scalar, no padding (so the floats are misaligned), entries not in the order of the data, trailing
  // spaces.
  const std::string header =
      R"({"late":{"dtype":"F32","shape":[1],"data_offsets":[2,6]},"scalar":{"dtype":"BF16","shape":[],)"
      R"("data_offsets":[0,2]},"none":{"dtype":"F64","shape":[0,3],"data_offsets":[6,6]}}   )";
  for (int padding = 0; padding < 4; ++padding) {
    write_bytes(path_, file_of(header + std::string(static_cast<std::size_t>(padding), ' '),
                               std::string("\x80\x3f\x00\x00\x80\x3f", 6)));
    const SafetensorsFile file(path_);
    EXPECT_THAT(file.names(), ElementsAre("scalar", "late", "none"));
    EXPECT_EQ(file.tensor("scalar").shape, Shape{1});
    EXPECT_EQ(static_cast<float>(file.tensor("scalar").as<bfloat16>()[0]), 1.0F);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file.tensor("late").data) % sizeof(float), 0U);
    EXPECT_EQ(file.tensor("late").as<float>()[0], 1.0F);
    EXPECT_EQ(file.tensor("none").elements(), 0);
    EXPECT_TRUE(file.metadata().empty());
  }
}

TEST_F(Safetensors, ViewsOutliveAMove) {
  std::vector<double> values = {1, 2, 3};
  write_safetensors(path_, {{"x", Tensor(values.data(), DType::Float64, {3})}});
  SafetensorsFile first(path_);
  const Tensor view = first.tensor("x");
  const SafetensorsFile second = std::move(first);
  EXPECT_EQ(view.data, second.tensor("x").data);
  EXPECT_EQ(view.as<double>()[2], 3);
}

TEST_F(Safetensors, TruncationAtEveryByteIsAnError) {
  std::vector<double> values = {1, 2, 3};
  std::vector<bfloat16> halves(3);
  write_safetensors(path_, {{"x", Tensor(values.data(), DType::Float64, {3})},
                            {"h", Tensor(halves.data(), DType::BFloat16, {3})}});
  const std::string whole = read_bytes(path_);
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    write_bytes(path_, whole.substr(0, bytes));
    const std::string message = input_error_of([&] { SafetensorsFile file(path_); });
    EXPECT_THAT(message, AllOf(HasSubstr("x.safetensors"), HasSubstr("truncated"), Not(HasSubstr("\n"))));
  }
  write_bytes(path_, whole + "z");
  EXPECT_THAT(input_error_of([&] { SafetensorsFile file(path_); }), HasSubstr("31 bytes of data"));
}

TEST_F(Safetensors, FaultsOfTheHeader) {
  const std::string eight(8, '\0');
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"x":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  EXPECT_EQ(error_of(entry("F64", "[1]", "[0,8]"), eight + "more"),
            path_.string() + ": 12 bytes of data, the header describes 8; the file is damaged");
  EXPECT_THAT(error_of("not json", eight), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of("[1,2]", eight), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of("", ""), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of(entry("F64", "[1]", "[0,16]"), eight), HasSubstr("'x' lies at bytes 0..16 of 8"));
  EXPECT_THAT(error_of(entry("F64", "[1]", "[8,0]"), eight), HasSubstr("'x' lies at bytes 8..0 of 8"));
  EXPECT_THAT(error_of(entry("F64", "[1]", "[-8,8]"), eight), HasSubstr("lacks a valid"));
  EXPECT_THAT(error_of(entry("F64", "[1]", "[0]"), eight), HasSubstr("lacks a valid"));
  EXPECT_THAT(error_of(entry("F64", "[1.5]", "[0,8]"), eight), HasSubstr("lacks a valid"));
  EXPECT_THAT(error_of(R"({"x":{"dtype":"F64","shape":[1]}})", eight), HasSubstr("lacks a valid"));
  EXPECT_THAT(error_of(R"({"x":7})", eight), HasSubstr("lacks a valid"));
  EXPECT_THAT(error_of(entry("F64", "[2]", "[0,8]"), eight),
              HasSubstr("'x' has 8 bytes, its dtype and shape need 16"));
  EXPECT_THAT(error_of(entry("F64", "[4294967296,4294967296]", "[0,8]"), eight),
              HasSubstr("'x' has 8 bytes"));
  EXPECT_THAT(error_of(entry("F8", "[8]", "[0,8]"), eight), HasSubstr("dtype F8; known are F64"));
  EXPECT_THAT(error_of(entry("F64", "[1,1,1,1,1]", "[0,8]"), eight), HasSubstr("5 dimensions; at most 4"));
  EXPECT_THAT(error_of(R"({"__metadata__":{"k":1}})", ""), HasSubstr("'k' is not a string"));
  EXPECT_THAT(error_of(R"({"__metadata__":"k"})", ""), HasSubstr("not an object of strings"));
}

TEST_F(Safetensors, DuplicateOverlappingAndMissingTensors) {
  const std::string x = R"("x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const std::string eight(8, '\0');
  EXPECT_THAT(error_of("{" + x + R"(,"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", eight),
              HasSubstr("two tensors are named 'x'"));
  EXPECT_THAT(error_of("{" + x + R"(,"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", eight),
              HasSubstr("'y' starts at byte 0 of the data, 4 was expected"));
  EXPECT_THAT(error_of(R"({"y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", eight),
              HasSubstr("'y' starts at byte 4 of the data, 0 was expected"));

  write_bytes(path_, file_of("{" + x + "}", "abcd"));
  const SafetensorsFile file(path_);
  EXPECT_EQ(input_error_of([&] { file.tensor("w"); }), path_.string() + ": there is no tensor 'w'");
  EXPECT_EQ(input_error_of([&] { file.tensor("x", Shape{2}); }),
            path_.string() + ": tensor 'x' has shape (1), expected (2)");
}

TEST_F(Safetensors, AbsentFileAndWriterContracts) {
  EXPECT_THAT(input_error_of([&] { SafetensorsFile file(path_); }), HasSubstr("No such file"));
  EXPECT_THAT(input_error_of([&] { SafetensorsFile file(folder_.path()); }), HasSubstr("not a regular file"));

  std::vector<float> values(6);
  const Tensor whole(values.data(), DType::Float32, {2, 3});
  EXPECT_THROW(write_safetensors(path_, {{"x", whole}, {"x", whole}}), Error);
  EXPECT_THROW(write_safetensors(path_, {{"", whole}}), Error);
  EXPECT_THROW(write_safetensors(path_, {{"__metadata__", whole}}), Error);
  EXPECT_THROW(write_safetensors(path_, {{"x", whole.columns(0, 2)}}), Error);
  EXPECT_FALSE(std::filesystem::exists(path_)) << "checked before the file is made";
  EXPECT_THROW(write_safetensors(folder_.path() / "absent" / "x", {{"x", whole}}), Error);
}

}  // namespace
}  // namespace plumb
