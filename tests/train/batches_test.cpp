#include "train/batches.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"

namespace inkstone {
namespace {

TEST(Batches, NeighboursByLengthMakeABatch) {
  const std::vector<int> lengths{5, 1, 4, 1, 3, 9, 2};
  std::vector<std::vector<size_t>> batches = make_batches(lengths, 2, 0);
  ASSERT_EQ(batches.size(), 3u);
  std::sort(batches.begin(), batches.end());
  // Sorted: 1 3 6 4 2 0 5; the longest is left over.
  EXPECT_EQ(batches, (std::vector<std::vector<size_t>>{{1, 3}, {2, 0}, {6, 4}}));
}

TEST(Batches, TheOrderIsThatOfTheWrittenGenerator) {
  std::vector<int> lengths(6);
  for (int i = 0; i < 6; ++i) lengths[static_cast<size_t>(i)] = i;
  const auto order = [&](uint64_t seed, uint64_t epoch) {
    std::vector<size_t> first;
    for (const auto& batch : make_batches(lengths, 1, seed, epoch)) first.push_back(batch[0]);
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
  const std::vector<int> lengths{3, 4};
  try {
    make_batches(lengths, 3, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::usage);
    EXPECT_STREQ(error.what(), "data: found 2 examples, expected at least batch_size, 3");
  }
}

}  // namespace
}  // namespace inkstone
