#include "host/faults.h"

#include <array>
#include <charconv>
#include <string>
#include <utility>

#include "core/error.h"
#include "host/environment.h"

namespace plumb::emulation {
namespace {

constexpr std::array<std::pair<std::string_view, Fault>, 5> kKinds{
    {{"malloc", Fault::Malloc},
     {"launch", Fault::Launch},
     {"nccl-async", Fault::NcclAsync},
     {"nccl-skip", Fault::NcclSkip},
     {"leading-dimension", Fault::LeadingDimension}}};

struct Counter {
  std::uint64_t strikes_at = 0;  ///< 0: never
  std::uint64_t seen = 0;
};

std::uint64_t whole_number(std::string_view text, std::string_view fault) {
  std::uint64_t value = 0;
  const auto [stopped, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stopped != text.data() + text.size())
    fail_input("PLUMB_EMULATION_FAULT: '{}' in '{}' is no whole number", text, fault);
  return value;
}

class Faults {
 public:
  explicit Faults(std::string_view text) {
    while (!text.empty()) {
      const std::size_t comma = text.find(',');
      add(text.substr(0, comma));
      text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    }
  }

  bool strikes(Fault fault) {
    Counter& counter = counters_[static_cast<std::size_t>(fault)];
    ++counter.seen;
    if (counter.strikes_at == 0) return false;
    return fault == Fault::NcclAsync ? counter.seen >= counter.strikes_at
                                     : counter.seen == counter.strikes_at;
  }

 private:
  void add(std::string_view text) {
    std::string_view rest = text;
    constexpr std::string_view kRank = "rank=";
    if (rest.starts_with(kRank)) {
      const std::size_t colon = rest.find(':');
      if (colon == std::string_view::npos) fail_input("PLUMB_EMULATION_FAULT: '{}' has no ':'", text);
      const auto rank = whole_number(rest.substr(kRank.size(), colon - kRank.size()), text);
      rest = rest.substr(colon + 1);
      if (rank != static_cast<std::uint64_t>(process_rank())) return;
    }
    const std::size_t at = rest.find('@');
    for (const auto& [name, fault] : kKinds) {
      if (at == std::string_view::npos || rest.substr(0, at) != name) continue;
      Counter& counter = counters_[static_cast<std::size_t>(fault)];
      counter.strikes_at = whole_number(rest.substr(at + 1), text);
      if (counter.strikes_at == 0) fail_input("PLUMB_EMULATION_FAULT: '{}' counts from 1", text);
      return;
    }
    fail_input(
        "PLUMB_EMULATION_FAULT: '{}' is not [rank=R:]malloc@N, launch@N, nccl-async@N, nccl-skip@N or "
        "leading-dimension@N",
        text);
  }

  std::array<Counter, kKinds.size()> counters_;
};

Faults& faults() {
  static Faults instance(text_setting("PLUMB_EMULATION_FAULT").value_or(""));
  return instance;
}

}  // namespace

bool strikes(Fault fault) { return faults().strikes(fault); }
void set_faults(std::string_view text) { faults() = Faults(text); }

}  // namespace plumb::emulation
