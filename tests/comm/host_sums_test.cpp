// HostSums without processes: every rank of every host is a machine in this one, and a seed says which of
// them moves next; once more with a thread for each.
#include "comm/host_sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace plumb {
namespace {

constexpr std::int64_t kCopied = HostSums::kCopiedBytes / 4;  // fp32 elements
constexpr std::int64_t kShare = HostSums::kShareBytes / 4;

struct alignas(64) Line {
  std::byte bytes[64];
};
using Memory = std::vector<Line>;
Memory memory_of(std::size_t bytes) { return Memory(bytes / sizeof(Line) + 1); }
std::byte* begin_of(Memory& memory) { return memory.front().bytes; }

/// Sums shares of as many hosts as there are when all have started theirs, in the order of the hosts.
class Meeting {
 public:
  explicit Meeting(int hosts) : hosts_(hosts) {}
  void bring(std::uint64_t number, int host, const Tensor& share) {
    auto& shares = shares_[number];
    shares[host] = share;
    if (static_cast<int>(shares.size()) < hosts_) return;
    const auto count = static_cast<std::size_t>(share.elements());
    std::vector<float> sum(count);
    for (const auto& [other, part] : shares)
      for (std::size_t i = 0; i < count; ++i) {
        const float value = static_cast<const float*>(part.data)[i];
        sum[i] = other == 0 ? value : sum[i] + value;
      }
    for (const auto& [other, part] : shares) std::memcpy(part.data, sum.data(), count * sizeof(float));
    done_ = number + 1;
  }
  bool is_done(std::uint64_t number) const { return number < done_; }

 private:
  int hosts_;
  std::map<std::uint64_t, std::map<int, Tensor>> shares_;
  std::uint64_t done_ = 0;
};

class MetExchange final : public HostExchange {
 public:
  MetExchange(Meeting& meeting, int host) : meeting_(meeting), host_(host) {}
  void start(int, const Tensor& share, bool, std::string_view) override {
    meeting_.bring(started_++, host_, share);
  }
  bool finished(int) override {
    if (!meeting_.is_done(finished_)) return false;
    ++finished_;
    return true;
  }

 private:
  Meeting& meeting_;
  int host_;
  std::uint64_t started_ = 0, finished_ = 0;
};

/// Ranks of several hosts in one process; rank 0 is the first of host 0, and so on.
class Ranks {
 public:
  explicit Ranks(std::vector<int> host_sizes, std::size_t shared_bytes = 0) : sizes_(std::move(host_sizes)) {
    const int hosts = static_cast<int>(sizes_.size());
    const int sharers = *std::min_element(sizes_.begin(), sizes_.end()),
              largest = *std::max_element(sizes_.begin(), sizes_.end());
    for (int sharer = 0; sharer < sharers; ++sharer) meetings_.push_back(std::make_unique<Meeting>(hosts));
    int rank = 0;
    for (int host = 0; host < hosts; ++host) {
      HostGroup group{.ranks = {}, .self = 0, .sharers = sharers, .largest = largest};
      std::vector<std::byte*> segments, shared;
      for (int k = 0; k < sizes_[static_cast<std::size_t>(host)]; ++k) {
        group.ranks.push_back(rank++);
        segments_.push_back(memory_of(HostSums::segment_bytes()));
        shared_.push_back(memory_of(shared_bytes));
        segments.push_back(begin_of(segments_.back()));
        shared.push_back(begin_of(shared_.back()));
      }
      for (group.self = 0; group.self < static_cast<int>(group.ranks.size()); ++group.self) {
        std::unique_ptr<HostExchange> exchange;
        if (hosts > 1 && group.self < sharers)
          exchange = std::make_unique<MetExchange>(*meetings_[static_cast<std::size_t>(group.self)], host);
        machines_.push_back(std::make_unique<HostSums>(group, segments, std::move(exchange)));
        machines_.back()->reserve(8);
        if (shared_bytes > 0) machines_.back()->add_memory(shared, shared_bytes);
      }
    }
  }

  int world() const { return static_cast<int>(machines_.size()); }
  HostSums& machine(int rank) { return *machines_[static_cast<std::size_t>(rank)]; }
  float* shared(int rank) {
    return reinterpret_cast<float*>(begin_of(shared_[static_cast<std::size_t>(rank)]));
  }

  /// Host by host, each in the order of its ranks, then the hosts: the order that is promised.
  float expected(std::uint64_t seed, std::size_t i) const {
    float total = 0;
    int rank = 0;
    for (std::size_t host = 0; host < sizes_.size(); ++host) {
      float sum = 0;
      for (int k = 0; k < sizes_[host]; ++k, ++rank)
        sum = k == 0 ? value(seed, rank, i) : sum + value(seed, rank, i);
      total = host == 0 ? sum : total + sum;
    }
    return total;
  }
  static float value(std::uint64_t seed, int rank, std::size_t i) {
    return RandomStream{seed, 0, static_cast<std::uint32_t>(rank)}.uniform(i) - 0.5F;
  }

 private:
  std::vector<int> sizes_;
  std::vector<std::unique_ptr<Meeting>> meetings_;
  std::vector<Memory> segments_, shared_;
  std::vector<std::unique_ptr<HostSums>> machines_;
};

HostSum sum_of(float* data, std::int64_t count, std::uint64_t number = 1) {
  return {.tensor = Tensor(data, DType::Float32, {count}), .name = CollectiveName("sum"), .number = number};
}

void fill(float* values, std::int64_t count, std::uint64_t seed, int rank) {
  for (std::int64_t i = 0; i < count; ++i) values[i] = Ranks::value(seed, rank, static_cast<std::size_t>(i));
}

/// Moves a rank that a random stream names, until all have finished so many sums.
void run_at_random(Ranks& ranks, std::uint64_t sums, std::uint64_t seed) {
  const RandomStream stream{seed, 1, 0};
  int unfinished = ranks.world();
  for (std::uint64_t turn = 0; unfinished > 0; ++turn) {
    ASSERT_LT(turn, 1'000'000U) << "the machines stand still";
    ranks.machine(static_cast<int>(stream.word(turn) % static_cast<std::uint64_t>(ranks.world()))).advance();
    unfinished = 0;
    for (int rank = 0; rank < ranks.world(); ++rank) unfinished += ranks.machine(rank).finished() < sums;
  }
}

struct Case {
  std::vector<int> host_sizes;
  bool shared;
};

class HostSumsInAnyOrder : public testing::TestWithParam<Case> {};

TEST_P(HostSumsInAnyOrder, AreThoseOfTheFixedOrder) {
  const std::vector<std::int64_t> sizes = {1, 15, 17, 1000, kCopied + 1, 5 * kCopied + 33, 7, 2 * kShare + 5};
  std::int64_t all = 0;
  for (const std::int64_t size : sizes) all += size;
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    Ranks ranks(GetParam().host_sizes, GetParam().shared ? static_cast<std::size_t>(all) * 4 : 0);
    std::vector<std::vector<float>> own(static_cast<std::size_t>(ranks.world()));
    std::vector<float*> data;
    for (int rank = 0; rank < ranks.world(); ++rank) {
      auto& values = own[static_cast<std::size_t>(rank)];
      values.resize(GetParam().shared ? 0 : static_cast<std::size_t>(all));
      data.push_back(GetParam().shared ? ranks.shared(rank) : values.data());
      fill(data.back(), all, seed, rank);
      std::int64_t begin = 0;
      for (std::size_t k = 0; k < sizes.size(); ++k) {
        ranks.machine(rank).start(sum_of(data.back() + begin, sizes[k], k + 1));
        begin += sizes[k];
      }
    }
    run_at_random(ranks, sizes.size(), seed);
    for (std::int64_t i = 0; i < all; ++i) {
      const float expected = ranks.expected(seed, static_cast<std::size_t>(i));
      for (int rank = 0; rank < ranks.world(); ++rank)
        ASSERT_EQ(data[static_cast<std::size_t>(rank)][i], expected) << "rank " << rank << " element " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Hosts, HostSumsInAnyOrder,
                         testing::Values(Case{{1}, false}, Case{{2}, false}, Case{{2}, true},
                                         Case{{3}, false}, Case{{3}, true}, Case{{4}, true},
                                         Case{{1, 1}, false}, Case{{2, 2}, false}, Case{{2, 2}, true},
                                         Case{{2, 1, 3}, false}, Case{{3, 2}, true}));

TEST(HostSumsAhead, AnUntouchedTensorOfARankThatHasNotComeIsLeftAlone) {
  Ranks ranks({2}, 64);
  std::fill_n(ranks.shared(0), 16, 1.0F);
  std::fill_n(ranks.shared(1), 16, 2.0F);
  ranks.machine(0).start(sum_of(ranks.shared(0), 16));
  for (int turn = 0; turn < 10; ++turn) ranks.machine(0).advance();
  EXPECT_EQ(ranks.shared(1)[0], 2.0F);
  EXPECT_EQ(ranks.machine(0).finished(), 0U);
  EXPECT_EQ(ranks.machine(0).pieces(1), 1);
  EXPECT_EQ(ranks.machine(0).pieces_done(1), 0);
  EXPECT_FALSE(ranks.machine(0).advance()) << "nothing moves before the other comes";
}

TEST(HostSumsAhead, MemoryIsUsedAgainWhileOthersAreBehind) {
  Ranks ranks({3}, 64);
  const RandomStream stream{3, 0, 0};
  std::vector<std::uint64_t> started(3);
  constexpr std::uint64_t kRounds = 50;
  for (std::uint64_t turn = 0;
       ranks.machine(0).finished() + ranks.machine(1).finished() + ranks.machine(2).finished() < 3 * kRounds;
       ++turn) {
    ASSERT_LT(turn, 100'000U);
    const auto rank = static_cast<std::size_t>(stream.word(turn) % 3);
    HostSums& machine = ranks.machine(static_cast<int>(rank));
    machine.advance();
    if (machine.finished() < started[rank]) continue;
    float* values = ranks.shared(static_cast<int>(rank));
    if (started[rank] > 0) {
      ASSERT_EQ(values[0], static_cast<float>(3 * started[rank] + 3)) << "rank " << rank;
    }
    if (started[rank] == kRounds) continue;
    const std::uint64_t round = ++started[rank];
    values[0] = static_cast<float>(round + rank);
    machine.start(sum_of(values, 1, round));
  }
}

TEST(HostSumsErrors, RanksThatBringDifferentSumsAreNamed) {
  Ranks ranks({2});
  std::vector<float> a(64), b(16);
  ranks.machine(0).start(sum_of(a.data(), 64, 3));
  ranks.machine(1).start(sum_of(b.data(), 16, 3));
  ranks.machine(1).advance();
  EXPECT_THAT([&] { ranks.machine(0).advance(); },
              testing::ThrowsMessage<Error>(
                  testing::AllOf(testing::HasSubstr("do not agree on a collective"),
                                 testing::HasSubstr("rank 0 brings 'sum' (number 3), 64 elements of fp32"),
                                 testing::HasSubstr("rank 1 'sum' (number 3), 16 elements of fp32"))));
}

TEST(HostSumsErrors, SharedAndOtherMemoryDoNotMeet) {
  Ranks ranks({2}, 256);
  std::vector<float> a(16);
  ranks.machine(0).start(sum_of(ranks.shared(0) + 16, 16));
  ranks.machine(1).start(sum_of(a.data(), 16));
  ranks.machine(1).advance();
  EXPECT_THAT([&] { ranks.machine(0).advance(); },
              testing::ThrowsMessage<Error>(testing::HasSubstr("at byte 64 of shared memory 1")));
}

// Under a thread sanitizer this shows that what one rank writes another reads only when it has been told so.
TEST(HostSumsThreads, OfRealConcurrencyGiveTheSame) {
  constexpr int kWorld = 3;
  constexpr std::int64_t kElements = 3 * kCopied + 11;
  for (const bool is_shared : {false, true}) {
    Ranks ranks({kWorld}, is_shared ? kElements * 4 : 0);
    std::vector<std::vector<float>> own(kWorld, std::vector<float>(kElements));
    const auto data = [&](int rank) {
      return is_shared ? ranks.shared(rank) : own[static_cast<std::size_t>(rank)].data();
    };
    std::vector<std::thread> threads;
    for (int rank = 0; rank < kWorld; ++rank) {
      threads.emplace_back([&, rank] {
        for (std::uint64_t round = 1; round <= 3; ++round) {
          fill(data(rank), kElements, round, rank);
          HostSums& machine = ranks.machine(rank);
          const std::uint64_t place = machine.start(sum_of(data(rank), kElements, round));
          while (machine.finished() < place)
            if (!machine.advance()) std::this_thread::yield();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (std::int64_t i = 0; i < kElements; ++i)
      for (int rank = 0; rank < kWorld; ++rank)
        ASSERT_EQ(data(rank)[i], ranks.expected(3, static_cast<std::size_t>(i))) << rank << ' ' << i;
  }
}

}  // namespace
}  // namespace plumb
