// What a placement's description says, against numbers worked out by hand, and the pages made from it.
#include "nn/description/placement_description.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "nn/description/placement_drawing.h"
#include "nn/description/placement_reference.h"

namespace plumb {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

PlacementDescription describe(const std::string& name, std::int64_t layers = 12) {
  const Placement* row = find_placement(name);
  if (row == nullptr) throw std::runtime_error("no placement " + name);
  return describe_placement(*row, {.layers = layers});
}

/// Standard deviation of the part of a tensor in a block.
double deviation(const PlacementDescription& description, const std::string& name, std::int64_t block,
                 std::size_t part = 0) {
  for (const TensorDescription& tensor : description.tensors) {
    if (tensor.name != name) continue;
    for (const BlockRange& range : tensor.blocks) {
      if (range.first <= block && block <= range.last) return tensor.parts[part].init.standard_deviation();
    }
  }
  return NAN;
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

TEST(PlacementDescription, EveryRowLoadsAtEveryDepth) {
  for (const Placement& row : placements()) {
    for (std::int64_t layers : {1, 2, 3, 12, 48}) {
      SCOPED_TRACE(fmt::format("{} at {} layers", row.name, layers));
      const PlacementDescription description = describe_placement(row, {.layers = layers});
      EXPECT_EQ(description.sublayers.size(), static_cast<std::size_t>(2 * layers));
      EXPECT_FALSE(description.equations.empty());
      EXPECT_FALSE(description.tensors.empty());
    }
  }
}

TEST(PlacementDescription, DeepNorm) {
  const PlacementDescription deepnorm = describe("deepnorm");
  EXPECT_NEAR(deepnorm.sublayer(0, 0).coefficient("a").value, 2.2134, 5e-5);  // 24^(1/4)
  EXPECT_NEAR(deepnorm.sublayer(11, 1).coefficient("a").value, 2.2134, 5e-5);
  // Xavier of 64 x 64 is sqrt(2/128) = 1/8, of 64 x 256 sqrt(2/320); beta = 96^(-1/4) = 0.3195.
  const std::string qkv = "blocks.*.attention.qkv.weight";
  EXPECT_NEAR(deviation(deepnorm, qkv, 5, 0), 0.125, 1e-12);
  EXPECT_NEAR(deviation(deepnorm, qkv, 5, 1), 0.3195 / 8, 1e-5);
  EXPECT_NEAR(deviation(deepnorm, "blocks.*.ffn.expand.weight", 5), 0.3195 * std::sqrt(2.0 / 320), 1e-5);
  ASSERT_EQ(deepnorm.equations.size(), 1u);
  EXPECT_EQ(deepnorm.equations[0].where, "every sublayer");
  EXPECT_THAT(deepnorm.equations[0].lines, ElementsAre("x' = N_post(a x + F(x))"));
  EXPECT_THAT(deepnorm.definitions.at(0).lines, ElementsAre("a = K^0.25 = 2.2134, K = 24 sublayers"));
}

TEST(PlacementDescription, KeelTreatsBlockZeroByItself) {
  const PlacementDescription keel = describe("keel");
  ASSERT_EQ(keel.blocks.size(), 2u);
  EXPECT_EQ(keel.blocks[0].blocks, (std::vector<BlockRange>{{0, 0}}));
  EXPECT_EQ(keel.blocks[1].blocks, (std::vector<BlockRange>{{1, 11}}));
  EXPECT_THAT(keel.sublayer(0, 1).equations, ElementsAre("u = N_in(x)", "x' = x + F(u)"));
  EXPECT_THAT(keel.sublayer(1, 0).equations, ElementsAre("u = N_in(x)", "x' = N_post(a x + F(u))"));
  EXPECT_EQ(keel.sublayer(0, 0).coefficient("a").value, 1);
  EXPECT_EQ(keel.sublayer(11, 1).coefficient("a").value, 24);
  EXPECT_EQ(keel.sublayer(0, 0).norm("post"), nullptr);
  ASSERT_NE(keel.sublayer(1, 0).norm("post"), nullptr);
  EXPECT_EQ(keel.sublayer(1, 0).norm("post")->norm.kind, "rmsnorm");
}

TEST(PlacementDescription, CoefficientsOverDepth) {
  const PlacementDescription scaling = describe("layernorm-scaling", 6);
  const double expected[] = {1,   1 / std::sqrt(2.0), 1 / std::sqrt(3.0),
                             0.5, 1 / std::sqrt(5.0), 1 / std::sqrt(6.0)};
  EXPECT_THAT(scaling.coefficients.names, ElementsAre("c"));
  ASSERT_EQ(scaling.coefficients.rows.size(), 6u);
  for (std::size_t block = 0; block < 6; ++block) {
    EXPECT_EQ(scaling.coefficients.rows[block].where, fmt::format("block {}", block));
    EXPECT_NEAR(scaling.coefficients.rows[block].values[0], expected[block], 1e-12);
  }
  EXPECT_EQ(scaling.equations.size(), 1u) << "c is in the equation of block 0 too, where it is 1";

  const PlacementDescription ngpt = describe("ngpt");
  EXPECT_NEAR(ngpt.sublayer(0, 0).coefficient("a").value, 0.95, 1e-12);
  EXPECT_NEAR(ngpt.sublayer(0, 0).coefficient("b").value, 0.05, 1e-12);
  EXPECT_NEAR(ngpt.sublayer(0, 1).coefficient("gain.ffn").value, 8, 1e-12);        // sqrt(64)
  EXPECT_EQ(describe("skipinit", 8).sublayer(7, 0).coefficient("b").value, 0.25);  // 1/sqrt(16)
}

TEST(PlacementDescription, EquationsOfOtherForms) {
  EXPECT_THAT(describe("mix-ln").equations.at(0).where, "blocks 0-2");
  EXPECT_THAT(describe("b2t").sublayer(3, 1).equations, ElementsAre("x' = N_post(x + F(x) + x_block)"));
  EXPECT_THAT(describe("spannorm").sublayer(3, 1).equations, ElementsAre("x' = N_post(F(x) + x_block)"));
  EXPECT_THAT(describe("parallel").sublayer(3, 1).equations,
              ElementsAre("u = N_in(x_block)", "x' = x + F(u)"));
  EXPECT_THAT(describe("gpas").sublayer(3, 1).equations, ElementsAre("u = N_in(x)", "x' = p (x + F(u))"));
  EXPECT_THAT(describe("residual").sublayer(3, 1).equations,
              ElementsAre("z = F(X)", "X' = N_post(X + z)", "Y' = Y + z"));
  EXPECT_THAT(describe("siamesenorm").sublayer(3, 1).equations,
              ElementsAre("u = N_in(X + N_stream(Y))", "z = F(u)", "X' = N_post(X + z)", "Y' = Y + z"));
  EXPECT_THAT(describe("siamesenorm").end, ElementsAre("logits = W_head N_final(X + N_stream(Y))"));
  EXPECT_THAT(describe("mhc").sublayer(3, 1).equations,
              ElementsAre("h = sum_i read_i X_i", "u = N_in(h)", "X'_j = sum_i mix_ij X_i + write_j F(u)"));
}

// gpt2 scales W_O and W_2 by 1/sqrt(24), but not under N_out; b2t divides by sqrt(L), and W_V by sqrt(2)
// more.
TEST(PlacementDescription, InitOfTensors) {
  EXPECT_NEAR(deviation(describe("pre"), "blocks.*.ffn.contract.weight", 3), 0.02 / std::sqrt(24.0), 1e-12);
  EXPECT_NEAR(deviation(describe("peri"), "blocks.*.ffn.contract.weight", 3), 0.02, 1e-12);
  EXPECT_NEAR(deviation(describe("b2t"), "blocks.*.attention.qkv.weight", 3), 0.125 / std::sqrt(24.0), 1e-12);
  const PlacementDescription hyper = describe("hyper-connections");
  for (const TensorDescription& tensor : hyper.tensors) {
    if (tensor.name != "blocks.*.ffn.streams.base") continue;
    EXPECT_EQ(text_of(tensor.blocks), "0, 2, ... 10")
        << "sublayers 1, 5, 9, ... read the second of 4 streams";
    EXPECT_EQ(text_of(tensor), "read: 0 1 0 0; write: 1 1 1 1; mix: 1 on the diagonal, 0 off it");
    return;
  }
  FAIL() << "no base of the mixing weights";
}

TEST(PlacementDrawing, ShowsWhatTheRowHas) {
  const std::string pre = placement_svg(describe("pre")), post = placement_svg(describe("post"));
  EXPECT_THAT(pre, HasSubstr(">in</tspan>"));
  EXPECT_THAT(pre, HasSubstr(">final</tspan>"));
  EXPECT_THAT(pre, Not(HasSubstr(">post</tspan>")));
  EXPECT_THAT(post, HasSubstr(">post</tspan>"));
  EXPECT_THAT(post, Not(HasSubstr(">in</tspan>")));
  EXPECT_THAT(placement_svg(describe("deepnorm")), HasSubstr("a = 2.2134"));
  EXPECT_THAT(placement_svg(describe("mix-ln")), HasSubstr(">blocks 3-11</text>"));
}

TEST(PlacementReference, DocsAreCurrent) {
  const std::filesystem::path docs = PLUMB_SOURCE_DIR "/docs";
  const char* const advice = "does not say what the rows say; build the target placement_reference";
  EXPECT_TRUE(read_file(docs / "placements.md") == placement_reference_markdown())
      << "docs/placements.md " << advice;
  const auto figures = placement_figures();
  EXPECT_EQ(figures.size(), placements().size());
  for (const auto& [name, svg] : figures) {
    EXPECT_TRUE(read_file(docs / "figures" / "placements" / (name + ".svg")) == svg)
        << name << ".svg " << advice;
  }
  for (const auto& entry : std::filesystem::directory_iterator(docs / "figures" / "placements")) {
    EXPECT_TRUE(figures.contains(entry.path().stem().string())) << entry.path() << " belongs to no placement";
  }
}

TEST(PlacementReference, HasTheSectionsThatOtherPagesLinkTo) {
  const std::string text = placement_reference_markdown();
  for (const char* heading : {"\n## Residual schedules\n", "\n## Init\n", "\n## Companions\n"}) {
    EXPECT_THAT(text, HasSubstr(heading));
  }
  for (const Placement& row : placements()) {
    EXPECT_THAT(text, HasSubstr(fmt::format("\n## {}\n", row.name)));
  }
}

}  // namespace
}  // namespace plumb
