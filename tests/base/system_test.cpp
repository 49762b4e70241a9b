#include "base/system.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace inkstone {
namespace {

TEST(System, AvailableCpusHonourTheAffinityOfTheThread) {
  EXPECT_GE(available_cpus(), 1);
  int pinned = 0;
  std::thread([&] {  // affinity belongs to a thread: this one's does not stay
    cpu_set_t all, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
      if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    pinned = available_cpus();
  })
      .join();
  EXPECT_EQ(pinned, 1);
}

TEST(System, MemoryIsSaneAndAvailableIsPartOfIt) {
  const MemoryInfo memory = memory_info();
  EXPECT_GT(memory.total, uint64_t{1} << 26);
  EXPECT_GT(memory.available, 0);
  EXPECT_LE(memory.available, memory.total);
}

}  // namespace
}  // namespace inkstone
