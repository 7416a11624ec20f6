// What a placement is at a given depth and width, worked out from the configuration that its row loads as:
// equations, norms, coefficients at every depth, init per tensor. `plumb placements`, docs/placements.md and
// the drawings are made from it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/error.h"
#include "core/tensor.h"
#include "nn/parameter.h"
#include "nn/placement.h"
#include "nn/residual_schedule.h"

namespace plumb {

struct DescriptionOptions {
  std::int64_t layers = 12, width = 64, heads = 4;
};

/// A norm slot that is filled.
struct NormDescription {
  std::string slot{};
  NormConfig norm{};  ///< the kind is never "standard"
};

/// One coefficient of one sublayer, or a gain inside its branch.
struct CoefficientDescription {
  std::string name{};  ///< a, b, c, e, p, gain.qk, gain.value, gain.first_value, gain.ffn
  KnobConfig knob{};
  double value = 1;  ///< at this depth: fixed, or where training starts, or at the end of a ramp over time
  bool varies_over_depth = false;  ///< within sublayers of the same configuration

  bool is_trained() const { return knob.trainable != "none"; }
  bool is_random() const { return knob.keep_probability < 1; }
  /// One number for all sublayers of the configuration and for all steps.
  bool is_fixed() const {
    return !is_trained() && !is_random() && !varies_over_depth && !knob.tie_to_branch &&
           knob.time == "constant";
  }
  bool is_one() const { return is_fixed() && value == 1; }
  bool is_zero() const { return is_fixed() && value == 0; }
  /// Absent from the equation: 0 where a term goes away by itself, else 1.
  bool is_absent() const { return name == "e" || name == "gain.first_value" ? is_zero() : is_one(); }
};

struct SublayerDescription {
  std::string name{}, kind{};
  DepthPosition position{};
  SublayerConfig config{};
  std::vector<NormDescription> norms{};                ///< filled slots that act in this kind
  std::vector<CoefficientDescription> coefficients{};  ///< a, b, c, e, p, then the gains of this kind
  std::vector<std::string> equations{};    ///< what the sublayer does, in order; absent terms left out
  std::vector<std::string> inside{};       ///< what acts inside F
  std::vector<std::string> definitions{};  ///< of the coefficients that the lines above name

  const NormDescription* norm(const std::string& slot) const;  ///< null when empty
  const CoefficientDescription& coefficient(const std::string& symbol) const;
};

/// Blocks first to last, both included, from 0.
struct BlockRange {
  std::int64_t first = 0, last = 0;
  bool operator==(const BlockRange&) const = default;
};

/// Sublayers of which the same can be said.
struct SublayerGroup {
  std::vector<std::string> kinds{};
  std::vector<BlockRange> blocks{};
  std::vector<std::string> lines{};
  std::string where{};  ///< "every sublayer", "attention, blocks 0-2"
};

/// Equal blocks.
struct BlockGroup {
  std::vector<BlockRange> blocks{};
  std::int64_t example = 0;  ///< the first of them
};

/// A part of a tensor.
struct TensorPart {
  std::string matrix{};  ///< "W_Q, W_K"; empty for a whole tensor
  InitRule init{};
  std::vector<double> values{};  ///< not empty: constants entry by entry, in the place of init
  bool operator==(const TensorPart&) const = default;
};

/// Tensors of the same name, but for the block, that start alike.
struct TensorDescription {
  std::string name{};                ///< "blocks.*.attention.qkv.weight"
  std::vector<BlockRange> blocks{};  ///< empty outside blocks
  Shape shape{};
  std::vector<TensorPart> parts{};
  std::string twin{};  ///< not empty: correlated with the tensor of this name
  double correlation = 0;
  Sphere sphere = Sphere::None;
  bool trainable = true, weight_decay = true;
};

/// One row of the coefficients over depth: only those that are there somewhere.
struct CoefficientRow {
  std::string where{};
  std::vector<BlockRange> blocks{};
  std::vector<double> values{};  ///< NaN where the coefficient does not act
  std::vector<bool> trained{};   ///< the value is where training starts
};
struct CoefficientTable {
  std::vector<std::string> names{};
  std::vector<CoefficientRow> rows{};
};

struct PlacementDescription {
  const Placement* row = nullptr;  ///< the one that the configuration starts from
  DescriptionOptions options{};
  Config config{};  ///< as resolved
  std::vector<SublayerDescription> sublayers{};
  std::vector<NormDescription> model_norms{};  ///< embedding, stream, final
  std::vector<std::string> start{}, end{};     ///< equations before and after the sublayers
  std::vector<SublayerGroup> equations{}, inside{}, definitions{}, norms{};
  std::vector<BlockGroup> blocks{};
  CoefficientTable coefficients{};
  std::vector<TensorDescription> tensors{};
  std::string golden_file{};  ///< path from the top of the tree

  const SublayerDescription& sublayer(std::int64_t block, std::size_t place) const {
    return sublayers[static_cast<std::size_t>(block) * config.model.block.size() + place];
  }
  const NormDescription* model_norm(const std::string& slot) const;  ///< null when empty
};

/// Throws InputError when the row does not load at these options.
PlacementDescription describe_placement(const Placement& row, const DescriptionOptions& options = {});

/// What a whole configuration resolves to, whatever it changes of its placement's row.
PlacementDescription describe_configuration(const Config& config);

/// "layernorm, eps 1e-05, gain from 1, bias from 0".
std::string text_of(const NormConfig& norm);
/// "normal, sd 0.02", "uniform within 0.108, sd 0.0625", "0".
std::string text_of(const InitRule& rule);
/// "W_Q, W_K: normal, sd 0.02; W_V: ...".
std::string text_of(const TensorDescription& tensor);
/// "0-2, 5"; "0, 2, ... 10" for five or more at one distance.
std::string text_of(const std::vector<BlockRange>& blocks);
/// Adds a block that is not below those that are there.
void append_block(std::vector<BlockRange>& ranges, std::int64_t block);

/// Groups sublayers by what `lines` says of them; those of which it says nothing are left out.
std::vector<SublayerGroup> group_sublayers(
    const PlacementDescription& description,
    const std::function<std::vector<std::string>(const SublayerDescription&)>& lines);

}  // namespace plumb
