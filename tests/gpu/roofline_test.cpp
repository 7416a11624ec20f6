// The roofline's tables in docs/design/cuda.md are what the program that predicts them prints. Needs no GPU.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

namespace plumb::gpu {
namespace {

std::string output_of(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  std::array<char, 4096> part;
  while (pipe && std::fgets(part.data(), static_cast<int>(part.size()), pipe.get())) text += part.data();
  return text;
}

/// The lines of the first Markdown table after a line, each with its end.
std::string table_after(const std::string& file, const std::string& heading) {
  std::ifstream lines(file);
  std::string line, table;
  while (std::getline(lines, line) && line != heading) continue;
  while (std::getline(lines, line)) {
    if (line.starts_with("|")) {
      table += line + "\n";
    } else if (!table.empty()) {
      break;
    }
  }
  return table;
}

TEST(Roofline, TheTableInTheDocumentIsThePredictionOfTheProgram) {
  const std::string file = PLUMB_SOURCE_DIR "/docs/design/cuda.md";
  const std::string predicted = output_of(PLUMB_KERNEL_TIMES " --predict");
  ASSERT_TRUE(predicted.starts_with("| kernel | shape |")) << predicted;
  EXPECT_EQ(table_after(file, "## Predicted roofline"), predicted)
      << "replace the table of " << file << " by the output of " << PLUMB_KERNEL_TIMES << " --predict";
}

TEST(Roofline, TheAccountOfAStepInTheDocumentIsThatOfTheProgram) {
  const std::string file = PLUMB_SOURCE_DIR "/docs/design/cuda.md";
  const std::string predicted = output_of(PLUMB_KERNEL_TIMES " --predict --step");
  ASSERT_TRUE(predicted.starts_with("| kernel | shape | times |")) << predicted;
  EXPECT_EQ(table_after(file, "## A step's account"), predicted)
      << "replace the table of " << file << " by the output of " << PLUMB_KERNEL_TIMES << " --predict --step";
}

}  // namespace
}  // namespace plumb::gpu
