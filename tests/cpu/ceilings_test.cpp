// The arithmetic units of this machine: each is there once, runs, and may be used only where precision allows.
#include "cpu/ceilings.h"

#include <gtest/gtest.h>

#include <set>

#include "cpu/dispatch.h"

namespace inkstone::testing {
namespace {

TEST(Ceilings, UnitsOfEveryInstructionSet) {
  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    ThreadPool pool(2);
    std::set<std::string> names;
    for (const UnitPeak& unit : measure_units(pool, *kernels, Precision::fast)) {
      SCOPED_TRACE(unit.name);
      EXPECT_TRUE(names.insert(unit.name).second);
      EXPECT_GT(unit.tera, 1e-5);
      EXPECT_TRUE(unit.for_decoding || !unit.for_prompts);
      EXPECT_EQ(unit.for_prompts && unit.name != "f32", unit.for_prompts && unit.name.ends_with("_bf16"));
      EXPECT_FALSE(unit.name.ends_with("_int8") && unit.for_decoding) << "8 bits are not within Precision::fast";
    }
    EXPECT_EQ(names.count("f32"), 1u);
  }
}

TEST(Ceilings, Float32UsesFloat32Only) {
  ThreadPool pool(1);
  for (const UnitPeak& unit : measure_units(pool, *supported_kernels().back(), Precision::f32)) {
    EXPECT_EQ(unit.for_prompts, unit.name == "f32") << unit.name;
    EXPECT_EQ(unit.for_decoding, unit.name == "f32") << unit.name;
  }
}

TEST(Ceilings, ScalarKernelsAreNotHeldAgainstWiderVectors) {
  ThreadPool pool(1);
  for (const UnitPeak& unit : measure_units(pool, kScalarKernels, Precision::fast))
    EXPECT_EQ(unit.for_decoding, unit.name == "f32") << unit.name;
}

}  // namespace
}  // namespace inkstone::testing
