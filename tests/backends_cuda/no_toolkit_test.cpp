// Stands for the tests that link the libraries of the CUDA toolkit, where there is none.
#include <gtest/gtest.h>

TEST(ProductDescriptors, NeedTheLibrary) {
  GTEST_SKIP() << "this build has no CUDA toolkit, so there is no cuBLASLt to make descriptors with";
}
