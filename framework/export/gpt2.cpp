#include "export/gpt2.h"

#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/file.h"
#include "export/gpt2_requirements.h"
#include "export/gpt2_tokenizer.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// Where a tensor goes. Conv1D multiplies from the right, x W, so that its matrices are ours transposed.
struct TensorRule {
  const char* ours;
  const char* theirs;
  bool transposed = false;
};

constexpr TensorRule kBlockRules[] = {
    {"attention.norm_in.gain", "ln_1.weight"},
    {"attention.norm_in.bias", "ln_1.bias"},
    {"attention.qkv.weight", "attn.c_attn.weight", true},
    {"attention.qkv.bias", "attn.c_attn.bias"},
    {"attention.projection.weight", "attn.c_proj.weight", true},
    {"attention.projection.bias", "attn.c_proj.bias"},
    {"ffn.norm_in.gain", "ln_2.weight"},
    {"ffn.norm_in.bias", "ln_2.bias"},
    {"ffn.expand.weight", "mlp.c_fc.weight", true},
    {"ffn.expand.bias", "mlp.c_fc.bias"},
    {"ffn.contract.weight", "mlp.c_proj.weight", true},
    {"ffn.contract.bias", "mlp.c_proj.bias"},
};

constexpr TensorRule kOuterRules[] = {
    {"embedding.token", "transformer.wte.weight"},
    {"embedding.position", "transformer.wpe.weight"},
    {"final_norm.gain", "transformer.ln_f.weight"},
    {"final_norm.bias", "transformer.ln_f.bias"},
};

/// The tensors of the file to write; transposed ones are copies that live here.
class Gpt2Tensors {
 public:
  Gpt2Tensors(const Config& config, const SafetensorsFile& model) : model_(model) {
    for (const TensorRule& rule : kOuterRules) add(rule, "", "");
    if (!config.model.tied_head) add({"head.weight", "lm_head.weight"}, "", "");
    for (std::int64_t block = 0; block < config.model.blocks; ++block) {
      for (const TensorRule& rule : kBlockRules)
        add(rule, fmt::format("blocks.{}.", block), fmt::format("transformer.h.{}.", block));
    }
    PLUMB_CHECK(list_.size() == model.names().size(), "{}: {} tensors, of which GPT-2 takes {}",
                model.path().string(), model.names().size(), list_.size());
  }

  const std::vector<NamedTensor>& list() const { return list_; }

 private:
  void add(const TensorRule& rule, const std::string& ours, const std::string& theirs) {
    const Tensor source = model_.tensor(ours + rule.ours);
    list_.push_back({theirs + rule.theirs, rule.transposed ? transposed(source) : source});
  }

  Tensor transposed(const Tensor& source) {
    const std::int64_t rows = source.shape[0], columns = source.shape[1];
    const std::size_t size = size_of(source.dtype);
    auto& copy = copies_.emplace_back(std::make_unique<double[]>(source.bytes() / sizeof(double) + 1));
    auto* to = reinterpret_cast<std::byte*>(copy.get());
    const auto* from = static_cast<const std::byte*>(source.data);
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        std::memcpy(to + static_cast<std::size_t>(j * rows + i) * size,
                    from + static_cast<std::size_t>(i * columns + j) * size, size);
      }
    }
    return Tensor(copy.get(), source.dtype, {columns, rows});
  }

  const SafetensorsFile& model_;
  std::vector<NamedTensor> list_;
  std::vector<std::unique_ptr<double[]>> copies_;
};

Json gpt2_config(const Config& config, const SafetensorsFile& file) {
  const ModelConfig& model = config.model;
  const Tensor tokens = file.tensor("embedding.token");
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"vocab_size", tokens.shape[0]},
          {"n_positions", model.sequence_length},
          {"n_embd", model.width},
          {"n_layer", model.blocks},
          {"n_head", model.heads},
          {"n_inner", file.tensor("blocks.0.ffn.expand.weight").shape[0]},
          {"activation_function", gpt2_activation(resolved_sublayer(model, 0, "ffn").activation)},
          {"layer_norm_epsilon", model.final_norm.epsilon},
          {"embd_pdrop", model.dropout_embedding},
          {"attn_pdrop", model.dropout_attention},
          {"resid_pdrop", model.dropout_branch},
          {"scale_attn_weights", true},
          {"scale_attn_by_inverse_layer_idx", false},
          {"tie_word_embeddings", model.tied_head},
          {"bos_token_id", nullptr},
          {"eos_token_id", nullptr},
          {"torch_dtype", tokens.dtype == DType::Float64 ? "float64" : "float32"}};
}

void write_json(const fs::path& file, const Json& json) {
  const std::string text = json.dump(2) + "\n";
  write_whole_file(file, {std::as_bytes(std::span(text))});
}

}  // namespace

void write_gpt2(const Config& config, const SafetensorsFile& model, const fs::path& folder) {
  const Gpt2Tensors tensors(config, model);
  create_folders(folder);
  const fs::path partial = folder / "model.safetensors.partial";
  write_safetensors(partial, tensors.list(), {{"format", "pt"}});
  rename_path(partial, folder / "model.safetensors");
  write_json(folder / "config.json", gpt2_config(config, model));
  if (config.data.kind == "tokens" && config.data.tokenizer == "byte") write_gpt2_byte_tokenizer(folder);
  sync_folder(folder);
}

}  // namespace plumb
