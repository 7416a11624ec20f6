// What a configuration must be for GPT-2's code to compute the same function.
#pragma once

#include <string>
#include <string_view>

#include "config/config.h"
#include "core/error.h"

namespace plumb {

/// GPT-2 as the class GPT2LMHeadModel of Hugging Face's transformers has it: layer norm before each branch
/// and at the end, learned positions, causal attention scaled by 1/sqrt(head width), biases, plain residual
/// steps. InputError of one line, "<subject>: <setting>; <what GPT-2 has>", for the first setting, in the
/// order of docs/config.md, that it cannot express. What acts in training alone does not count.
void check_gpt2_expresses(const Config& config, const std::string& subject);

/// What GPT-2's configuration calls an activation; empty when it has none of this kind.
std::string_view gpt2_activation(std::string_view activation);

}  // namespace plumb
