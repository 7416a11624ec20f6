// The file between `plumb doctor --bandwidth` and `plumb plan`.
#include "plan/fabric.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/error.h"

namespace plumb {
namespace {
using testing::HasSubstr;

class FabricFile : public testing::Test {
 protected:
  /// What is said of the text with `from` replaced.
  static std::string fault(const std::string& from, const std::string& to) {
    std::string text = fabric_json(whole());
    const std::size_t place = text.find(from);
    EXPECT_NE(place, std::string::npos) << from;
    try {
      parse_fabric("fabric.json", text.replace(place, from.size(), to));
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::StartsWith("fabric.json: "));
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
      return error.what();
    }
    return "";
  }
  static Fabric whole() {
    Fabric fabric;
    fabric.library = CollectiveLibrary::Mpi;
    fabric.ranks = 4;
    fabric.hosts = 2;
    constexpr double kNever = LinkSpeed::kNeedsNoPolls;
    fabric.inside = Link{.sums = {1e-6, 2e-10, 0.125, kNever, 0.5},
                         .to_owners = {1.5e-6, 2.5e-10, 0.0625, kNever, 0.375},
                         .gathers = {1.25e-6, 1e-10, 0, kNever, 0.5}};
    fabric.between = Link{.sums = {3e-5, 4e-9, 0.75, 0.002, 0.25},
                          .to_owners = {6e-5, 2e-9, 0.875, 0.004, 0.125},
                          .gathers = {7e-5, 3e-9, 0.625, 0.008, 0.0625}};
    fabric.flops_per_second = 1e11;
    return fabric;
  }
};

TEST_F(FabricFile, IsReadAsItWasWritten) {
  const Fabric fabric = parse_fabric("fabric.json", fabric_json(whole()));
  EXPECT_EQ(fabric.ranks_per_host(), 2);
  EXPECT_EQ(fabric.between->sums.latency, 3e-5);
  EXPECT_EQ(fabric.inside->sums.hidden, 0.125);
  EXPECT_EQ(fabric.between->sums.per_poll, 0.002);
  EXPECT_EQ(fabric_json(fabric), fabric_json(whole()));
}

TEST_F(FabricFile, WaysOfUsingALinkAreKeptApart) {
  const Fabric fabric = parse_fabric("fabric.json", fabric_json(whole()));
  EXPECT_EQ(fabric.between->to_owners.latency, 6e-5);
  EXPECT_EQ(fabric.between->to_owners.seconds_per_byte, 2e-9);
  EXPECT_EQ(fabric.between->to_owners.hidden, 0.875);
  EXPECT_EQ(fabric.between->to_owners.per_poll, 0.004);
  EXPECT_EQ(fabric.between->to_owners.worst_residual, 0.125);
  EXPECT_EQ(fabric.between->gathers.seconds_per_byte, 3e-9);
  EXPECT_EQ(fabric.inside->to_owners.latency, 1.5e-6);
  EXPECT_EQ(fabric.inside->gathers.latency, 1.25e-6);
}

TEST_F(FabricFile, ALinkMayBeAbsent) {
  Fabric fabric = whole();
  fabric.between.reset();
  EXPECT_FALSE(parse_fabric("fabric.json", fabric_json(fabric)).between);
}

TEST_F(FabricFile, FaultsNameFileAndKey) {
  EXPECT_THAT(fault("\"hosts\"", "\"hostz\""), HasSubstr("key 'hosts' is missing"));
  EXPECT_THAT(fault("\"hosts\"", "\"speed\": 1, \"hosts\""), HasSubstr("unknown key 'speed'"));
  EXPECT_THAT(fault("\"hidden\": 0.75", "\"hidden\": 1.5"),
              HasSubstr("between.sums.hidden = 1.5 must lie between 0"));
  EXPECT_THAT(fault("\"hidden\": 0.125", "\"hidden\": true"),
              HasSubstr("inside.sums.hidden must be a number"));
  EXPECT_THAT(fault("\"hidden\": 0.125,", ""), HasSubstr("key 'inside.sums.hidden' is missing"));
  EXPECT_THAT(fault("\"hidden\": 0.0625,", ""), HasSubstr("key 'inside.to_owners.hidden' is missing"));
  EXPECT_THAT(fault("\"to_owners\"", "\"to_owner\""), HasSubstr("key 'inside.to_owners' is missing"));
  EXPECT_THAT(fault("\"to_owners\"", "\"speed\": 1, \"to_owners\""),
              HasSubstr("unknown key 'inside.speed'; known: sums, to_owners, gathers"));
  EXPECT_THAT(fault("\"gathers\": {", "\"gathers\": 1, \"rest\": {"),
              HasSubstr("inside.gathers is not an object"));
  EXPECT_THAT(fault("\"mpi\"", "\"gloo\""), HasSubstr("library = \"gloo\" must be one of mpi, nccl"));
  EXPECT_THAT(fault("\"plumb_fabric\": 2", "\"plumb_fabric\": 1"),
              HasSubstr("plumb_fabric must be 2: another version of Plumb wrote it; measure again"));
  EXPECT_THAT(fault("\"ranks\": 4", "\"ranks\": 3"), HasSubstr("3 ranks cannot be spread evenly over 2"));
  EXPECT_THAT(fault("\"ranks\": 4", "\"ranks\": 0"), HasSubstr("ranks must be a whole number from 1"));
  EXPECT_THAT(fault("{", "["), HasSubstr("is not JSON"));
}

TEST_F(FabricFile, AFileThatIsNotThereIsSaid) {
  EXPECT_THROW(fabric_text("/nowhere/fabric.json"), InputError);
}

}  // namespace
}  // namespace plumb
