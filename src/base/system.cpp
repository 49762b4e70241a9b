#include "base/system.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/error.h"

namespace inkstone {
namespace {

// The number after `key` in a file of "key: value" lines, or 0.
uint64_t number_in(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size(), nullptr, 10);
  return 0;
}

// A cgroup v2 control file of this process's own group, or of the root of its namespace.
std::string cgroup_file(const std::string& name) {
  std::ifstream self("/proc/self/cgroup");
  std::string group;
  for (std::string line; std::getline(self, line);)
    if (line.starts_with("0::")) group = line.substr(3);
  for (const std::string& directory : {"/sys/fs/cgroup" + group, std::string("/sys/fs/cgroup")}) {
    std::ifstream file(directory + "/" + name);
    std::string text;
    if (std::getline(file, text)) return text;
  }
  return {};
}

}  // namespace

int available_cpus() {
  int count = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = std::max(1, CPU_COUNT(&set));
  std::istringstream quota(cgroup_file("cpu.max"));  // "max 100000" or "200000 100000"
  double limit = 0, period = 0;
  if (quota >> limit >> period && period > 0) count = std::clamp(static_cast<int>(std::ceil(limit / period)), 1, count);
  return count;
}

MemoryInfo memory_info() {
  MemoryInfo info{number_in("/proc/meminfo", "MemTotal:") * 1024, number_in("/proc/meminfo", "MemAvailable:") * 1024};
  const uint64_t limit = std::strtoull(cgroup_file("memory.max").c_str(), nullptr, 10);  // "max" reads as 0
  if (limit > 0 && limit < info.total) {
    const uint64_t used = std::strtoull(cgroup_file("memory.current").c_str(), nullptr, 10);
    info.total = limit;
    info.available = std::min(info.available, limit > used ? limit - used : 0);
  }
  return info;
}

ResidentMemory resident_memory() {
  return {number_in("/proc/self/status", "RssAnon:") * 1024, number_in("/proc/self/status", "VmRSS:") * 1024};
}

std::string cpu_model_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::byte* reserve_memory(size_t bytes) {
  void* address = ::mmap(nullptr, std::max<size_t>(bytes, 1), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) fail(Errc::out_of_memory, "cannot reserve {} bytes: {}", bytes, std::strerror(errno));
  return static_cast<std::byte*>(address);
}

void release_memory(std::byte* data, size_t bytes) {
  if (data != nullptr) ::munmap(data, std::max<size_t>(bytes, 1));
}

}  // namespace inkstone
