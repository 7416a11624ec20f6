// mpirun -np 2 --bind-to core all_reduce [--rounds N] [--largest MIB] [--bucket MIB] [--pieces N]: sums of
// fp32 over ranks, in place. First table: GB/s (bytes of one rank's buffer over the time of the slowest rank)
// by size, of four ways: Plumb's in memory that it shares, Plumb's of any other memory, one MPI_Allreduce,
// and MPI_Iallreduce in chunks of 1 MiB, four at a time. A round times each way once, in another order every
// round; of the rounds it prints the median with its 95 % interval, and the same of the ratios of one
// MPI_Allreduce to Plumb's within a round. Second table: how much of the time of asynchronous sums is hidden
// behind compute that calls progress() between its pieces, as a backward pass does: 1 - (together - compute
// alone) / sums alone. A rank sums by the core that it computes with, so that only waiting can be hidden, not
// the work itself. With --host NAME (another on some ranks: mpirun -np 1 ... --host a : -np 1 ... --host b)
// ranks pretend to be on several hosts.
#include <fmt/format.h>
#include <mpi.h>
#include <stdlib.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "comm/bootstrap.h"
#include "core/error.h"
#include "medians.h"

namespace plumb::benchmarks {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kKibi = 1 << 10, kMebi = 1 << 20;
constexpr std::size_t kChunk = kMebi;

struct Arguments {
  int rounds = 21, pieces = 8;
  std::size_t largest = 500, bucket = 4;  ///< MiB
  std::string host;
};

Arguments parse(int count, char** values) {
  Arguments arguments;
  for (int i = 1; i < count; i += 2) {
    const std::string word = values[i];
    if (i + 1 == count) fail_input("{} needs a value", word);
    const std::string value = values[i + 1];
    if (word == "--rounds") {
      arguments.rounds = std::stoi(value);
    } else if (word == "--largest") {
      arguments.largest = std::stoul(value);
    } else if (word == "--bucket") {
      arguments.bucket = std::stoul(value);
    } else if (word == "--pieces") {
      arguments.pieces = std::stoi(value);
    } else if (word == "--host") {
      arguments.host = value;
    } else {
      fail_input("unknown argument '{}'; known: --rounds, --largest, --bucket, --pieces, --host", word);
    }
  }
  if (arguments.rounds < 1 || arguments.pieces < 1 || arguments.largest < 1 || arguments.bucket < 1)
    fail_input("arguments are 1 or more");
  return arguments;
}

/// Sums that go on while the caller does something else.
class Way {
 public:
  virtual ~Way() = default;
  virtual void start(float* data, std::size_t count) = 0;
  virtual void progress() = 0;
  virtual void finish() = 0;
};

class OurWay final : public Way {
 public:
  explicit OurWay(Communicator& communicator) : communicator_(communicator) {}
  void start(float* data, std::size_t count) override {
    last_ = communicator_.start_all_reduce("sum",
                                           Tensor(data, DType::Float32, {static_cast<std::int64_t>(count)}));
  }
  void progress() override { communicator_.progress(); }
  void finish() override { communicator_.wait(last_); }

 private:
  Communicator& communicator_;
  Communicator::Request last_;
};

/// One call for everything; it cannot be left.
class OneCall final : public Way {
 public:
  void start(float* data, std::size_t count) override {
    MPI_Allreduce(MPI_IN_PLACE, data, static_cast<int>(count), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  }
  void progress() override {}
  void finish() override {}
};

class Chunks final : public Way {
 public:
  void start(float* data, std::size_t count) override {
    for (std::size_t begin = 0; begin < count; begin += kChunk / 4)
      waiting_.push_back({data + begin, std::min(kChunk / 4, count - begin)});
    progress();
  }
  void progress() override {
    while (in_flight_ > 0) {
      int done = 0;
      MPI_Test(&window_[oldest_ % window_.size()], &done, MPI_STATUS_IGNORE);
      if (!done) break;
      ++oldest_;
      --in_flight_;
    }
    for (; next_ < waiting_.size() && in_flight_ < window_.size(); ++next_, ++in_flight_) {
      MPI_Iallreduce(MPI_IN_PLACE, waiting_[next_].data, static_cast<int>(waiting_[next_].count), MPI_FLOAT,
                     MPI_SUM, MPI_COMM_WORLD, &window_[(oldest_ + in_flight_) % window_.size()]);
    }
  }
  void finish() override {
    while (next_ < waiting_.size() || in_flight_ > 0) progress();
    waiting_.clear();
    next_ = 0;
  }

 private:
  struct Part {
    float* data;
    std::size_t count;
  };
  std::vector<Part> waiting_;
  std::array<MPI_Request, 4> window_{};
  std::size_t next_ = 0, oldest_ = 0, in_flight_ = 0;
};

struct Entry {
  const char* name;
  std::unique_ptr<Way> way;
  float* data;
};

double slowest(double seconds) {
  MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return seconds;
}

/// Of the slowest rank, from the moment when all are there.
double timed(const std::function<void()>& body) {
  MPI_Barrier(MPI_COMM_WORLD);
  const auto begin = Clock::now();
  body();
  return slowest(std::chrono::duration<double>(Clock::now() - begin).count());
}

std::string with_interval(const std::vector<double>& values, const char* format) {
  const auto [low, high] = interval_of_median(values);
  const auto text = [&](double value) { return fmt::format(fmt::runtime(format), value); };
  return fmt::format("{} ({} to {})", text(median_of(values)), text(low), text(high));
}

std::string size_text(std::size_t bytes) {
  return bytes < kMebi ? fmt::format("{} KiB", bytes / kKibi) : fmt::format("{} MiB", bytes / kMebi);
}

void print(bool speaks, const std::string& line) {
  if (!speaks) return;
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

/// Calls body(entry) for all, beginning with another one in every round.
void in_turn(std::vector<Entry>& entries, int round, const std::function<void(std::size_t)>& body) {
  for (std::size_t k = 0; k < entries.size(); ++k)
    body((k + static_cast<std::size_t>(round)) % entries.size());
}

void compare_sizes(std::vector<Entry>& entries, const Arguments& arguments, bool speaks) {
  print(speaks, "GB/s, median of the rounds and its 95 % interval.\n");
  std::string head = "| size |", rule = "|---|";
  for (const Entry& entry : entries) {
    head += fmt::format(" {} |", entry.name);
    rule += "---|";
  }
  print(speaks,
        head + " shared memory against one call | own memory against one call |\n" + rule + "---|---|");
  std::vector<std::size_t> sizes;
  for (std::size_t bytes = kKibi; bytes < arguments.largest * kMebi; bytes *= 4) sizes.push_back(bytes);
  sizes.push_back(arguments.largest * kMebi);
  for (const std::size_t bytes : sizes) {
    const auto repeats = std::max<std::size_t>(1, std::min<std::size_t>(1000, 4 * kMebi / bytes));
    std::vector<std::vector<double>> rates(entries.size());
    std::array<std::vector<double>, 2> ratios;
    for (int round = -2; round < arguments.rounds; ++round) {
      std::vector<double> seconds(entries.size());
      in_turn(entries, round + 2, [&](std::size_t k) {
        const Entry& entry = entries[k];
        seconds[k] = timed([&] {
                       for (std::size_t i = 0; i < repeats; ++i) {
                         entry.way->start(entry.data, bytes / 4);
                         entry.way->finish();
                       }
                     }) /
                     static_cast<double>(repeats);
      });
      if (round < 0) continue;
      for (std::size_t k = 0; k < entries.size(); ++k)
        rates[k].push_back(static_cast<double>(bytes) / seconds[k] / 1e9);
      for (std::size_t k = 0; k < 2; ++k) ratios[k].push_back(seconds[2] / seconds[k]);
    }
    std::string row = fmt::format("| {} |", size_text(bytes));
    for (const auto& rate : rates) row += " " + with_interval(rate, "{:.2f}") + " |";
    for (const auto& ratio : ratios) row += " " + with_interval(ratio, "{:.2f}") + " |";
    print(speaks, row);
  }
}

/// About `seconds` of arithmetic in a core's first cache.
class Compute {
 public:
  explicit Compute(double seconds) {
    const auto begin = Clock::now();
    run(kProbe);
    const double each = std::chrono::duration<double>(Clock::now() - begin).count() / kProbe;
    repeats_ = std::max(1, static_cast<int>(seconds / each));
  }
  void piece() { run(repeats_); }
  double result() const { return values_[0]; }

 private:
  static constexpr int kProbe = 20'000;
  void run(int repeats) {
    for (int i = 0; i < repeats; ++i)
      for (float& value : values_) value = value * 0.999F + 0.001F;
  }
  std::array<float, 1024> values_{};
  int repeats_ = 0;
};

void measure_overlap(std::vector<Entry>& entries, const Arguments& arguments, bool speaks) {
  const std::size_t bucket = arguments.bucket * kMebi;
  const std::size_t buckets =
      std::max<std::size_t>(1, std::min<std::size_t>(arguments.largest, 64) / arguments.bucket);
  const std::size_t count = bucket / 4;
  print(speaks,
        fmt::format("\n{} buckets of {} MiB, each started after {} pieces of compute; progress() after every "
                    "piece. ms, and the hidden share.\n\n| way | sums alone | compute alone | together | "
                    "hidden |\n|---|---|---|---|---|",
                    buckets, arguments.bucket, arguments.pieces));
  for (Entry& entry : entries) {
    Way& way = *entry.way;
    const auto start = [&](std::size_t b) { way.start(entry.data + b * count, count); };
    const auto sums = [&] {
      for (std::size_t b = 0; b < buckets; ++b) start(b);
      way.finish();
    };
    timed(sums);
    // As much compute as would hide twice the sums.
    const double alone_once = timed(sums);
    Compute compute(2 * alone_once /
                    static_cast<double>(buckets * static_cast<std::size_t>(arguments.pieces)));
    const auto pieces = [&](bool sum_too) {
      for (std::size_t b = 0; b < buckets; ++b) {
        for (int piece = 0; piece < arguments.pieces; ++piece) {
          compute.piece();
          if (sum_too) way.progress();
        }
        if (sum_too) start(b);
      }
      if (sum_too) way.finish();
    };
    std::vector<double> alone, computed, together, hidden;
    for (int round = 0; round < arguments.rounds; ++round) {
      alone.push_back(1e3 * timed(sums));
      computed.push_back(1e3 * timed([&] { pieces(false); }));
      together.push_back(1e3 * timed([&] { pieces(true); }));
      hidden.push_back(1 - (together.back() - computed.back()) / alone.back());
    }
    print(speaks, fmt::format("| {} | {} | {} | {} | {} |{}", entry.name, with_interval(alone, "{:.2f}"),
                              with_interval(computed, "{:.2f}"), with_interval(together, "{:.2f}"),
                              with_interval(hidden, "{:.2f}"), compute.result() < 0 ? " " : ""));
  }
}

void run(const Arguments& arguments) {
  const Launch launch = detect_launch();
  if (launch.world < 2) fail_input("sums over ranks need ranks: mpirun -np 2 --bind-to core all_reduce");
  const auto communicator = make_communicator(launch, {.requests = 128, .host = arguments.host});
  const bool speaks = communicator->rank() == 0;
  const std::string absence = communicator->choose_sum_path({});
  const std::size_t bytes = arguments.largest * kMebi;
  const auto shared = communicator->allocate("shared", bytes);
  const std::unique_ptr<float, void (*)(void*)> own(static_cast<float*>(std::aligned_alloc(kMebi, bytes)),
                                                    std::free);
  PLUMB_CHECK(own != nullptr, "no memory for {} bytes", bytes);
  std::fill_n(own.get(), bytes / 4, 0.0F);
  print(speaks,
        fmt::format("{} ranks on {}; {}.", communicator->world(),
                    communicator->local_size() == communicator->world() ? "one host" : "several hosts",
                    shared ? "they share memory" : "no shared memory: " + absence));
  double load[1] = {};
  if (getloadavg(load, 1) == 1) print(speaks, fmt::format("Load at the start: {:.2f}.", load[0]));
  std::vector<Entry> entries;
  entries.push_back({shared ? "Plumb, shared memory" : "Plumb, own memory",
                     std::make_unique<OurWay>(*communicator),
                     shared ? static_cast<float*>(shared.get()) : own.get()});
  entries.push_back({"Plumb, own memory", std::make_unique<OurWay>(*communicator), own.get()});
  entries.push_back({"one MPI_Allreduce", std::make_unique<OneCall>(), own.get()});
  entries.push_back({"MPI_Iallreduce by 1 MiB", std::make_unique<Chunks>(), own.get()});
  compare_sizes(entries, arguments, speaks);
  measure_overlap(entries, arguments, speaks);
}

}  // namespace
}  // namespace plumb::benchmarks

int main(int argc, char** argv) {
  try {
    plumb::benchmarks::run(plumb::benchmarks::parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "all_reduce: %s\n", error.what());
    plumb::abort_all_ranks(1);
    return 1;
  }
}
