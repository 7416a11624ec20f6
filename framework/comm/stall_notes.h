// StallNotes: how a rank that waits too long learns which ranks it waits for, whatever communicator it waits
// in.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace plumb {

/// Name of a collective, cut to 47 characters: fixed size, so that naming one allocates nothing.
struct CollectiveName {
  std::array<char, 48> text{};

  CollectiveName() = default;
  explicit CollectiveName(std::string_view name);
  std::string_view view() const { return text.data(); }
};

/// All communicators of a process number their collectives here, in the order in which they are started;
/// since every rank makes the same calls in the same order, number n is the same collective on every rank.
///
/// A rank that has waited for half of its deadline sends every other rank a short note: "I wait in collective
/// number n, called so". Whoever waits and gets a note answers with its own. When the deadline comes, the
/// ranks whose note is missing are those that are waited for. No collective is involved, and nothing is sent
/// as long as all is well.
class StallNotes {
 public:
  StallNotes() = default;
  virtual ~StallNotes() = default;
  StallNotes(const StallNotes&) = delete;
  StallNotes& operator=(const StallNotes&) = delete;

  /// For a collective that is about to be started; 1 for the first.
  std::uint64_t next_number() { return ++numbered_; }
  std::uint64_t last_number() const { return numbered_; }

  /// Sends the note, once for each collective.
  virtual void announce(std::uint64_t number, const CollectiveName& name) = 0;
  /// Reads what has come; answers when another rank has sent a note since this one's last.
  virtual void listen(std::uint64_t number, const CollectiveName& name) = 0;
  /// Whether another rank is known to wait in an earlier collective, or a lower rank in one of the same
  /// number: it will say what is wrong, and this rank need not say so too.
  virtual bool left_to_another(std::uint64_t number) const = 0;
  /// Seconds by which a rank then waits longer.
  static constexpr double kGrace = 10;
  /// "; nothing was heard of rank 2 (host b): ...; rank 0 waits in it too".
  virtual std::string describe(std::uint64_t number, const CollectiveName& name) const = 0;

 private:
  std::uint64_t numbered_ = 0;
};

/// Of a world of one rank: nobody to hear of.
class NoStallNotes final : public StallNotes {
 public:
  void announce(std::uint64_t, const CollectiveName&) override {}
  void listen(std::uint64_t, const CollectiveName&) override {}
  bool left_to_another(std::uint64_t) const override { return false; }
  std::string describe(std::uint64_t, const CollectiveName&) const override { return ""; }
};

}  // namespace plumb
