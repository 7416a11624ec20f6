// A run folder with logs written by hand: two sublayers, a norm, two tensors, and what logs may hold.
#pragma once

#include <filesystem>

#include "checkpoint/temporary_folder.h"

namespace plumb::test {

/// Steps 1 to 4; step 3's loss is not a number; validation at step 4; records of stability at 2 and 4, of
/// which the first has no attention and an infinite maximum; step 2 on two ranks, step 4 on one.
inline void write_sample_run(const std::filesystem::path& folder) {
  using plumb::testing::write_bytes;
  std::filesystem::create_directories(folder);
  write_bytes(folder / "metrics.jsonl",
              R"({"step":1,"tokens":64,"loss":2.5,"skipped":false}
{"step":2,"tokens":128,"loss":2.25,"skipped":false}
{"step":3,"tokens":192,"loss":null,"skipped":true,"nonfinite":[{"path":"loss","kind":"nan"}]}
{"step":4,"tokens":256,"loss":0.1,"skipped":false,"val_loss":0.30000000000000004}
)");
  write_bytes(
      folder / "stability.jsonl",
      R"({"kind":"header","tensors":["one","two, \"quoted\""],"sublayers":["blocks.0.attention","blocks.0.ffn"],"norms":["blocks.0.attention.norm_in"]}
{"step":2,"profiles":{"stream":{"rms":[1,2,3],"max_abs":[4,null,6]},"branch":{"rms":[7,8]}},"gradient_bottom_top":0.5,"norms":{"gain":{"mean":[0.75]}},"tensors":{"grad_norm":[0.25,0.5]},"nonfinite":[{"path":"profiles.stream.max_abs[1]","kind":"inf"}]}
{"step":4,"profiles":{"stream":{"rms":[1.5,2.5,3.5],"max_abs":[4,5,6]},"branch":{"rms":[7.5,8.5]}},"attention":{"max_logit":[11,null]},"tensors":{"grad_norm":[0.125,0.75]}}
)");
  write_bytes(folder / "ranks.jsonl", R"({"step":2,"loss":[2,2.5],"step_seconds":[0.5,0.25]}
{"step":4,"loss":[0.1],"step_seconds":[0.5]}
)");
  write_bytes(folder / "events.jsonl",
              R"({"step":4,"kind":"checkpoint","text":"a \"b\",\nc","time":"2026-01-02T03:04:05Z"}
)");
  write_bytes(folder / "config.toml", "device = \"cpu\"\n");
  write_bytes(folder / "manifest.json", "{\"world\": 2}\n");
}

}  // namespace plumb::test
