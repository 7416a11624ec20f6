#include "tiny_run.h"

namespace plumb::test {
namespace {

std::vector<int> tokens(int count, int start) {
  std::vector<int> list;
  int state = start;
  for (int i = 0; i < count; ++i) {
    state = (state * 11 + 7) % 1009;  // period 1008: 63 windows of 16 tokens
    list.push_back('a' + state % 26);
  }
  return list;
}

}  // namespace

void write_tiny_data(const Folder& folder) {
  write_file(folder / "train.bin", raw_tokens(tokens(3000, 1)));
  write_file(folder / "validation.bin", raw_tokens(tokens(333, 500)));
}

std::string write_tiny_run(const Folder& folder) {
  write_tiny_data(folder);
  write_file(folder / "config.toml", folder.fill(kTinyConfig));
  return folder / "config.toml";
}

Outcome train_tiny(const Folder& folder, int ranks, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"train", folder / "config.toml"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_plumb(folder, ranks, arguments);
}

}  // namespace plumb::test
