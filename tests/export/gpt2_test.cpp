// The exported GPT-2 against PyTorch (make_gpt2_golden.py): the engine with the golden parameters computes
// the golden logits, and exporting it gives the golden tensors back.
#include "export/gpt2.h"

#include <gmock/gmock.h>

#include <list>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "backend/loader.h"
#include "checkpoint/temporary_folder.h"
#include "config/load.h"
#include "export/gpt2_requirements.h"
#include "export/gpt2_tokenizer.h"
#include "nn/engine.h"
#include "nn/placement.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;
using plumb::testing::input_error_of;
using plumb::testing::read_bytes;
using plumb::testing::TemporaryFolder;
using ::testing::HasSubstr;

const fs::path kFolder = fs::path(PLUMB_SOURCE_DIR) / "tests/export";
const PresetProvider kPresets = {placement_settings, placement_names};

Config gpt2_config(const std::vector<std::string>& overrides = {}) {
  return load_config(std::vector<fs::path>{kFolder / "gpt2.toml"}, overrides, kPresets).config;
}

std::vector<float> floats_of(const Tensor& tensor) {
  const float* data = tensor.as<float>();
  return {data, data + tensor.elements()};
}

/// (rows, columns) -> (columns, rows).
std::vector<float> turned(const Tensor& tensor) {
  const std::int64_t rows = tensor.shape[0], columns = tensor.shape[1];
  std::vector<float> out;
  for (std::int64_t j = 0; j < columns; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) out.push_back(tensor.as<float>()[i * columns + j]);
  }
  return out;
}

/// The golden tensor for one of the engine's parameters, in the engine's layout: y = W x + b, W (outputs,
/// inputs).
std::vector<float> imported(const SafetensorsFile& golden, const std::string& name) {
  if (name == "embedding.token") return floats_of(golden.tensor("transformer.wte.weight"));
  if (name == "embedding.position") return floats_of(golden.tensor("transformer.wpe.weight"));
  if (name == "final_norm.gain") return floats_of(golden.tensor("transformer.ln_f.weight"));
  if (name == "final_norm.bias") return floats_of(golden.tensor("transformer.ln_f.bias"));
  const std::string block = "transformer.h." + name.substr(7, 2);  // blocks.0.attention.qkv.weight
  const std::string part = name.substr(9);
  const auto matrix = [&](const std::string& ours, const std::string& theirs) {
    if (part == ours + ".weight") return turned(golden.tensor(block + theirs + ".weight"));
    if (part == ours + ".bias") return floats_of(golden.tensor(block + theirs + ".bias"));
    return std::vector<float>();
  };
  const auto norm = [&](const std::string& ours, const std::string& theirs) {
    if (part == ours + ".gain") return floats_of(golden.tensor(block + theirs + ".weight"));
    if (part == ours + ".bias") return floats_of(golden.tensor(block + theirs + ".bias"));
    return std::vector<float>();
  };
  for (const auto& found :
       {matrix("attention.qkv", "attn.c_attn"), matrix("attention.projection", "attn.c_proj"),
        matrix("ffn.expand", "mlp.c_fc"), matrix("ffn.contract", "mlp.c_proj"),
        norm("attention.norm_in", "ln_1"), norm("ffn.norm_in", "ln_2")}) {
    if (!found.empty()) return found;
  }
  ADD_FAILURE() << "no golden tensor for " << name;
  return {};
}

/// The model of gpt2.toml in float64 on the reference backend, with the golden parameters.
class GoldenModel {
 public:
  explicit GoldenModel(const Config& config)
      : backend_(make_backend("reference", {})),
        engine_(config.model, config.model.vocabulary,
                {.batch = 2, .tokens = config.model.sequence_length, .compute = DType::Float64}, 1,
                *backend_) {
    for (const Parameter& parameter : engine_.parameters().all()) {
      values_.push_back(imported(golden_, parameter.name));
      const std::vector<double> wide(values_.back().begin(), values_.back().end());
      EXPECT_EQ(static_cast<std::int64_t>(wide.size()), parameter.shape.elements()) << parameter.name;
      backend_->upload(engine_.stream(), wide.data(), parameter.value.data, parameter.value.bytes());
      engine_.stream().synchronize();
      tensors_.push_back({parameter.name, Tensor(values_.back().data(), DType::Float32, parameter.shape)});
    }
    engine_.parameters().refresh_compute(engine_.stream());
    engine_.begin_step(0);
  }

  /// (B*T, V) of the golden ids.
  std::vector<double> logits() {
    const Tensor ids = golden_.tensor("inputs");
    const auto rows = static_cast<std::size_t>(ids.elements());
    const std::vector<std::int32_t> targets(rows, -1);
    Buffer sums = backend_->allocate(kHeadLossSums * sizeof(double));
    Probes probes;
    probes.loss_sums = Tensor(sums.data(), DType::Float64, {kHeadLossSums});
    engine_.upload_batch(std::span(ids.as<std::int32_t>(), rows), targets, 0);
    engine_.forward(probes, /*training=*/false);
    const Tensor input = engine_.model().head_input(engine_.context(&probes, false));
    const Tensor table = engine_.parameters().find("embedding.token")->value;
    const std::int64_t width = input.cols();
    std::vector<double> logits;
    for (std::int64_t row = 0; row < input.rows(); ++row) {
      for (std::int64_t token = 0; token < table.rows(); ++token) {
        double sum = 0;
        for (std::int64_t i = 0; i < width; ++i)
          sum += input.as<double>()[row * width + i] * table.as<double>()[token * width + i];
        logits.push_back(sum);
      }
    }
    return logits;
  }

  const SafetensorsFile& golden() const { return golden_; }
  /// As a checkpoint holds them.
  const std::vector<NamedTensor>& tensors() const { return tensors_; }

 private:
  SafetensorsFile golden_{kFolder / "gpt2.safetensors"};
  std::unique_ptr<Backend> backend_;
  Engine engine_;
  std::list<std::vector<float>> values_;
  std::vector<NamedTensor> tensors_;
};

TEST(Gpt2, TheEngineComputesWhatPyTorchComputes) {
  GoldenModel model(gpt2_config());
  const Tensor expected = model.golden().tensor("logits");
  const std::vector<double> logits = model.logits();
  ASSERT_EQ(static_cast<std::int64_t>(logits.size()), expected.elements());
  for (std::size_t i = 0; i < logits.size(); ++i)
    EXPECT_NEAR(logits[i], expected.as<double>()[i], 1e-10) << i;
}

TEST(Gpt2, ExportedTensorsAreThoseOfPyTorch) {
  const TemporaryFolder folder;
  const GoldenModel model(gpt2_config());
  write_safetensors(folder.path() / "checkpoint.safetensors", model.tensors());
  write_gpt2(gpt2_config(), SafetensorsFile(folder.path() / "checkpoint.safetensors"), folder.path() / "out");

  const SafetensorsFile exported(folder.path() / "out/model.safetensors");
  EXPECT_EQ(exported.metadata().at("format"), "pt");
  std::size_t parameters = 0;
  for (const std::string& name : model.golden().names()) {
    if (!name.starts_with("transformer.")) continue;
    ++parameters;
    const Tensor expected = model.golden().tensor(name);
    const Tensor found = exported.tensor(name, expected.shape);
    EXPECT_EQ(floats_of(found), floats_of(expected)) << name;
  }
  EXPECT_EQ(exported.names().size(), parameters);
}

TEST(Gpt2, ConfigurationFile) {
  const TemporaryFolder folder;
  const GoldenModel model(gpt2_config());
  write_safetensors(folder.path() / "checkpoint.safetensors", model.tensors());
  write_gpt2(gpt2_config(), SafetensorsFile(folder.path() / "checkpoint.safetensors"), folder.path() / "out");
  const auto config = nlohmann::json::parse(read_bytes(folder.path() / "out/config.json"));
  EXPECT_EQ(config["model_type"], "gpt2");
  EXPECT_EQ(config["architectures"], nlohmann::json{"GPT2LMHeadModel"});
  EXPECT_EQ(config["vocab_size"], 11);
  EXPECT_EQ(config["n_positions"], 7);
  EXPECT_EQ(config["n_embd"], 12);
  EXPECT_EQ(config["n_layer"], 2);
  EXPECT_EQ(config["n_head"], 3);
  EXPECT_EQ(config["n_inner"], 20);
  EXPECT_EQ(config["activation_function"], "gelu_new");
  EXPECT_EQ(config["layer_norm_epsilon"], 3e-5);
  EXPECT_EQ(config["embd_pdrop"], 0.1);
  EXPECT_EQ(config["attn_pdrop"], 0.2);
  EXPECT_EQ(config["resid_pdrop"], 0.3);
  EXPECT_EQ(config["tie_word_embeddings"], true);
  EXPECT_EQ(config["torch_dtype"], "float32");
  EXPECT_FALSE(fs::exists(folder.path() / "out/vocab.json")) << "these tokens are no bytes";
}

TEST(Gpt2, AnUntiedHeadIsATensorOfItsOwn) {
  const TemporaryFolder folder;
  const GoldenModel model(gpt2_config());
  std::vector<NamedTensor> tensors = model.tensors();
  std::vector<float> head(11 * 12, 0.25F);
  tensors.push_back({"head.weight", Tensor(head.data(), DType::Float32, {11, 12})});
  write_safetensors(folder.path() / "checkpoint.safetensors", tensors);
  const Config config = gpt2_config({"model.tied_head=false"});
  write_gpt2(config, SafetensorsFile(folder.path() / "checkpoint.safetensors"), folder.path() / "out");
  const SafetensorsFile exported(folder.path() / "out/model.safetensors");
  EXPECT_EQ(floats_of(exported.tensor("lm_head.weight")), head);
  EXPECT_EQ(nlohmann::json::parse(read_bytes(folder.path() / "out/config.json"))["tie_word_embeddings"],
            false);
}

std::string refusal(const std::vector<std::string>& overrides) {
  return input_error_of([&] { check_gpt2_expresses(gpt2_config(overrides), "runs/x"); });
}

TEST(Gpt2Requirements, TheFirstSettingThatGpt2LacksIsNamed) {
  struct Case {
    std::vector<std::string> overrides;
    const char* expected;
  };
  const std::vector<Case> cases = {
      {{"model.placement=peri"}, "model.norm.out.kind = \"standard\" (\"layernorm\"), which"},
      {{"model.placement=peri"}, "; it has \"none\""},
      {{"model.placement=none", "model.norm.in.epsilon=1e-5", "model.norm.final.epsilon=1e-5"},
       "model.norm.in.kind = \"none\""},
      {{"model.norm_kind=rmsnorm"},
       "model.norm.in.kind = \"standard\" (\"rmsnorm\"), which GPT-2's code cannot "
       "express; it has \"layernorm\""},
      {{"model.norm.final.kind=none", "model.norm.final.epsilon=1e-5", "model.norm.in.epsilon=1e-5"},
       "model.norm.final.kind = \"none\""},
      {{"model.norm.in.bias=false"}, "model.norm.in.bias = false"},
      {{"model.norm.in.epsilon=1e-6"}, "model.norm.in.epsilon = 1e-06"},
      {{"model.norm.embedding.kind=layernorm"}, "model.norm.embedding.kind = \"layernorm\""},
      {{"model.norm.qk.kind=layernorm"}, "model.norm.qk.kind = \"layernorm\""},
      {{"model.position=rotary"},
       "model.position = \"rotary\", which GPT-2's code cannot express; it has \"learned\""},
      {{"model.activation=swiglu"}, "model.activation = \"swiglu\""},
      {{"model.biases=false"}, "model.biases = false"},
      {{"model.head_bias=true"}, "model.head_bias = true"},
      {{"model.causal=false"}, "model.causal = false"},
      {{"model.head_width=6"}, "model.head_width = 6"},
      {{"model.attention_scale=0.3"}, "model.attention_scale = 0.3"},
      {{"model.attention_soft_cap=30"}, "model.attention_soft_cap = 30.0"},
      {{"model.head_soft_cap=30"}, "model.head_soft_cap = 30.0"},
      {{"model.embedding_scale=2"}, "model.embedding_scale = 2.0"},
      {{"model.residual.b={depth=\"1/L\"}"}, "model.residual.b.depth = \"1/L\""},
      {{"model.residual.b.value=0.5"}, "model.residual.b.value = 0.5"},
      {{"model.residual.a={trainable=\"scalar\"}"}, "model.residual.a.trainable = \"scalar\""},
      {{"model.block=[\"attention\", \"attention\", \"ffn\"]"}, "model.block = "},
      {{"model.streams.kind=hyper"}, "model.streams.kind = \"hyper\""},
      {{"model.override={blocks=[1, 1], norm.out.kind=\"standard\"}"},
       "model.norm.out.kind = \"standard\" (\"layernorm\") in blocks.1.attention"},
      {{"model.override={blocks=[1, 1], activation=\"gelu\"}"},
       "model.activation = \"gelu_tanh\" in blocks.0.ffn"},
  };
  for (const Case& wrong : cases) {
    const std::string message = refusal(wrong.overrides);
    EXPECT_THAT(message, ::testing::StartsWith("runs/x: ")) << wrong.expected;
    EXPECT_THAT(message, HasSubstr(wrong.expected));
    EXPECT_THAT(message, ::testing::Not(HasSubstr("\n")));
  }
}

TEST(Gpt2Requirements, WhatGpt2Has) {
  for (const std::vector<std::string>& overrides :
       std::vector<std::vector<std::string>>{{},
                                             {"model.activation=gelu"},
                                             {"model.activation=relu"},
                                             {"model.activation=silu"},
                                             {"model.norm.in.kind=layernorm"},
                                             {"model.tied_head=false"},
                                             {"model.attention_scale=0.5"},
                                             {"model.z_loss=1e-4"},
                                             {"model.norm.in.gain_init=0.5"},
                                             {"model.init.kind=normal"}}) {
    EXPECT_NO_THROW(check_gpt2_expresses(gpt2_config(overrides), "x"))
        << (overrides.empty() ? "gpt2.toml" : overrides.front());
  }
}

TEST(Gpt2Tokenizer, NamesOfBytes) {
  const auto names = gpt2_byte_names();
  EXPECT_EQ(names['A'], "A");
  EXPECT_EQ(names[' '], "\u0120") << "GPT-2's well-known name of the blank";
  EXPECT_EQ(names['\n'], "\u010A");
  EXPECT_EQ(names[0], "\u0100");
  EXPECT_EQ(names[0xE9], "\u00E9");
  EXPECT_EQ(names[0xAD], "\u0143") << "the last one that is not printable";
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 256u);
}

}  // namespace
}  // namespace plumb
