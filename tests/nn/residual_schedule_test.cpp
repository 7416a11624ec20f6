// Residual schedules against closed forms written here from the papers.
#include "nn/residual_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "config/schema.h"

namespace plumb::test {
namespace {

/// Sublayers k = 0.. of blocks of two: position of unit l = 1..L.
DepthPosition position_of(int l, int L, bool by_block) {
  if (by_block) return {.sublayer = 2 * l - 1, .sublayers = 2 * L, .block = l - 1, .blocks = L};
  return {.sublayer = l - 1, .sublayers = L, .block = (l - 1) / 2, .blocks = (L + 1) / 2};
}

using DepthForm = std::function<double(double L, double l)>;

/// With end 0.25, base 4, exponent -0.75.
const std::map<std::string, DepthForm>& depth_forms() {
  static const std::map<std::string, DepthForm> forms = {
      {"constant", [](double, double) { return 1.0; }},
      {"1/L", [](double L, double) { return 1 / L; }},
      {"1/sqrt(L)", [](double L, double) { return std::pow(L, -0.5); }},
      {"1/l", [](double, double l) { return 1 / l; }},
      {"1/sqrt(l)", [](double, double l) { return std::pow(l, -0.5); }},
      {"sqrt(l)", [](double, double l) { return std::pow(l, 0.5); }},
      {"linear", [](double L, double l) { return L == 1 ? 1 : ((L - l) * 1 + (l - 1) * 0.25) / (L - 1); }},
      {"cosine",
       [](double L, double l) {
         return L == 1 ? 1 : 0.25 + 0.75 * std::pow(std::cos(M_PI / 2 * (l - 1) / (L - 1)), 2);
       }},
      {"power", [](double L, double) { return std::exp(-0.75 * std::log(L / 4)); }},
      {"depth-mup", [](double L, double) { return std::sqrt(4 / L); }},
      {"completep", [](double L, double) { return std::exp(-0.75 * std::log(L / 4)); }},
      {"deepscalelm-skip", [](double L, double) { return L < 2 ? 0 : std::sqrt((L - 2) / L); }},
      {"deepscalelm-branch", [](double L, double) { return L < 2 ? 1 : std::sqrt(2 / L); }},
  };
  return forms;
}

KnobConfig knob_with(const std::string& depth, bool by_block) {
  KnobConfig knob;
  knob.depth = depth;
  knob.counts = by_block ? "blocks" : "sublayers";
  knob.depth_end = 0.25;
  knob.depth_base = 4;
  knob.depth_exponent = -0.75;
  return knob;
}

TEST(DepthSchedule, ClosedForms) {
  for (const auto& [name, form] : depth_forms()) {
    for (const bool by_block : {false, true}) {
      const KnobConfig knob = knob_with(name, by_block);
      for (const int L : {1, 2, 3, 12, 96, 1000}) {
        for (const int l : {1, 2, 3, L / 2, L - 1, L}) {
          if (l < 1 || l > L) continue;
          const double expected = form(L, l);
          EXPECT_NEAR(depth_factor(knob, position_of(l, L, by_block)), expected, 1e-14 * (1 + expected))
              << name << " of " << l << " of " << L << (by_block ? " blocks" : " sublayers");
        }
      }
    }
  }
}

TEST(DepthSchedule, EndsAndMiddle) {
  for (const char* name : {"linear", "cosine"}) {
    const KnobConfig knob = knob_with(name, true);
    EXPECT_EQ(depth_factor(knob, position_of(1, 9, true)), 1);
    EXPECT_DOUBLE_EQ(depth_factor(knob, position_of(5, 9, true)), 0.625);
    EXPECT_DOUBLE_EQ(depth_factor(knob, position_of(9, 9, true)), 0.25);
    EXPECT_EQ(depth_factor(knob, position_of(1, 1, true)), 1) << "a single unit is the first";
  }
  // A quarter of the way: the straight line, and the cosine above it.
  EXPECT_DOUBLE_EQ(depth_factor(knob_with("linear", true), position_of(3, 9, true)), 0.8125);
  EXPECT_DOUBLE_EQ(depth_factor(knob_with("cosine", true), position_of(3, 9, true)),
                   0.625 + 0.375 * std::sqrt(0.5));
}

TEST(DepthSchedule, CompletePAndDepthMupAreOneAtTheirBase) {
  for (const char* name : {"completep", "depth-mup", "power"}) {
    EXPECT_EQ(depth_factor(knob_with(name, false), position_of(2, 4, false)), 1) << name;
  }
  KnobConfig completep;  // alpha = 1 by default
  completep.depth = "completep";
  completep.depth_base = 2;
  completep.counts = "blocks";
  EXPECT_DOUBLE_EQ(depth_factor(completep, position_of(7, 64, true)), 1.0 / 32);
}

TEST(DepthSchedule, LayerScaleCountsBlocksWhateverTheKnobSays) {
  for (const char* counts : {"blocks", "sublayers"}) {
    KnobConfig knob;
    knob.depth = "layerscale";
    knob.counts = counts;
    for (const auto& [L, expected] : {std::pair{1, 0.1}, std::pair{18, 0.1}, std::pair{19, 1e-5},
                                      std::pair{24, 1e-5}, std::pair{25, 1e-6}, std::pair{200, 1e-6}}) {
      EXPECT_EQ(depth_factor(knob, position_of(1, L, true)), expected) << L << counts;
      EXPECT_EQ(depth_factor(knob, position_of(L, L, true)), expected) << L << counts;
    }
  }
}

TEST(DepthSchedule, ListGivesEachUnitItsEntry) {
  KnobConfig knob;
  knob.depth = "list";
  knob.list = {3, -1, 0.5, 7};
  for (int l = 1; l <= 4; ++l) {
    knob.counts = "sublayers";
    EXPECT_EQ(depth_factor(knob, position_of(l, 4, false)), knob.list[static_cast<std::size_t>(l) - 1]);
    knob.counts = "blocks";
    EXPECT_EQ(depth_factor(knob, position_of(l, 4, true)), knob.list[static_cast<std::size_t>(l) - 1]);
  }
}

/// At step t with T = ramp_steps, of unit l of L.
using TimeForm = std::function<double(double L, double l, double t, double T)>;

/// From m at the end of the ramp of unit l - 1, which ends at T (l - 1), up to 1 at T l.
double stagewise(double m, double l, double t, double T) {
  const double begin = T * (l - 1), end = T * l;
  if (t <= begin) return m;
  return t >= end ? 1 : m + (1 - m) * (t - begin) / (end - begin);
}

const std::map<std::string, TimeForm>& time_forms() {
  using std::min, std::sqrt;
  static const std::map<std::string, TimeForm> forms = {
      {"constant", [](double, double, double, double) { return 1.0; }},
      {"linear", [](double, double, double t, double T) { return t < T ? 0.3 + 0.7 * t / T : 1; }},
      {"branchnorm", [](double, double, double t, double T) { return min(1.0, t / T); }},
      {"prores-linear", [](double, double l, double t, double T) { return min(t / (T * l), 1.0); }},
      {"prores-linear-sqrt",
       [](double, double l, double t, double T) { return min(sqrt(t / (T * l)), 1.0); }},
      {"prores-linear-square",
       [](double, double l, double t, double T) { return min(t * t / (T * T * l * l), 1.0); }},
      {"prores-equal", [](double, double, double t, double T) { return min(t / T, 1.0); }},
      {"prores-reverse",
       [](double L, double l, double t, double T) { return min(t / (T * (L - l + 1)), 1.0); }},
      {"prores-stagewise-0", [](double, double l, double t, double T) { return stagewise(0, l, t, T); }},
      {"prores-stagewise-1/L",
       [](double L, double l, double t, double T) { return stagewise(1 / L, l, t, T); }},
      {"prores-stagewise-1/sqrt(L)",
       [](double L, double l, double t, double T) { return stagewise(1 / sqrt(L), l, t, T); }},
      {"prores-stagewise-1/sqrt(l)",
       [](double, double l, double t, double T) { return stagewise(1 / sqrt(l), l, t, T); }},
  };
  return forms;
}

TEST(TimeSchedule, ClosedForms) {
  for (const auto& [name, form] : time_forms()) {
    for (const bool by_block : {false, true}) {
      KnobConfig knob;
      knob.time = name;
      knob.time_counts = by_block ? "blocks" : "sublayers";
      knob.time_start = 0.3;
      for (const std::int64_t T : {1, 7, 1000}) {
        knob.ramp_steps = T;
        for (const int L : {1, 2, 24}) {
          for (int l = 1; l <= L; ++l) {
            for (const std::int64_t t :
                 {std::int64_t{0}, std::int64_t{1}, T / 2, T - 1, T, T + 1, T * (l - 1), T * (l - 1) + 3,
                  T * l - 1, T * l, T * L, std::int64_t{1000000000}}) {
              EXPECT_NEAR(time_factor(knob, position_of(l, L, by_block), t),
                          form(L, l, static_cast<double>(t), static_cast<double>(T)), 1e-14)
                  << name << " at step " << t << ", T = " << T << ", " << l << " of " << L;
            }
          }
        }
      }
    }
  }
}

TEST(TimeSchedule, BlocksAndSublayersDiffer) {
  KnobConfig knob;
  knob.time = "prores-linear";
  knob.ramp_steps = 10;
  const DepthPosition position{.sublayer = 5, .sublayers = 8, .block = 2, .blocks = 4};
  EXPECT_DOUBLE_EQ(time_factor(knob, position, 6), 0.2) << "blocks by default, as ProRes";
  knob.time_counts = "sublayers";
  EXPECT_DOUBLE_EQ(time_factor(knob, position, 6), 0.1);
  // `counts` is for depth alone.
  knob.counts = "blocks";
  EXPECT_DOUBLE_EQ(time_factor(knob, position, 6), 0.1);
}

TEST(TimeSchedule, FirstUpdateOfProResRunsWithoutBranches) {
  for (const char* name : {"prores-linear", "prores-linear-sqrt", "prores-linear-square", "prores-equal",
                           "prores-reverse", "prores-stagewise-0", "branchnorm"}) {
    KnobConfig knob;
    knob.time = name;
    knob.ramp_steps = 4;
    for (int l = 1; l <= 3; ++l) EXPECT_EQ(time_factor(knob, position_of(l, 3, true), 0), 0) << name;
  }
}

template <class Row>
std::vector<std::string> names_of(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const Row& row : rows) {
    names.emplace_back(row.name);
    EXPECT_FALSE(row.formula.empty() || row.citation.empty()) << row.name;
  }
  return names;
}

template <class Form>
std::vector<std::string> keys_of(const std::map<std::string, Form>& forms) {
  std::vector<std::string> keys;
  for (const auto& entry : forms) keys.push_back(entry.first);
  return keys;
}

TEST(Schedules, SchemaNamesAreTheTables) {
  const std::vector<std::string> depth = names_of(depth_schedules()), time = names_of(time_schedules());
  for (const char* knob : {"residual.a", "residual.b", "residual.c", "residual.e", "residual.p", "gain.qk",
                           "gain.value", "gain.first_value", "gain.ffn"}) {
    const std::string key = std::string("model.") + knob;
    EXPECT_THAT(find_field(key + ".depth")->allowed.names, testing::UnorderedElementsAreArray(depth));
    EXPECT_THAT(find_field(key + ".time")->allowed.names, testing::UnorderedElementsAreArray(time));
  }
  // A factor outside the blocks has no depth.
  EXPECT_EQ(find_field("model.gain.logits.depth"), nullptr);
  EXPECT_THAT(find_field("model.gain.logits.time")->allowed.names,
              testing::ElementsAre("constant", "linear", "branchnorm"));
  // Each has its closed form above.
  std::vector<std::string> forms = keys_of(depth_forms());
  forms.insert(forms.end(), {"layerscale", "list"});
  EXPECT_THAT(depth, testing::UnorderedElementsAreArray(forms));
  EXPECT_THAT(time, testing::UnorderedElementsAreArray(keys_of(time_forms())));
}

TEST(Schedules, CountsIsReadByEveryScheduleThatCounts) {
  const ReadWhen& conditions = find_field("model.residual.b.counts")->read_when;
  ASSERT_EQ(conditions.size(), 1U);
  std::vector<std::string> counting;
  for (const DepthSchedule& row : depth_schedules()) {
    if (row.name != "constant" && !row.counts_blocks) counting.emplace_back(row.name);
  }
  EXPECT_THAT(conditions[0].values, testing::UnorderedElementsAreArray(counting));
}

}  // namespace
}  // namespace plumb::test
