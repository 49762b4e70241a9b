// Figures worked out by hand, and those that MLX's own documentation gives.
#include "train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace inkstone {
namespace {

LearningRate schedule(ScheduleKind kind, std::vector<double> arguments, int64_t warmup = 0, double warmup_init = 0) {
  return LearningRate(ScheduleConfig{kind, std::move(arguments), warmup, warmup_init});
}

TEST(LearningRate, Constant) {
  const LearningRate rate(1e-5);
  EXPECT_FLOAT_EQ(rate.at(0), 1e-5f);
  EXPECT_FLOAT_EQ(rate.at(1000000), 1e-5f);
}

TEST(LearningRate, Cosine) {
  const LearningRate rate = schedule(ScheduleKind::cosine_decay, {0.1, 1000});
  EXPECT_FLOAT_EQ(rate.at(0), 0.1f);
  EXPECT_NEAR(rate.at(5), 0.0999938, 1e-7);  // 0.05 (1 + cos(0.005 pi))
  EXPECT_FLOAT_EQ(rate.at(500), 0.05f);
  EXPECT_NEAR(rate.at(1000), 0, 1e-9);
  EXPECT_NEAR(rate.at(5000), 0, 1e-9);
  const LearningRate end = schedule(ScheduleKind::cosine_decay, {1, 3, 0.5});
  EXPECT_FLOAT_EQ(end.at(1), 0.875f);  // cos 60 degrees
  EXPECT_FLOAT_EQ(end.at(2), 0.625f);
  EXPECT_FLOAT_EQ(end.at(3), 0.5f);
}

TEST(LearningRate, Linear) {
  const LearningRate rate = schedule(ScheduleKind::linear_schedule, {0, 0.1, 100});
  EXPECT_FLOAT_EQ(rate.at(0), 0);
  EXPECT_FLOAT_EQ(rate.at(1), 0.001f);
  EXPECT_FLOAT_EQ(rate.at(50), 0.05f);
  EXPECT_FLOAT_EQ(rate.at(101), 0.1f);
}

TEST(LearningRate, Exponential) {
  const LearningRate rate = schedule(ScheduleKind::exponential_decay, {0.1, 0.9});
  EXPECT_FLOAT_EQ(rate.at(0), 0.1f);
  EXPECT_FLOAT_EQ(rate.at(4), 0.06561f);
}

TEST(LearningRate, Step) {
  const LearningRate rate = schedule(ScheduleKind::step_decay, {0.1, 0.9, 10});
  EXPECT_FLOAT_EQ(rate.at(9), 0.1f);
  EXPECT_FLOAT_EQ(rate.at(10), 0.09f);
  EXPECT_FLOAT_EQ(rate.at(20), 0.081f);
}

TEST(LearningRate, WarmUpThenTheSchedule) {
  // mlx_lm: linear_schedule(warmup_init, init, warmup) until step `warmup`, the schedule from 0 behind it.
  const LearningRate rate = schedule(ScheduleKind::step_decay, {1, 0.5, 2}, 4, 0.2);
  const float expected[] = {0.2f, 0.4f, 0.6f, 0.8f, 1, 1, 1, 0.5f, 0.5f, 0.25f};
  for (int i = 0; i < 10; ++i) EXPECT_FLOAT_EQ(rate.at(i), expected[i]) << i;
}

TEST(LearningRate, WhatIsNoScheduleIsAUsageError) {
  const auto refused = [](ScheduleConfig config) {
    try {
      const LearningRate rate(std::move(config));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::usage);
      return true;
    }
    return false;
  };
  EXPECT_TRUE(refused({ScheduleKind::cosine_decay, {1}}));
  EXPECT_TRUE(refused({ScheduleKind::cosine_decay, {1, 0}}));
  EXPECT_TRUE(refused({ScheduleKind::cosine_decay, {1, 2.5}}));
  EXPECT_TRUE(refused({ScheduleKind::cosine_decay, {NAN, 2}}));
  EXPECT_TRUE(refused({ScheduleKind::cosine_decay, {1, 2, 3, 4}}));
  EXPECT_TRUE(refused({ScheduleKind::linear_schedule, {1, 2, 0}}));
  EXPECT_TRUE(refused({ScheduleKind::step_decay, {1, 0.9, INFINITY}}));
  EXPECT_TRUE(refused({ScheduleKind::exponential_decay, {-1, 0.9}}));
  EXPECT_TRUE(refused({ScheduleKind::exponential_decay, {1, 0.9}, -1, 0}));
  EXPECT_TRUE(refused({ScheduleKind::exponential_decay, {1, 0.9}, 1, NAN}));
}

}  // namespace
}  // namespace inkstone
