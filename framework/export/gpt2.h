// A checkpoint as Hugging Face has GPT-2 (class GPT2LMHeadModel, model_type "gpt2").
#pragma once

#include <filesystem>

#include "checkpoint/safetensors.h"
#include "config/config.h"
#include "core/error.h"

namespace plumb {

/// Writes into `folder`, which is created:
///   model.safetensors   in the dtype of the parameters; transformer.wte.weight (V,C), .wpe.weight (T,C),
///                       .h.<l>.ln_1, ln_2 (C), .h.<l>.attn.c_attn.weight (C,3C), columns [q | k | v],
///                       .attn.c_proj.weight (C,C), .mlp.c_fc.weight (C,F), .mlp.c_proj.weight (F,C), all
///                       matrices (inputs, outputs) as Conv1D has them, .ln_f; lm_head.weight (V,C) when
///                       untied
///   config.json         sizes, activation, epsilon, dropout
///   vocab.json, merges.txt, tokenizer_config.json   when tokens are bytes: GPT-2's tokenizer without a merge
/// `config` must pass check_gpt2_expresses. `model` holds the tensors of a checkpoint of it. Layout: Hugging
/// Face transformers, models/gpt2/modeling_gpt2.py; the model: Radford et al. 2019.
void write_gpt2(const Config& config, const SafetensorsFile& model, const std::filesystem::path& folder);

}  // namespace plumb
