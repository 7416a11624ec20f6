// Every broken input of broken_input.cpp under mpirun: the ranks meet, one speaks, mpirun returns their
// status.
#include <gtest/gtest.h>

#include "broken_input.h"

namespace plumb::test {
namespace {

class BrokenInputOnTwoRanks : public ::testing::TestWithParam<BrokenInput> {};

TEST_P(BrokenInputOnTwoRanks, GivesOneLine) { check_broken_input(GetParam(), 2); }

INSTANTIATE_TEST_SUITE_P(Train, BrokenInputOnTwoRanks, ::testing::ValuesIn(broken_inputs_for(2)),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace plumb::test
