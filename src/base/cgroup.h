// What the control groups of Linux leave to this process: version 1 and 2, the tightest limit of its own group and of
// every group above. Private to base: base/system.h gives the figures that the program goes by.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>

namespace inkstone {

struct CgroupLimits {
  double cpus = std::numeric_limits<double>::infinity();  // a quota of 150000 of every 100000 microseconds is 1.5
  uint64_t memory = UINT64_MAX;                           // bytes
  // Bytes that the group may still take; file pages that it holds (our mapped weights, too) can be dropped and so
  // count as free.
  uint64_t memory_available = UINT64_MAX;
};

// Reads /proc/self/cgroup and /sys/fs/cgroup under `root`. Files that are absent or odd limit nothing.
CgroupLimits cgroup_limits(const std::filesystem::path& root = "/");

}  // namespace inkstone
