// plumb data: text to token files, and what is in them.
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "core/error.h"
#include "data/describe.h"
#include "data/markov_language.h"
#include "data/prepare.h"
#include "session.h"

namespace plumb {
namespace {

void print_split(const char* name, const SplitStatistics& split) {
  fmt::print(
      "{:<11} {:>12} tokens   {:>5} distinct, largest {:>5}   {:.4f} bits per token (unigram entropy)\n",
      name, split.tokens, split.distinct_tokens, split.max_token, split.unigram_entropy);
}

nlohmann::json to_json(const SplitStatistics& split) {
  return {{"tokens", split.tokens},
          {"distinct_tokens", split.distinct_tokens},
          {"max_token", split.max_token},
          {"unigram_entropy_bits", split.unigram_entropy}};
}

}  // namespace

int run_data_prepare(const DataPrepareOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb data prepare")) return 2;
  const PreparedData prepared = prepare_text({.inputs = {options.inputs.begin(), options.inputs.end()},
                                              .output_folder = options.output,
                                              .tokenizer = options.tokenizer,
                                              .validation_fraction = options.validation_fraction,
                                              .layout = token_layout(options.layout)});
  fmt::print("{} tokens for training, {} for validation (the last {:g} % by position) in {}\n",
             prepared.train.tokens, prepared.validation.tokens, 100 * prepared.validation_fraction,
             options.output);
  return 0;
}

int run_data_describe(const DataDescribeOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb data describe")) return 2;
  const TokenFile train(options.train), validation(options.validation);
  const DataDescription description = describe_tokens(train.tokens(), validation.tokens());
  if (options.json) {
    nlohmann::json json = {{"vocabulary", description.vocabulary},
                           {"train", to_json(description.train)},
                           {"validation", to_json(description.validation)}};
    for (const MarkovFigure& figure : description.markov) {
      json["markov"].push_back({{"order", figure.order}, {"bits_per_token", figure.bits_per_token}});
    }
    fmt::print("{}\n", json.dump(2));
    return 0;
  }
  print_split("train", description.train);
  print_split("validation", description.validation);
  fmt::print("Markov models trained on train, bits per token over the whole validation split:\n");
  for (const MarkovFigure& figure : description.markov) {
    fmt::print("  order {}   {:.3f}\n", figure.order, figure.bits_per_token);
  }
  return 0;
}

int run_data_synthesize(const DataSynthesizeOptions& options) {
  Session session;
  if (!session.require_one_rank("plumb data synthesize")) return 2;
  const MarkovLanguage language = MarkovLanguage::random(32, 2, options.seed);
  const std::string text = language.generate_text(static_cast<std::uint64_t>(options.bytes), options.seed);
  std::ofstream file(options.output, std::ios::binary);
  file << text;
  file.flush();
  if (!file) fail_input("{}: cannot be written", options.output);
  fmt::print("{} bytes of a synthetic language in {}; its entropy rate is {:.4f} bits per byte\n",
             text.size(), options.output, language.entropy_rate_bits());
  return 0;
}

}  // namespace plumb
