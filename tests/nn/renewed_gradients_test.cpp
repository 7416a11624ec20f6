// After renew_gradients backward writes what it can write, whatever was there: the same gradients as when
// everything was zeroed.
#include <limits>

#include "nn/placed_config.h"
#include "nn/tiny_model.h"

namespace plumb::test {
namespace {

std::vector<std::string> row_names() {
  std::vector<std::string> names;
  for (const Placement& row : placements()) names.emplace_back(row.name);
  return names;
}

class RenewedGradients : public testing::TestWithParam<std::string> {
 protected:
  void expect_as_zeroed(const std::vector<std::string>& more) {
    std::vector<std::string> settings = {"model.blocks=2", "model.width=8", "model.heads=2",
                                         "model.sequence_length=4"};
    settings.insert(settings.end(), more.begin(), more.end());
    TinyModel model(load_placed(GetParam(), settings).config.model);
    model.forward_backward();
    const Tensor flat = model.engine().parameters().flat_gradient();
    const std::vector<double> zeroed(flat.as<double>(), flat.as<double>() + flat.elements());
    const std::int64_t written = spoil(model);
    EXPECT_GT(written, 0);
    model.engine().renew_gradients();
    const auto pass = [&] {
      model.forward();
      model.engine().backward(model.probes(), 1 / model.probes().loss_sums.as<double>()[kHeadLossRows],
                              nullptr, false);
    };
    pass();
    for (std::int64_t i = 0; i < flat.elements(); ++i)
      ASSERT_EQ(flat.as<double>()[i], zeroed[static_cast<std::size_t>(i)]) << i;
    pass();  // adds, as it always does
    for (std::int64_t i = 0; i < flat.elements(); ++i)
      ASSERT_NEAR(flat.as<double>()[i], 2 * zeroed[static_cast<std::size_t>(i)], 1e-12) << i;
  }

 private:
  /// NaN in every gradient; says how many entries backward has to write.
  static std::int64_t spoil(TinyModel& model) {
    std::int64_t written = 0;
    for (const Parameter* parameter : model.engine().parameters().trainable()) {
      std::fill_n(parameter->gradient.as<double>(), parameter->gradient.elements(),
                  std::numeric_limits<double>::quiet_NaN());
      if (parameter->overwritten) written += parameter->gradient.elements();
    }
    return written;
  }
};

TEST_P(RenewedGradients, AreWhatZeroedOnesBecome) { expect_as_zeroed({}); }
TEST_P(RenewedGradients, WithAnUntiedHead) { expect_as_zeroed({"model.tied_head=false"}); }
TEST_P(RenewedGradients, WithAGainOfLogits) { expect_as_zeroed({"model.gain.logits={trainable='vector'}"}); }

INSTANTIATE_TEST_SUITE_P(Rows, RenewedGradients, testing::ValuesIn(row_names()), [](const auto& info) {
  std::string name = info.param;
  for (char& letter : name) letter = letter == '-' ? '_' : letter;
  return name;
});

}  // namespace
}  // namespace plumb::test
