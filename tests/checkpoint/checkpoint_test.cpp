#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/atomic_directory.h"
#include "checkpoint/temporary_folder.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/system_calls.h"

namespace plumb {
namespace {
namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::input_error_of;
using ::testing::Not;
using testing::read_bytes;
using testing::SystemCalls;
using testing::TemporaryFolder;
using testing::write_bytes;

class CheckpointTest : public ::testing::Test {
 protected:
  fs::path save(std::int64_t step, float value = 1) {
    std::vector<float> weight = {value, 2, 3, 4, 5, 6};
    std::vector<bfloat16> scale = {bfloat16(value)};
    std::vector<float> moment = {value * 10, 20, 30, 40, 50, 60};
    CheckpointManifest manifest;
    manifest.step = step;
    manifest.data_cursor = static_cast<std::uint64_t>(step) * 12;
    manifest.seed = 99;
    manifest.world = 3;
    manifest.config_text = "[training]\nsteps = 5\n";
    manifest.plumb_version = "0.1.0";
    manifest.extra = {{"key", "value"}};
    return save_checkpoint(folder(), manifest,
                           {{"blocks.0.ffn.expand.weight", Tensor(weight.data(), DType::Float32, {2, 3})},
                            {"scale", Tensor(scale.data(), DType::BFloat16, {1})}},
                           {{"first_moment/w", Tensor(moment.data(), DType::Float32, {2, 3})}});
  }
  fs::path folder() const { return temporary_.path() / "checkpoints"; }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder()))
      found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }

  TemporaryFolder temporary_;
};

void flip_byte(const fs::path& path, std::size_t index) {
  std::string bytes = read_bytes(path);
  bytes.at(index) = static_cast<char>(bytes.at(index) ^ 1);
  write_bytes(path, bytes);
}

TEST_F(CheckpointTest, RoundTrip) {
  const fs::path path = save(1000);
  EXPECT_EQ(path, folder() / "step_00001000");
  EXPECT_THAT(names(), ElementsAre("step_00001000"));

  const Checkpoint loaded = load_checkpoint(path);
  EXPECT_EQ(loaded.manifest.step, 1000);
  EXPECT_EQ(loaded.manifest.data_cursor, 12000U);
  EXPECT_EQ(loaded.manifest.seed, 99U);
  EXPECT_EQ(loaded.manifest.world, 3);
  EXPECT_EQ(loaded.manifest.config_text, "[training]\nsteps = 5\n");
  EXPECT_EQ(loaded.manifest.config_hash, hash_to_string(hash_text("[training]\nsteps = 5\n")));
  EXPECT_EQ(loaded.manifest.extra.at("key"), "value");
  ASSERT_EQ(loaded.manifest.files.size(), 2U);
  EXPECT_EQ(loaded.manifest.files[0].name, "model.safetensors");
  EXPECT_EQ(loaded.manifest.files[0].bytes, fs::file_size(path / "model.safetensors"));
  const Tensor weight = loaded.model.tensor("blocks.0.ffn.expand.weight", Shape{2, 3});
  EXPECT_EQ(weight.as<float>()[5], 6);
  EXPECT_EQ(static_cast<float>(loaded.model.tensor("scale").as<bfloat16>()[0]), 1);
  EXPECT_EQ(loaded.optimizer.tensor("first_moment/w").as<float>()[0], 10);
}

TEST_F(CheckpointTest, SameInputSameBytes) {
  const fs::path path = save(5);
  const std::string model = read_bytes(path / "model.safetensors");
  const std::string manifest = read_bytes(path / "manifest.json");
  save(5);
  EXPECT_THAT(names(), ElementsAre("step_00000005")) << "the same step is replaced without leftovers";
  EXPECT_EQ(read_bytes(path / "model.safetensors"), model);
  EXPECT_EQ(read_bytes(path / "manifest.json"), manifest);
}

TEST_F(CheckpointTest, EveryDamageNamesTheFileAndWhatDiffers) {
  const auto error_after = [&](auto damage) {
    const fs::path path = save(7);
    damage(path);
    const std::string message = input_error_of([&] { load_checkpoint(path); });
    EXPECT_THAT(message, Not(HasSubstr("\n")));
    return message;
  };
  for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
    EXPECT_THAT(
        error_after([&](const fs::path& path) { flip_byte(path / file, fs::file_size(path / file) - 1); }),
        AllOf(HasSubstr(file), HasSubstr("hash")));
    EXPECT_THAT(error_after([&](const fs::path& path) { flip_byte(path / file, 0); }),
                AllOf(HasSubstr(file), HasSubstr("hash")));
    EXPECT_THAT(error_after([&](const fs::path& path) {
                  fs::resize_file(path / file, fs::file_size(path / file) - 1);
                }),
                AllOf(HasSubstr(file), HasSubstr("bytes, the manifest says")));
    EXPECT_THAT(error_after([&](const fs::path& path) { fs::remove(path / file); }),
                AllOf(HasSubstr(file), HasSubstr("No such file")));
  }
  EXPECT_THAT(error_after([&](const fs::path& path) { fs::remove(path / "manifest.json"); }),
              AllOf(HasSubstr("manifest.json"), HasSubstr("No such file")));
  EXPECT_THAT(error_after([&](const fs::path& path) { fs::resize_file(path / "manifest.json", 40); }),
              AllOf(HasSubstr("manifest.json"), HasSubstr("truncated")));
  EXPECT_THAT(error_after([&](const fs::path& path) {
                write_bytes(path / "manifest.json", manifest_to_json(CheckpointManifest{}));
              }),
              AllOf(HasSubstr("manifest.json"), HasSubstr("model.safetensors is not listed")));
  EXPECT_THAT(input_error_of([&] { load_checkpoint(folder() / "step_00000008"); }),
              HasSubstr("no such checkpoint folder"));
}

TEST_F(CheckpointTest, LatestPassesOverDamagedAndPartialOnesAndSaysSo) {
  EXPECT_FALSE(load_latest_checkpoint(folder()));
  save(10);
  save(20);
  const fs::path damaged = save(30);
  flip_byte(damaged / "optimizer.safetensors", fs::file_size(damaged / "optimizer.safetensors") - 1);
  // What a killed save leaves: all files there, not renamed.
  fs::copy(folder() / "step_00000020", folder() / ".step_00000040.partial");

  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const auto latest = load_latest_checkpoint(folder());
  const std::string said =
      ::testing::internal::GetCapturedStdout() + ::testing::internal::GetCapturedStderr();
  ASSERT_TRUE(latest);
  EXPECT_EQ(latest->path, folder() / "step_00000020");
  EXPECT_EQ(latest->manifest.step, 20);
  EXPECT_EQ(latest->model.tensor("scale").elements(), 1);
  EXPECT_THAT(said, AllOf(HasSubstr("step_00000030/optimizer.safetensors"), HasSubstr("damaged"),
                          Not(HasSubstr("step_00000040"))));

  fs::remove_all(folder() / "step_00000010");
  fs::remove_all(folder() / "step_00000020");
  EXPECT_FALSE(load_latest_checkpoint(folder()));
}

// Whatever cannot be read is passed over, not only what is damaged.
TEST_F(CheckpointTest, LatestPassesOverWhatCannotBeRead) {
  save(10);
  save(20);
  fs::remove(folder() / "step_00000020" / "model.safetensors");
  fs::create_symlink("model.safetensors", folder() / "step_00000020" / "model.safetensors");  // a loop
  save(30);
  fs::remove(folder() / "step_00000030" / "manifest.json");
  fs::create_directory(folder() / "step_00000030" / "manifest.json");
  fs::create_directory_symlink("step_00000040", folder() / "step_00000040");
  EXPECT_EQ(load_latest_checkpoint(folder()).value().path, folder() / "step_00000010");
  EXPECT_TRUE(prune_checkpoints(folder(), 1).empty());
  EXPECT_THAT(input_error_of([&] { (void)load_latest_checkpoint(folder() / "step_00000040"); }),
              HasSubstr("step_00000040"));
}

TEST_F(CheckpointTest, EverythingIsOnTheDiskOnceBeforeTheCheckpointHasItsName) {
  const SystemCalls calls;
  save(1);
  const std::string partial = "checkpoints/.step_00000001.partial";
  EXPECT_THAT(
      calls.since_start(temporary_.path().string()),
      ElementsAre("sync .", "sync checkpoints", "sync " + partial + "/model.safetensors",
                  "sync " + partial + "/optimizer.safetensors", "sync " + partial + "/manifest.json",
                  "sync " + partial, "rename " + partial + " checkpoints/step_00000001", "sync checkpoints"));
}

TEST_F(CheckpointTest, AnInterruptedSaveHarmsNothing) {
  save(10, 1.5F);
  // A save that fails half-way: the second tensor file cannot be described (two tensors of one name).
  std::vector<float> values(4);
  const NamedTensor twice{"x", Tensor(values.data(), DType::Float32, {4})};
  CheckpointManifest manifest;
  manifest.step = 10;
  EXPECT_THROW(save_checkpoint(folder(), manifest, {twice}, {twice, twice}), Error);
  EXPECT_THAT(names(), ElementsAre("step_00000010"));
  const Checkpoint still = load_checkpoint(folder() / "step_00000010");
  EXPECT_EQ(still.model.tensor("blocks.0.ffn.expand.weight").as<float>()[0], 1.5F);

  // A kill leaves the partial folder; the next save of that step and the next start both get rid of it.
  fs::create_directories(folder() / ".step_00000020.partial");
  write_bytes(folder() / ".step_00000020.partial" / "model.safetensors", "half");
  EXPECT_EQ(load_latest_checkpoint(folder()).value().path, folder() / "step_00000010");
  save(20);
  EXPECT_THAT(names(), ElementsAre("step_00000010", "step_00000020"));
  fs::create_directories(folder() / ".step_00000030.partial");
  EXPECT_THAT(clean_atomic_leftovers(folder()), ElementsAre(HasSubstr(".step_00000030.partial")));
  EXPECT_THAT(names(), ElementsAre("step_00000010", "step_00000020"));
}

TEST_F(CheckpointTest, PruneKeepsTheNewestWholeOnes) {
  for (std::int64_t step : {100, 20, 3, 4000}) save(step);
  EXPECT_THROW(prune_checkpoints(folder(), 0), Error);
  EXPECT_TRUE(prune_checkpoints(folder(), 4).empty());
  EXPECT_THAT(prune_checkpoints(folder(), 2),
              ElementsAre(folder() / "step_00000020", folder() / "step_00000003"));
  EXPECT_THAT(names(), ElementsAre("step_00000100", "step_00004000"));

  // A damaged newest one does not push out the last whole one.
  fs::remove(folder() / "step_00004000" / "model.safetensors");
  EXPECT_TRUE(prune_checkpoints(folder(), 1).empty());
  EXPECT_THAT(names(), ElementsAre("step_00000100", "step_00004000"));
  save(5000);
  EXPECT_THAT(prune_checkpoints(folder(), 1),
              ElementsAre(folder() / "step_00004000", folder() / "step_00000100"));
  EXPECT_THAT(names(), ElementsAre("step_00005000"));
}

// After a roll-back older runs' later steps may be there: what was just saved stays all the same.
TEST_F(CheckpointTest, PruneNeverRemovesTheOneJustSaved) {
  for (std::int64_t step : {15, 16, 19, 20}) save(step);
  EXPECT_THAT(prune_checkpoints(folder(), 2, 16),
              ElementsAre(folder() / "step_00000019", folder() / "step_00000015"));
  EXPECT_THAT(names(), ElementsAre("step_00000016", "step_00000020"));
  EXPECT_THAT(prune_checkpoints(folder(), 1, 16), ElementsAre(folder() / "step_00000020"));
  EXPECT_THAT(names(), ElementsAre("step_00000016"));
}

TEST_F(CheckpointTest, RemovesWhatLiesBeyondAStep) {
  EXPECT_TRUE(remove_checkpoints_beyond(folder(), 0).empty());
  for (std::int64_t step : {5, 10, 15, 20}) save(step);
  fs::remove(folder() / "step_00000015" / "manifest.json");
  EXPECT_THAT(remove_checkpoints_beyond(folder(), 10),
              ElementsAre(folder() / "step_00000020", folder() / "step_00000015"));
  EXPECT_THAT(names(), ElementsAre("step_00000005", "step_00000010"));
  EXPECT_TRUE(remove_checkpoints_beyond(folder(), 10).empty());
}

}  // namespace
}  // namespace plumb
