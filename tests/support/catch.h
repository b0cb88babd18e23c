// SPDX-License-Identifier: Apache-2.0
//
// Catch2 in both of its generations: v2 is one header, v3 a library.
#pragma once

#if RINGLEADER_CATCH2_MAJOR >= 3
#include <catch2/catch_approx.hpp>
#include <catch2/catch_session.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>

using Catch::Approx;  // as in v2
#else
#include <catch2/catch.hpp>
#endif
