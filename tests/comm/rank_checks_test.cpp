// What ranks must and must not have in common.
#include "comm/rank_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "ranks.h"

namespace plumb::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::ThrowsMessage;

std::string host_of(int rank) { return ranks().hosts()[static_cast<std::size_t>(rank)]; }

TEST(Devices, EachRankNeedsItsOwn) {
  check_devices_differ(ranks(), "GPU-" + std::to_string(ranks().rank()));
  // Ranks 0 and 1 share one; all ranks are told alike.
  const std::string shared = "GPU-" + std::to_string(ranks().rank() / 2);
  EXPECT_THAT(
      [&] { check_devices_differ(ranks(), shared); },
      ThrowsMessage<InputError>(HasSubstr("rank 0 (host " + host_of(0) + ") and rank 1 (host " + host_of(1) +
                                          ") use the same GPU (GPU-0): two ranks cannot share one")));
}

TEST(Devices, ProcessorsAreShared) { check_devices_differ(ranks(), ""); }

std::string last_name() {
  const int last = ranks().world() - 1;
  return "rank " + std::to_string(last) + " (host " + host_of(last) + ")";
}
bool is_last() { return ranks().rank() == ranks().world() - 1; }

TEST(Settings, AreTheSameInAnyOrder) {
  std::vector<std::string> own = {"NCCL_ALGO=Ring", "NCCL_PROTO=LL=1", "NCCL_EMPTY="};
  if (is_last()) std::reverse(own.begin(), own.end());
  EXPECT_THAT(check_settings_agree(ranks(), own), IsEmpty());
  EXPECT_THAT(check_settings_agree(ranks(), {}), IsEmpty());
}

TEST(Settings, OfOneRankAreNamedWithBothValuesRanksAndHosts) {
  const std::string others =
      ranks().world() > 2 ? " and " + std::to_string(ranks().world() - 2) + " more" : "";
  const std::string first = "'Ring' on rank 0 (host " + host_of(0) + ")" + others;
  EXPECT_THAT(
      [&] {
        check_settings_agree(ranks(), {"NCCL_PROTO=Simple", is_last() ? "NCCL_ALGO=Tree" : "NCCL_ALGO=Ring"});
      },
      ThrowsMessage<InputError>(
          AllOf(HasSubstr("NCCL_ALGO differs between ranks: " + first + ", 'Tree' on " + last_name() + ";"),
                Not(HasSubstr("NCCL_PROTO")))));
  EXPECT_THAT(
      [&] {
        check_settings_agree(
            ranks(), is_last() ? std::vector<std::string>{} : std::vector<std::string>{"NCCL_ALGO=Ring"});
      },
      ThrowsMessage<InputError>(HasSubstr(first + ", unset on " + last_name() + ";")));
}

TEST(Settings, ThatNameAThingOfOneHostMayDiffer) {
  const auto notes =
      check_settings_agree(ranks(), {is_last() ? "NCCL_SOCKET_IFNAME=eth1" : "NCCL_SOCKET_IFNAME=ens2"});
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_THAT(notes[0], AllOf(HasSubstr("NCCL_SOCKET_IFNAME differs between ranks: 'ens2' on rank 0"),
                              HasSubstr("'eth1' on " + last_name())));
}

TEST(Models, AreTheSameOnAllRanks) { check_models_agree(ranks(), {.tensors = 3, .values = 7}); }

TEST(Models, WithOtherValuesAreNamed) {
  const int last = ranks().world() - 1;
  const ModelHash own = {.tensors = 3, .values = ranks().rank() == last ? 8U : 7U};
  EXPECT_THAT([&] { check_models_agree(ranks(), own); },
              ThrowsMessage<Error>(AllOf(HasSubstr("of values"), HasSubstr("same checkpoint"),
                                         HasSubstr("rank " + std::to_string(last) + " (host " +
                                                   host_of(last) + ") has 0000000000000008"),
                                         Not(HasSubstr("but rank 0")))));
}

TEST(Models, WithOtherTensorsAreNamedFirst) {
  const int last = ranks().world() - 1;
  const bool other = ranks().rank() == last;
  EXPECT_THAT([&] { check_models_agree(ranks(), {.tensors = other ? 4U : 3U, .values = other ? 8U : 7U}); },
              ThrowsMessage<Error>(AllOf(HasSubstr("of names, shapes and dtypes"),
                                         HasSubstr("rank " + std::to_string(last) + " (host "))));
}

TEST(Models, TheMajorityIsRight) {
  if (ranks().world() < 3) GTEST_SKIP() << "two ranks have no majority";
  const ModelHash own = {.tensors = 3, .values = ranks().rank() == 0 ? 8U : 7U};
  EXPECT_THAT([&] { check_models_agree(ranks(), own); },
              ThrowsMessage<Error>(HasSubstr("but rank 0 (host " + host_of(0) + ") has 0000000000000008")));
}

}  // namespace
}  // namespace plumb::test
