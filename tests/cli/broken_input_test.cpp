// Every broken input of broken_input.cpp in one process.
#include "broken_input.h"

#include <gtest/gtest.h>

namespace plumb::test {
namespace {

class BrokenInputAlone : public ::testing::TestWithParam<BrokenInput> {};

TEST_P(BrokenInputAlone, GivesOneLine) { check_broken_input(GetParam(), 1); }

INSTANTIATE_TEST_SUITE_P(Train, BrokenInputAlone, ::testing::ValuesIn(broken_inputs_for(1)),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace plumb::test
