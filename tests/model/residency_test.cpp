// Which weights stay in memory: the plan for layers and the order of experts, as pure functions of sizes.
#include "model/residency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace inkstone {
namespace {

size_t kept(const std::vector<bool>& stays) {
  return static_cast<size_t>(std::count(stays.begin(), stays.end(), true));
}

// Bytes in memory at most while the steps go round: those that stay, one in use and two on their way.
uint64_t peak(const std::vector<uint64_t>& bytes, const std::vector<bool>& stays) {
  uint64_t sum = 0, window = 0;
  std::vector<uint64_t> streamed;
  for (size_t i = 0; i < bytes.size(); ++i)
    if (stays[i])
      sum += bytes[i];
    else
      streamed.push_back(bytes[i]);
  for (size_t i = 0; i < streamed.size(); ++i) {
    uint64_t three = 0;
    for (size_t j = 0; j < std::min<size_t>(3, streamed.size()); ++j) three += streamed[(i + j) % streamed.size()];
    window = std::max(window, three);
  }
  return sum + window;
}

TEST(PlanSteps, AllStayWhereAllFit) {
  const std::vector<uint64_t> bytes(5, 100);
  EXPECT_EQ(kept(plan_steps(bytes, 500).value()), 5u);
  EXPECT_LT(kept(plan_steps(bytes, 499).value()), 5u);
}

TEST(PlanSteps, ThreeAtATimeAreTheLeast) {
  const std::vector<uint64_t> bytes(10, 100);
  EXPECT_EQ(plan_steps(bytes, 0), std::nullopt);
  EXPECT_EQ(plan_steps(bytes, 299), std::nullopt);
  EXPECT_EQ(kept(plan_steps(bytes, 300).value()), 0u);
  EXPECT_EQ(kept(plan_steps(std::vector<uint64_t>{100, 100}, 200).value()), 2u);
  EXPECT_EQ(plan_steps(std::vector<uint64_t>{100, 100}, 199), std::nullopt);
}

TEST(PlanSteps, KeepsToMemoryAndUsesIt) {
  std::vector<uint64_t> bytes(36, 107);
  bytes.push_back(350);  // the head
  size_t before = 0;
  for (uint64_t memory = 600; memory <= 36 * 107 + 350; ++memory) {
    const auto stays = plan_steps(bytes, memory);
    ASSERT_TRUE(stays.has_value()) << memory;
    EXPECT_LE(peak(bytes, *stays), memory);
    EXPECT_GE(kept(*stays), before) << memory;  // more memory never keeps less
    before = kept(*stays);
  }
  const auto stays = plan_steps(bytes, 2800).value();
  EXPECT_TRUE(stays.back());
  EXPECT_EQ(kept(stays), 1u + (2800 - 350 - 3 * 107) / 107);
}

TEST(PlanSteps, TheHeadStaysFirstAndLayersEvenly) {
  const std::vector<uint64_t> bytes(13, 100);  // 12 layers and a head
  EXPECT_EQ(plan_steps(bytes, 400).value(), [] {
    std::vector<bool> only_head(13, false);
    only_head.back() = true;
    return only_head;
  }());
  const auto half = plan_steps(bytes, 1000).value();  // the head, 6 layers, 3 on their way
  EXPECT_EQ(kept(half), 7u);
  for (size_t i = 0; i + 2 < half.size(); i += 2) EXPECT_NE(half[i], half[i + 1]) << i;
}

TEST(PlanSteps, ASizeThatDwarfsTheOthers) {
  std::vector<uint64_t> bytes(10, 1);
  bytes.push_back(1000);
  EXPECT_EQ(plan_steps(bytes, 1001), std::nullopt);  // the head and two layers
  EXPECT_EQ(kept(plan_steps(bytes, 1002).value()), 0u);
  EXPECT_TRUE(plan_steps(bytes, 1003).value().back());
}

TEST(RecentlyUsed, TheOldestGoesFirst) {
  RecentlyUsed recent(10, 30);
  for (const size_t i : {1, 2, 3}) EXPECT_FALSE(recent.use(i, 10));
  EXPECT_EQ(recent.take_excess(), std::nullopt);
  EXPECT_TRUE(recent.use(1, 10));  // now 2 is the oldest
  EXPECT_FALSE(recent.use(4, 10));
  recent.begin_round();
  EXPECT_EQ(recent.take_excess(), 2u);
  EXPECT_EQ(recent.take_excess(), std::nullopt);
  EXPECT_FALSE(recent.use(2, 10));
  EXPECT_EQ(recent.take_excess(), 3u);
}

TEST(RecentlyUsed, WhatThisRoundUsesStaysBeyondTheBudget) {
  RecentlyUsed recent(10, 15);
  EXPECT_FALSE(recent.use(0, 10));
  recent.begin_round();
  for (const size_t i : {1, 2, 3, 1}) recent.use(i, 10);
  EXPECT_EQ(recent.take_excess(), 0u);
  EXPECT_EQ(recent.take_excess(), std::nullopt);  // 30 of 15, all in use
  recent.begin_round();
  EXPECT_EQ(recent.take_excess(), 2u);
  EXPECT_EQ(recent.take_excess(), 3u);
  EXPECT_EQ(recent.take_excess(), std::nullopt);
  EXPECT_TRUE(recent.use(1, 10));
}

TEST(Residency, ByItselfItDoesNothing) {
  Residency residency;
  EXPECT_FALSE(residency.streams());
  residency.enter(1000);
  residency.use_experts(1000, {});
}

}  // namespace
}  // namespace inkstone
