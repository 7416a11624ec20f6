// Hashes of tensors against the same sum written down plainly here, bit by bit.
#include <cstring>
#include <span>

#include "backend/op_test.h"

namespace plumb::test {
namespace {

/// splitmix64's finaliser, as in the paper's appendix: seed 0 gives the generator's first number.
std::uint64_t mixed(std::uint64_t seed) {
  std::uint64_t z = seed + 0x9e3779b97f4a7c15ULL;
  z ^= z >> 30;
  z *= 0xbf58476d1ce4e5b9ULL;
  z ^= z >> 27;
  z *= 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

class TensorHash : public testing::TestWithParam<Target> {
 protected:
  Bench bench_{shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype};

  std::vector<unsigned char> bytes_of(const Tensor& tensor) {
    std::vector<unsigned char> bytes(tensor.bytes());
    bench_.backend().download(bench_.stream(), tensor.data, bytes.data(), bytes.size());
    bench_.stream().synchronize();
    return bytes;
  }

  std::vector<std::int64_t> hashes(std::span<const Tensor> tensors) {
    const ElementwiseOps& ops = bench_.backend().elementwise();
    HashTensors arguments;
    const auto count = static_cast<std::int64_t>(tensors.size());
    arguments.hashes =
        bench_.variables("hashes", DType::Int64, Shape{count}, std::vector<double>(tensors.size(), 7));
    arguments.workspace = bench_.workspace(ops.hash_workspace(tensors));
    ops.hash(bench_.stream(), arguments, tensors);
    std::vector<std::int64_t> results(tensors.size());
    std::memcpy(results.data(), bytes_of(arguments.hashes).data(), arguments.hashes.bytes());
    return results;
  }

  /// Last word first: the order does not matter.
  std::int64_t expected(const Tensor& tensor) {
    const std::vector<unsigned char> bytes = bytes_of(tensor);
    const std::size_t width = size_of(tensor.dtype) == 2 ? 2 : 4;
    std::uint64_t sum = 0;
    for (std::size_t i = bytes.size() / width; i-- > 0;) {
      std::uint64_t word = 0;
      for (std::size_t b = 0; b < width; ++b) word += std::uint64_t{bytes[i * width + b]} << (8 * b);
      sum += mixed((std::uint64_t{i} << 32) + word);
    }
    return static_cast<std::int64_t>(sum);
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, TensorHash, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

TEST(WordMixing, IsThatOfThePublishedGenerator) {
  EXPECT_EQ(mixed(0), 0xe220a8397b1dcdafULL);  // the first number of splitmix64 from seed 0
}

// More tensors than fit one kernel launch, two of several pieces, of several dtypes, one empty.
TEST_P(TensorHash, IsTheSumOfItsMixedWords) {
  std::vector<Tensor> tensors;
  for (int n = 0; n < 300; ++n) {
    const Shape shape{n == 130 || n == 131 ? 40001 + n : 1 + n * 7 % 50};
    const std::string name = "tensor" + std::to_string(n);
    tensors.push_back(n % 3 == 0   ? bench_.input(name, shape)
                      : n % 3 == 1 ? bench_.parameter(name, shape)
                                   : bench_.float64(name, shape));
  }
  const std::vector<std::int64_t> found = hashes(tensors);
  for (std::size_t n = 0; n < tensors.size(); ++n) ASSERT_EQ(found[n], expected(tensors[n])) << n;
  bench_.finish();
}

// A view that begins in the middle of a pack.
TEST_P(TensorHash, MayBeginAnywhere) {
  const Tensor whole = bench_.input("x", Shape{16500, 1});
  for (const std::int64_t first : {1, 3, 8}) {
    const Tensor part = whole.row_range(first, 16500 - 20);
    EXPECT_EQ(hashes({&part, 1})[0], expected(part)) << first;
  }
}

TEST_P(TensorHash, SeesOneFlippedBitAndTwoExchangedElements) {
  const Tensor x = bench_.variables("x", bench_.dtype(), Shape{501}, std::vector<double>(501, 0.75));
  const std::int64_t before = hashes({&x, 1})[0];
  std::vector<unsigned char> bytes = bytes_of(x);
  const auto changed = [&](std::size_t byte, unsigned char mask) {
    bytes[byte] = static_cast<unsigned char>(bytes[byte] ^ mask);
    bench_.backend().upload(bench_.stream(), bytes.data(), x.data, bytes.size());
    bench_.stream().synchronize();
    return hashes({&x, 1})[0];
  };
  for (const std::size_t byte : {std::size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
    EXPECT_NE(changed(byte, 0x10), before) << byte;
    EXPECT_EQ(changed(byte, 0x10), before) << byte << " flipped back";
  }
  const std::size_t width = size_of(bench_.dtype());
  const std::int64_t third = changed(3 * width, 1);
  changed(3 * width, 1);
  EXPECT_NE(changed(4 * width, 1), third) << "the same change in another place";
}

}  // namespace
}  // namespace plumb::test
