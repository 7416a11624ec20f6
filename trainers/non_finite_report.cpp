#include "non_finite_report.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "checkpoint/atomic_directory.h"
#include "comm/gather_texts.h"
#include "core/file.h"
#include "core/finite.h"
#include "model_state.h"
#include "non_finite_search.h"

namespace plumb {
namespace {

using Json = nlohmann::ordered_json;

/// What one rank knows.
struct RankFinding {
  std::vector<BadTensor> parameters;  ///< bad before the pass
  std::optional<BadTensor> first;     ///< of the pass
  std::int64_t micro_step = 0;
  std::uint64_t first_sequence = 0;  ///< of that micro-step
};

/// The engine's passes go by way of another backend as long as it lives.
class PassThrough {
 public:
  PassThrough(Engine& engine, Backend& around) : engine_(engine), before_(engine.pass_through(&around)) {}
  ~PassThrough() { engine_.pass_through(before_); }
  PassThrough(const PassThrough&) = delete;
  PassThrough& operator=(const PassThrough&) = delete;

 private:
  Engine& engine_;
  Backend* before_;
};

/// One step, pass by pass, with every result looked at.
class Replay {
 public:
  Replay(const StepReplay& parts, const StepRecord& record)
      : parts_(parts),
        cursor_(static_cast<std::uint64_t>(record.data_cursor - parts.sampler.sequences_per_step())),
        step_(record.step - 1),
        batch_(parts.sampler.make_batch()) {
    probes_.loss_sums = parts.loss_sums;
  }

  RankFinding run() {
    Engine& engine = parts_.engine;
    RankFinding finding;
    look_at_parameters(finding);
    NonFiniteSearch search(engine.backend());
    ObservedBackend observed(engine.pass_backend(), search);
    engine.begin_step(step_);
    engine.zero_gradients();
    engine.pass_backend().elementwise().fill(engine.stream(), parts_.loss_sums, 0);
    const PassThrough through(engine, observed);
    const double scale = 1 / static_cast<double>(parts_.sampler.targets_per_step());
    for (std::int64_t m = 0; m < parts_.sampler.partition().micro_steps && !search.found(); ++m) {
      parts_.sampler.fill(cursor_, m, batch_);
      engine.upload_batch(batch_.inputs, batch_.targets, batch_.first_sequence);
      search.begin("forward");
      engine.forward(probes_, /*training=*/true);
      search.begin("backward");
      if (!search.found()) engine.backward(probes_, scale, nullptr, /*training=*/true);
      finding.micro_step = m;
      finding.first_sequence = batch_.first_sequence;
    }
    engine.stream().synchronize();
    finding.first = search.found();
    return finding;
  }

  /// The whole batch of this rank: "inputs", "targets" (sequences, T).
  void save_batch(const std::filesystem::path& file) {
    const std::int64_t tokens = parts_.engine.model().shape().tokens;
    std::vector<std::int32_t> inputs, targets;
    for (std::int64_t m = 0; m < parts_.sampler.partition().micro_steps; ++m) {
      parts_.sampler.fill(cursor_, m, batch_);
      inputs.insert(inputs.end(), batch_.inputs.begin(), batch_.inputs.end());
      targets.insert(targets.end(), batch_.targets.begin(), batch_.targets.end());
    }
    const Shape shape{static_cast<std::int64_t>(inputs.size()) / tokens, tokens};
    write_safetensors(file,
                      {{"inputs", Tensor(inputs.data(), DType::Int32, shape)},
                       {"targets", Tensor(targets.data(), DType::Int32, shape)}},
                      {{"first_sequence", std::to_string(parts_.sampler.first_sequence(cursor_, 0))}});
  }

 private:
  void look_at_parameters(RankFinding& finding) {
    Backend& backend = parts_.engine.backend();
    for (const Parameter& parameter : parts_.engine.parameters().all()) {
      auto bad = find_bad_entries(backend, parts_.engine.stream(), parameter.value);
      if (!bad) continue;
      bad->pass = "parameters";
      bad->tensor = parameter.name;
      finding.parameters.push_back(*bad);
    }
  }

  const StepReplay& parts_;
  std::uint64_t cursor_;
  std::int64_t step_;
  Batch batch_;
  Probes probes_;
};

/// The model's layer (block) of a sublayer's name, -1 of anything else.
std::int64_t layer_of(const Transformer& model, const std::string& part) {
  for (std::int64_t k = 0; k < model.sublayers(); ++k)
    if (model.sublayer(k).name() == part) return model.sublayer(k).position().block;
  return -1;
}

Json bad_json(const BadTensor& bad) {
  return {{"tensor", bad.tensor},          {"shape", to_string(bad.shape)},
          {"dtype", name_of(bad.dtype)},   {"row", bad.row},
          {"column", bad.column},          {"value", non_finite_kind(bad.value)},
          {"bad_entries", bad.bad_entries}};
}

Json finding_json(const StepReplay& parts, const RankFinding& finding) {
  const Communicator& communicator = parts.session.communicator();
  const Sampler::Partition& partition = parts.sampler.partition();
  Json json;
  json["rank"] = communicator.rank();
  json["host"] = communicator.hosts()[static_cast<std::size_t>(communicator.rank())];
  for (const BadTensor& bad : finding.parameters) json["parameters"].push_back(bad_json(bad));
  if (!finding.first) return json;
  const BadTensor& bad = *finding.first;
  const ModelShape& shape = parts.engine.model().shape();
  Json first = {{"pass", bad.pass}, {"part", bad.part}, {"op", bad.op}};
  if (const std::int64_t layer = layer_of(parts.engine.model(), bad.part); layer >= 0) first["layer"] = layer;
  first.update(bad_json(bad));
  first["micro_step"] = finding.micro_step;
  Json sequences = Json::array();
  for (std::int64_t j = 0; j < partition.micro_batch_rows; ++j)
    sequences.push_back(finding.first_sequence + static_cast<std::uint64_t>(j));
  first["sequences"] = sequences;
  if (has_row_per_token(bad, shape.rows())) {
    first["sequence"] = finding.first_sequence + static_cast<std::uint64_t>(bad.row / shape.tokens);
    first["token"] = bad.row % shape.tokens;
  }
  json["first"] = first;
  return json;
}

/// "rank 1 (host): the first bad result is nan in y of linear_forward, forward of blocks.7.ffn, micro-step 0,
/// sequence 12"
std::string sentence_of(const Json& json) {
  std::string text = fmt::format("rank {} ({}): ", json["rank"].get<int>(), json["host"].get<std::string>());
  if (json.contains("parameters")) {
    const Json& bad = json["parameters"][0];
    text += fmt::format("parameter {} holds {} in {} place(s){}; ", bad["tensor"].get<std::string>(),
                        bad["value"].get<std::string>(), bad["bad_entries"].get<std::int64_t>(),
                        json["parameters"].size() > 1 ? " and others too" : "");
  }
  if (!json.contains("first")) return text + "every result of the passes is finite";
  const Json& first = json["first"];
  text += fmt::format("the first bad result is {} in {} of {}", first["value"].get<std::string>(),
                      first["tensor"].get<std::string>(), first["op"].get<std::string>());
  text += fmt::format(", {} of {}", first["pass"].get<std::string>(), first["part"].get<std::string>());
  text += fmt::format(", micro-step {}", first["micro_step"].get<std::int64_t>());
  if (first.contains("sequence"))
    text += fmt::format(", sequence {}", first["sequence"].get<std::uint64_t>());
  return text;
}

NonFiniteFinding summary_of(const Json& ranks) {
  NonFiniteFinding finding;
  std::vector<int>& found = finding.subject.ranks;
  for (const Json& json : ranks) {
    if (!json.contains("first") && !json.contains("parameters")) continue;
    found.push_back(json["rank"].get<int>());
    finding.subject.hosts.push_back(json["host"].get<std::string>());
    if (found.size() > 1) continue;
    finding.text = sentence_of(json);
    if (json.contains("parameters"))
      finding.subject.tensor = json["parameters"][0]["tensor"].get<std::string>();
    if (!json.contains("first")) continue;
    const Json& sequences = json["first"]["sequences"];
    finding.subject.first_sequence = sequences[0].get<std::int64_t>();
    finding.subject.sequences = static_cast<std::int64_t>(sequences.size());
  }
  if (found.empty()) {
    finding.text =
        "run again, every result of every op is finite on every rank: the sum over ranks overflowed, or a "
        "fault of the hardware that does not come back";
  }
  if (found.size() > 1)
    finding.text += fmt::format("; {} further rank(s) have bad results too", found.size() - 1);
  return finding;
}

Json number_json(double value) { return std::isfinite(value) ? Json(value) : Json(non_finite_kind(value)); }

Json report_json(const StepReplay& parts, const StepRecord& record, const std::string& summary,
                 const Json& ranks) {
  const std::int64_t sequences = parts.sampler.sequences_per_step();
  return {{"step", record.step},
          {"summary", summary},
          {"loss", number_json(record.loss)},
          {"grad_norm", number_json(record.gradient_norm)},
          {"first_sequence", record.data_cursor - sequences},
          {"sequences", sequences},
          {"parameters_updated_since", parts.updated_since},
          {"ranks", ranks}};
}

/// A run that went back may meet the step again, with other data: "step_00000020", "step_00000020_2", ... A
/// collective.
std::string free_name(const StepReplay& parts, std::int64_t step) {
  return parts.session.from_first([&] {
    const std::filesystem::path folder = parts.folder / "nan";
    const std::string first = step_directory_name(step);
    std::string name = first;
    for (int n = 2;
         std::filesystem::exists(folder / name) || std::filesystem::exists(folder / (name + ".json")); ++n)
      name = fmt::format("{}_{}", first, n);
    return name;
  });
}

}  // namespace

bool is_non_finite(const StepRecord& record, bool scales_loss) {
  if (!std::isfinite(record.loss)) return true;
  return !scales_loss && !std::isfinite(record.gradient_norm);
}

NonFiniteFinding report_non_finite_step(const StepReplay& parts, const StepRecord& record) {
  Replay replay(parts, record);
  const std::string own = finding_json(parts, replay.run()).dump();
  Json ranks = Json::array();
  for (const std::string& text : gather_texts(parts.session.communicator(), "findings", own))
    ranks.push_back(Json::parse(text));
  NonFiniteFinding finding = summary_of(ranks);
  if (parts.updated_since) finding.text += " (with parameters that this step or a later one has updated)";
  const std::string name = free_name(parts, record.step);
  const bool saved = parts.session.all_succeed([&] {
    const std::filesystem::path beside = parts.folder / "nan" / name;
    create_folders(beside);
    replay.save_batch(beside / fmt::format("batch_rank_{:04}.safetensors", parts.session.rank()));
    if (!parts.session.is_first()) return;
    const HostTensors model(parts.engine.backend(), parts.engine.stream(),
                            parameter_tensors(parts.engine.parameters()));
    write_safetensors(beside / "parameters.safetensors", model.list());
    const std::string text = report_json(parts, record, finding.text, ranks).dump(2) + "\n";
    write_whole_file(parts.folder / "nan" / (name + ".json"), {std::as_bytes(std::span(text))});
  });
  finding.text += fmt::format("; {} nan/{}.json", saved ? "see" : "could not be saved as", name);
  return finding;
}

}  // namespace plumb
