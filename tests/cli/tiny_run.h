// A training run of a tiny model on a few thousand bytes of text: a fraction of a second.
#pragma once

#include <string>
#include <vector>

#include "program.h"

namespace plumb::test {

/// Lines of the configuration, whose paths are '@/...': the run folder is @/run, the data are written by
/// write_tiny_data. Messages name lines of it, so tests look them up here.
inline constexpr const char* kTinyConfig = R"(device = "cpu"
compute.threads = 1
run.dir = "@/run"
[model]
blocks = 2
width = 16
heads = 2
sequence_length = 16
[data]
train = "@/train.bin"
validation = "@/validation.bin"
[training]
steps = 6
sequences_per_step = 4
[optimizer]
learning_rate = 1e-3
[learning_rate]
warmup_steps = 2
[log]
console_every = 2
stability_every = 2
)";

/// train.bin and validation.bin: letters of a pseudo-random sequence, 3000 and 333 of them.
void write_tiny_data(const Folder& folder);
/// Data, and kTinyConfig as config.toml; returns its path.
std::string write_tiny_run(const Folder& folder);
/// `plumb train` of the tiny run with further arguments.
Outcome train_tiny(const Folder& folder, int ranks, const std::vector<std::string>& more = {});

}  // namespace plumb::test
