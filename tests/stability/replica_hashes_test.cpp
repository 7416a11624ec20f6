// Replicas on one rank and on several: equal ones, one flipped bit, and the rank that has it.
#include "stability/replica_hashes.h"

#include <gtest/gtest.h>

#include "backend/loader.h"
#include "backend/tested_backends.h"
#include "comm/ranks.h"

namespace plumb::test {
namespace {

class Replicas {
 public:
  explicit Replicas(const std::string& name)
      : backend_(make_backend(name)), stream_(backend_->create_stream()) {
    for (const std::int64_t elements : {5, 40000, 1}) {
      std::vector<float> values(static_cast<std::size_t>(elements));
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.25F * static_cast<float>(i);
      memory_.push_back(backend_->allocate(values.size() * sizeof(float)));
      backend_->upload(*stream_, values.data(), memory_.back().data(), values.size() * sizeof(float));
      stream_->synchronize();
      tensors_.emplace_back(memory_.back().data(), DType::Float32, Shape{elements});
    }
    hashes_ = std::make_unique<ReplicaHashes>(tensors_, *backend_, ranks());
  }
  ReplicaHashes& hashes() { return *hashes_; }
  Stream& stream() { return *stream_; }
  void flip_bit(std::size_t tensor, std::size_t element) {
    auto* place = static_cast<char*>(tensors_[tensor].data) + element * sizeof(std::uint32_t);
    std::uint32_t word = 0;
    backend_->download(*stream_, place, &word, sizeof(word));
    stream_->synchronize();
    word ^= 1U << 3;
    backend_->upload(*stream_, &word, place, sizeof(word));
    stream_->synchronize();
  }

 private:
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  std::vector<Buffer> memory_;
  std::vector<Tensor> tensors_;
  std::unique_ptr<ReplicaHashes> hashes_;
};

TEST(ReplicaHashes, NameTheRankWithAFlippedBit) {
  const int world = ranks().world(), bad = world - 1;
  for (const std::string& backend : tested_backends()) {
    Replicas replicas(backend);
    EXPECT_EQ(replicas.hashes().pending(), std::nullopt);
    replicas.hashes().read(replicas.stream(), 7);
    if (ranks().rank() == bad) replicas.flip_bit(1, 39999);  // after the check was issued
    replicas.hashes().read(replicas.stream(), 9);
    EXPECT_EQ(replicas.hashes().pending(), 7);
    EXPECT_EQ(replicas.hashes().finish(), std::nullopt) << backend << ": before the bit was flipped";
    EXPECT_EQ(replicas.hashes().pending(), 9);
    const auto found = replicas.hashes().finish();
    ASSERT_EQ(found.has_value(), world > 1) << backend;
    if (world < 3) continue;
    EXPECT_EQ(*found, (ReplicaDifference{{bad}, true, {1}})) << backend;
    if (ranks().rank() == bad) replicas.flip_bit(1, 39999);
    replicas.hashes().read(replicas.stream(), 10);
    EXPECT_EQ(replicas.hashes().finish(), std::nullopt) << backend << ": flipped back";
  }
}

}  // namespace
}  // namespace plumb::test
