#include "checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/temporary_folder.h"
#include "core/error.h"

namespace plumb {
namespace {
using ::testing::HasSubstr;
using testing::input_error_of;

CheckpointManifest example() {
  CheckpointManifest manifest;
  manifest.step = 1000;
  manifest.data_cursor = 0xffffffffffffffffU;
  manifest.seed = 1ULL << 63;
  manifest.world = 4;
  manifest.config_text = "[model]\nplacement = \"peri\" # \xe2\x82\xac\n";
  manifest.config_hash = "abc";
  manifest.plumb_version = "0.1.0";
  manifest.extra = {{"loss_scale", "1024"}, {"a", ""}};
  manifest.files = {{"model.safetensors", 123, 0xfedcba9876543210U}, {"optimizer.safetensors", 0, 1}};
  return manifest;
}

TEST(Manifest, RoundTrip) {
  EXPECT_EQ(manifest_from_json(manifest_to_json(example()), "m"), example());
  EXPECT_THAT(manifest_to_json(example()), HasSubstr("\"xxh3\": \"fedcba9876543210\""));
}

TEST(Manifest, EveryChangedDigitIsNoticed) {
  const std::string text = manifest_to_json(example());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] < '0' || text[i] > '9') continue;
    std::string changed = text;
    changed[i] = changed[i] == '7' ? '3' : '7';
    EXPECT_THROW(manifest_from_json(changed, "m"), InputError) << changed;
  }
}

TEST(Manifest, TruncationAtEveryByteIsNoticed) {
  const std::string text = manifest_to_json(example());
  for (std::size_t bytes = 0; bytes + 2 < text.size(); ++bytes) {
    EXPECT_THAT(input_error_of([&] { manifest_from_json(text.substr(0, bytes), "folder/manifest.json"); }),
                HasSubstr("folder/manifest.json: not a JSON object"));
  }
}

TEST(Manifest, FaultsAreNamed) {
  CheckpointManifest later = example();
  later.format = 2;
  EXPECT_EQ(input_error_of([&] { manifest_from_json(manifest_to_json(later), "m"); }),
            "m: checkpoint format 2; this program reads format 1");
  EXPECT_THAT(input_error_of([] { manifest_from_json("[]", "m"); }), HasSubstr("not a JSON object"));
  EXPECT_THAT(input_error_of([] { manifest_from_json("{}", "m"); }), HasSubstr("'format' not found"));
  std::string text = manifest_to_json(example());
  text.replace(text.find("peri"), 4, "pre ");
  EXPECT_THAT(input_error_of([&] { manifest_from_json(text, "m"); }), HasSubstr("the file is damaged"));
}

}  // namespace
}  // namespace plumb
