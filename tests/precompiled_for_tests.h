#pragma once

// For every test program (plumb_test); see framework/precompiled.h.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "precompiled.h"
