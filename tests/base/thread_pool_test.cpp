#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <stdexcept>
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

// More threads than any machine that runs this has processors, and runs of every length: none is lost, none done twice,
// and what one run wrote the next one reads, on whichever thread.
TEST(ThreadPool, MoreThreadsThanProcessors) {
  constexpr int kThreads = 64, kRuns = 2000;
  ThreadPool pool(kThreads);
  std::vector<int64_t> sums(kThreads);
  for (int run = 1; run <= kRuns; ++run)
    pool.run([&](int rank) {
      int64_t sum = 0;
      for (int i = 0; i <= (run + rank) % 7 * 100; ++i) sum += i % 2 == 0 ? 1 : -1;
      sums[static_cast<size_t>(rank)] += sum * run;  // sum is 1
    });
  for (const int64_t sum : sums) EXPECT_EQ(sum, int64_t{kRuns} * (kRuns + 1) / 2);
}

// Whether workers are awake, falling asleep or asleep when a run begins: every task is done once, and the caller never
// returns while one is at work (the next run would move `next` under it).
TEST(ThreadPool, TasksAreDoneOnceWhetherWorkersSleepOrNot) {
  ThreadPool pool(8);
  std::atomic<int> next{0};
  std::vector<int> hits(200000);
  for (int run = 0; run < 20; ++run) {
    std::this_thread::sleep_for(std::chrono::milliseconds(run % 3));  // awake, falling asleep, asleep
    pool.run([&](int) {
      for (int i = next.fetch_add(1); i < (run + 1) * 10000; i = next.fetch_add(1)) ++hits[static_cast<size_t>(i)];
    });
    next = (run + 1) * 10000;
  }
  for (const int hit : hits) EXPECT_EQ(hit, 1);
}

TEST(ThreadPool, RankZeroIsTheCallers) {
  ThreadPool pool(4);
  for (int i = 0; i < 100; ++i) {
    std::thread::id caller;
    pool.run([&](int rank) {
      if (rank == 0) caller = std::this_thread::get_id();
    });
    EXPECT_EQ(caller, std::this_thread::get_id());
  }
}

TEST(ThreadPoolDeathTest, ARunInsideARunIsABug) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        ThreadPool pool(2);
        pool.run([&](int rank) {
          if (rank == 0) pool.run([](int) {});
        });
      },
      "terminate");
}

TEST(ThreadPoolDeathTest, AFunctionThatThrowsEndsTheProgram) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        ThreadPool pool(2);
        pool.run([&](int rank) {
          if (rank == 0) throw std::runtime_error("thrown by a task");
        });
      },
      "terminate");
}

TEST(ThreadPool, StopsWhileItsWorkersSleep) {
  for (int i = 0; i < 5; ++i) {
    ThreadPool pool(4);
    pool.run([](int) {});
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

TEST(ThreadPool, StartsAndStopsManyTimes) {
  for (int i = 0; i < 50; ++i) {
    ThreadPool pool(4);
    if (i % 2 == 0) pool.run([](int) {});
  }
}

}  // namespace
}  // namespace inkstone
