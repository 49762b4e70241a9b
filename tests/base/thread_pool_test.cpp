#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

namespace inkstone {
namespace {

TEST(ThreadPool, EveryRankRunsOncePerRun) {
  for (const int size : {1, 2, 3, 8}) {
    ThreadPool pool(size);
    std::vector<int> counts(static_cast<size_t>(size));  // plain: run() must order the accesses
    for (int i = 0; i < 3000; ++i) pool.run([&](int rank) { ++counts[static_cast<size_t>(rank)]; });
    for (const int count : counts) EXPECT_EQ(count, 3000);
  }
}

TEST(ThreadPool, ResultsAreVisibleAfterEachRun) {
  ThreadPool pool(3);
  std::vector<int64_t> values(1000, 0);
  for (int i = 1; i <= 200; ++i) {
    pool.parallel_for(1000, 10, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j) values[static_cast<size_t>(j)] += j;
    });
    EXPECT_EQ(values[999], 999 * i);
  }
}

TEST(ThreadPool, ParallelForCoversEachIndexOnce) {
  for (const int size : {1, 2, 5}) {
    ThreadPool pool(size);
    for (const int64_t count : {0, 1, 9, 10, 11, 100, 1001}) {
      for (const int64_t grain : {1, 10, 64}) {
        std::vector<int> hits(static_cast<size_t>(count));
        pool.parallel_for(count, grain, [&](int64_t begin, int64_t end) {
          EXPECT_EQ(begin % grain, 0);
          for (int64_t i = begin; i < end; ++i) ++hits[static_cast<size_t>(i)];
        });
        for (const int hit : hits) EXPECT_EQ(hit, 1);
      }
    }
  }
}

TEST(ThreadPool, WorksAgainAfterSleeping) {
  ThreadPool pool(2);
  std::vector<int> counts(2);
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    pool.run([&](int rank) { ++counts[static_cast<size_t>(rank)]; });
  }
  EXPECT_EQ(counts, (std::vector<int>{5, 5}));
}

// Workers sleep: 200 ms of idleness must not cost a core 200 ms.
TEST(ThreadPool, IdlePoolUsesNoTime) {
  ThreadPool pool(4);
  pool.run([](int) {});
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC, 0.1);
}

TEST(ThreadPool, PoolsOfOneNestInsideOthers) {
  ThreadPool outer(3);
  std::vector<int> counts(3);
  outer.run([&](int rank) {
    ThreadPool inner(1);
    for (int i = 0; i < 100; ++i) inner.run([&](int) { ++counts[static_cast<size_t>(rank)]; });
  });
  EXPECT_EQ(counts, (std::vector<int>{100, 100, 100}));
}

TEST(ThreadPool, StartsAndStopsManyTimes) {
  for (int i = 0; i < 50; ++i) {
    ThreadPool pool(4);
    if (i % 2 == 0) pool.run([](int) {});
  }
}

}  // namespace
}  // namespace inkstone
