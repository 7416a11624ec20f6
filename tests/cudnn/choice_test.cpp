// Who computes attention, and who is asked how often.
#include <gmock/gmock.h>

#include "backends/cuda/attention_choice.h"
#include "core/error.h"
#include "cudnn/requests.h"

namespace plumb::cuda::test {
namespace {

/// Refuses fp16, fails at fp32, and takes a workspace of its choice.
class FakeLibrary final : public AttentionLibrary {
 public:
  FakeLibrary(std::size_t bytes, int& questions) : bytes_(bytes), questions_(questions) {}
  std::string name() const override { return "fake"; }
  std::string refusal(const AttentionRequest& request) const override {
    ++questions_;
    if (request.dtype == DType::Float32) fail("the device is broken");
    return request.dtype == DType::Float16 ? "it dislikes fp16" : "";
  }
  std::string plan(const AttentionRequest&) const override { return "plan 7"; }
  std::size_t workspace(const AttentionRequest&) const override { return bytes_; }
  void forward(cudaStream_t, const AttentionForward&) const override {}
  void backward(cudaStream_t, const AttentionBackward&) const override {}

 private:
  std::size_t bytes_;
  int& questions_;
};

class AttentionChooserTest : public testing::Test {
 protected:
  AttentionChooser chooser(AttentionChoice wanted, std::size_t bytes = 1024) {
    return AttentionChooser(wanted, std::make_unique<FakeLibrary>(bytes, questions_));
  }
  int questions_ = 0;
  AttentionRequest taken_ = packed_request(AttentionPass::Backward, 64);
  AttentionRequest refused_ = packed_request(AttentionPass::Backward, 64, 1024, true, DType::Float16);
};

TEST_F(AttentionChooserTest, AutoTakesTheLibraryUnlessItRefuses) {
  const AttentionChooser choice = chooser(AttentionChoice::Auto);
  EXPECT_NE(choice.library_for(taken_), nullptr);
  EXPECT_EQ(choice.library_for(refused_), nullptr);
}

TEST_F(AttentionChooserTest, AutoLimitsTheWorkspaceAndLibraryDoesNot) {
  const std::size_t limit = AttentionChooser::kLargestAutoWorkspace;
  EXPECT_NE(chooser(AttentionChoice::Auto, limit).library_for(taken_), nullptr);
  EXPECT_EQ(chooser(AttentionChoice::Auto, limit + 1).library_for(taken_), nullptr);
  EXPECT_NE(chooser(AttentionChoice::Library, limit + 1).library_for(taken_), nullptr);
}

TEST_F(AttentionChooserTest, OwnAsksNobody) {
  EXPECT_EQ(chooser(AttentionChoice::Own).library_for(taken_), nullptr);
  EXPECT_EQ(questions_, 0);
}

TEST_F(AttentionChooserTest, LibraryIsAnErrorWithTheReasonWhenItRefuses) {
  const AttentionChooser choice = chooser(AttentionChoice::Library);
  EXPECT_NE(choice.library_for(taken_), nullptr);
  try {
    choice.library_for(refused_);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "compute.attention = \"library\", but fake does not take attention backward, fp16, B 4, T 1024, "
        "H 12, D 64, causal, row strides 2304 2304 2304 768 768 2304 2304 2304: it dislikes fp16");
  }
}

TEST_F(AttentionChooserTest, AFaultIsNoRefusalAndNotRemembered) {
  const AttentionRequest failing = packed_request(AttentionPass::Backward, 64, 1024, true, DType::Float32);
  for (const AttentionChoice wanted : {AttentionChoice::Auto, AttentionChoice::Library}) {
    const AttentionChooser choice = chooser(wanted);
    questions_ = 0;
    for (int i = 0; i < 2; ++i)
      EXPECT_THAT([&] { choice.library_for(failing); },
                  testing::ThrowsMessage<Error>("the device is broken"));
    EXPECT_EQ(questions_, 2);
  }
}

TEST_F(AttentionChooserTest, SaysItOnce) {
  const AttentionChooser choice = chooser(AttentionChoice::Auto);
  testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) {
    choice.library_for(taken_);
    choice.library_for(refused_);
  }
  EXPECT_EQ(questions_, 2);
  const std::string log = testing::internal::GetCapturedStderr();
  const std::string shape =
      "B 4, T 1024, H 12, D 64, causal, row strides 2304 2304 2304 768 768 2304 2304 2304: ";
  EXPECT_EQ(log, "plumb: attention backward, bf16, " + shape + "fake, plan 7\n" +
                     "plumb: attention backward, fp16, " + shape +
                     "own kernels; fake is refused: it dislikes fp16\n");
}

}  // namespace
}  // namespace plumb::cuda::test
