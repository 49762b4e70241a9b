#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

namespace inkstone {
namespace {

namespace fs = std::filesystem;

// The first number of a file; none where the file is absent or says "max" or "-1".
std::optional<uint64_t> number_of(const fs::path& path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word) || word.empty() || word.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return std::strtoull(word.c_str(), nullptr, 10);
}

// The number that stands behind `key` in a file of "key number" lines, or 0.
uint64_t statistic(const fs::path& path, std::string_view key) {
  std::ifstream file(path);
  std::string name;
  for (uint64_t value = 0; file >> name >> value;)
    if (name == key) return value;
  return 0;
}

void limit_cpus(CgroupLimits& limits, double quota, double period) {
  if (quota > 0 && period > 0) limits.cpus = std::min(limits.cpus, quota / period);
}

void limit_memory(CgroupLimits& limits, std::optional<uint64_t> limit, std::optional<uint64_t> used, uint64_t cache,
                  uint64_t shared) {
  if (!limit) return;
  limits.memory = std::min(limits.memory, *limit);
  const uint64_t droppable = cache - std::min(cache, shared);  // files in memory (tmpfs) count as cache, too
  const uint64_t kept = used.value_or(0) - std::min(used.value_or(0), droppable);
  limits.memory_available = std::min(limits.memory_available, *limit - std::min(*limit, kept));
}

void read_v2(CgroupLimits& limits, const fs::path& group) {
  std::ifstream file(group / "cpu.max");  // "max 100000" or "200000 100000"
  double quota = 0, period = 0;
  if (file >> quota >> period) limit_cpus(limits, quota, period);
  const fs::path stat = group / "memory.stat";
  limit_memory(limits, number_of(group / "memory.max"), number_of(group / "memory.current"), statistic(stat, "file"),
               statistic(stat, "shmem"));
}

void read_v1(CgroupLimits& limits, const fs::path& group) {
  limit_cpus(limits, static_cast<double>(number_of(group / "cpu.cfs_quota_us").value_or(0)),
             static_cast<double>(number_of(group / "cpu.cfs_period_us").value_or(0)));
  const fs::path stat = group / "memory.stat";
  limit_memory(limits, number_of(group / "memory.limit_in_bytes"), number_of(group / "memory.usage_in_bytes"),
               statistic(stat, "total_cache"), statistic(stat, "total_shmem"));
}

// Reads the group and all above it. A container may see the host's name of its group but not the folder of that name:
// the root that is mounted for it is then its own group.
template <class Read>
void read_upwards(CgroupLimits& limits, const fs::path& mount, std::string_view group, Read read) {
  for (;;) {
    read(limits, mount / group.substr(std::min<size_t>(1, group.size())));
    if (group.size() <= 1) return;
    group = group.substr(0, group.rfind('/'));
  }
}

}  // namespace

CgroupLimits cgroup_limits(const fs::path& root) {
  CgroupLimits limits;
  const fs::path mounts = root / "sys/fs/cgroup";
  std::ifstream self(root / "proc/self/cgroup");
  for (std::string line; std::getline(self, line);) {  // "4:cpu,cpuacct:/group", version 2: "0::/group"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos || second + 1 >= line.size() || line[second + 1] != '/') continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string_view group = std::string_view(line).substr(second + 1);
    if (controllers == ",,") read_upwards(limits, mounts, group, read_v2);
    for (const char* controller : {"cpu", "memory"})
      if (controllers.find("," + std::string(controller) + ",") != std::string::npos)
        read_upwards(limits, mounts / controller, group, read_v1);
  }
  return limits;
}

}  // namespace inkstone
