#include "train/batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace inkstone {
namespace {

TEST(Batches, EveryExampleOnceButTheRest) {
  const std::vector<std::vector<size_t>> batches = make_batches(7, 2, 5);
  ASSERT_EQ(batches.size(), 3u);
  std::set<size_t> seen;
  for (const auto& batch : batches) {
    ASSERT_EQ(batch.size(), 2u);
    for (const size_t index : batch) EXPECT_TRUE(index < 7 && seen.insert(index).second);
  }
  const std::vector<std::vector<size_t>> all = make_batches(7, 2, 5, 0, Rest::last_batch);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_TRUE(std::equal(batches.begin(), batches.end(), all.begin()));
  ASSERT_EQ(all[3].size(), 1u);
  EXPECT_TRUE(seen.insert(all[3][0]).second);
}

TEST(Batches, TheOrderIsThatOfTheWrittenGenerator) {
  const auto order = [&](uint64_t seed, uint64_t epoch) {
    std::vector<size_t> first;
    for (const auto& batch : make_batches(6, 1, seed, epoch)) first.push_back(batch[0]);
    return first;
  };
  // Worked out from the words of splitmix64 from 0: e220a8397b1dcdaf 6e789e6aa1b965f4 06c45d188009454f f88bb8a8724c81ec
  // 1b39896a51a8749b; modulo 6, 5, 4, 3, 2.
  std::vector<size_t> expected{0, 1, 2, 3, 4, 5};
  const uint64_t words[] = {0xe220a8397b1dcdafu, 0x6e789e6aa1b965f4u, 0x06c45d188009454fu, 0xf88bb8a8724c81ecu,
                            0x1b39896a51a8749bu};
  for (size_t i = 6; i-- > 1;) std::swap(expected[i], expected[words[5 - i] % (i + 1)]);
  EXPECT_EQ(order(0, 0), expected);
  EXPECT_EQ(order(7, 3), order(7, 3));
  EXPECT_NE(order(0, 0), order(0, 1));
  EXPECT_NE(order(0, 0), order(1, 0));
}

TEST(Batches, TooFewExamplesAreAUsageError) {
  try {
    make_batches(2, 3, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::usage);
    EXPECT_STREQ(error.what(), "data: found 2 examples, expected at least one batch: 3 (--batch-size)");
  }
}

}  // namespace
}  // namespace inkstone
