#include "base/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <string>

namespace inkstone {
namespace {

namespace fs = std::filesystem;

// A root of /proc and /sys as a test describes it.
class Cgroup : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    root_ = fs::temp_directory_path() / ("cgroup_" + name + std::to_string(getpid()));
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const fs::path& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  CgroupLimits limits() const { return cgroup_limits(root_); }

  fs::path root_;
};

TEST_F(Cgroup, NothingThereLimitsNothing) {
  EXPECT_TRUE(std::isinf(limits().cpus));
  EXPECT_EQ(limits().memory, UINT64_MAX);
  EXPECT_EQ(limits().memory_available, UINT64_MAX);
  write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(limits().memory, UINT64_MAX);
}

TEST_F(Cgroup, Version2) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
  write("sys/fs/cgroup/a/b/memory.max", "1000000\n");
  write("sys/fs/cgroup/a/b/memory.current", "700000\n");
  write("sys/fs/cgroup/a/b/memory.stat", "anon 100000\nfile 600000\nkernel 1\nshmem 200000\n");
  EXPECT_DOUBLE_EQ(limits().cpus, 1.5);
  EXPECT_EQ(limits().memory, 1000000);
  EXPECT_EQ(limits().memory_available, 700000);  // 400000 of its 700000 are files that can be dropped
}

TEST_F(Cgroup, MaxIsNoLimit) {
  write("proc/self/cgroup", "0::/a\n");
  write("sys/fs/cgroup/a/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/a/memory.max", "max\n");
  EXPECT_TRUE(std::isinf(limits().cpus));
  EXPECT_EQ(limits().memory, UINT64_MAX);
}

TEST_F(Cgroup, TheTightestOfAllAboveCounts) {
  write("proc/self/cgroup", "0::/a/b/c\n");
  write("sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
  write("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  write("sys/fs/cgroup/a/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/a/b/c/memory.max", "max\n");
  write("sys/fs/cgroup/a/memory.max", "5000\n");
  write("sys/fs/cgroup/a/memory.current", "4000\n");
  EXPECT_DOUBLE_EQ(limits().cpus, 0.5);
  EXPECT_EQ(limits().memory, 5000);
  EXPECT_EQ(limits().memory_available, 1000);
}

TEST_F(Cgroup, InAContainerTheMountedRootIsTheGroup) {
  write("proc/self/cgroup", "0::/docker/0123\n");
  write("sys/fs/cgroup/memory.max", "5000\n");
  write("sys/fs/cgroup/memory.current", "9000\n");  // beyond the limit while it is lowered
  EXPECT_EQ(limits().memory, 5000);
  EXPECT_EQ(limits().memory_available, 0);
}

TEST_F(Cgroup, Version1) {
  write("proc/self/cgroup", "9:name=systemd:/x\n8:cpuset:/x\n4:memory:/a\n3:cpu,cpuacct:/a/b\n0::/\n");
  write("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "25000\n");
  write("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "10000\n");
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000000\n");
  write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "900000\n");
  write("sys/fs/cgroup/memory/a/memory.stat", "cache 1\ntotal_cache 500000\ntotal_shmem 100000\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_DOUBLE_EQ(limits().cpus, 2.5);
  EXPECT_EQ(limits().memory, 1000000);
  EXPECT_EQ(limits().memory_available, 500000);
}

TEST_F(Cgroup, OddFilesLimitNothing) {
  write("proc/self/cgroup", "\n:\n::\n0:\n0::\n0::x\n4:memory\n4:memory:/a\n0::/a\n");
  write("sys/fs/cgroup/a/cpu.max", "-5 0\n");
  write("sys/fs/cgroup/a/memory.max", "many\n");
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "-1\n");
  EXPECT_TRUE(std::isinf(limits().cpus));
  EXPECT_EQ(limits().memory, UINT64_MAX);
}

}  // namespace
}  // namespace inkstone
