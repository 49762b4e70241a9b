#include "base/system.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>

#include "base/cgroup.h"
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

// The value of the first line of /proc/cpuinfo that begins with `key`.
std::string cpuinfo(std::string_view key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with(key) && colon != std::string::npos) return line.substr(colon + 2);
  }
  return {};
}

}  // namespace

int available_cpus() {
  int count = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) count = std::max(1, CPU_COUNT(&set));
  const double quota = cgroup_limits().cpus;
  return quota < count ? std::max(1, static_cast<int>(std::ceil(quota))) : count;
}

MemoryInfo memory_info() {
  const CgroupLimits limits = cgroup_limits();
  return {std::min(limits.memory, number_in("/proc/meminfo", "MemTotal:") * 1024),
          std::min(limits.memory_available, number_in("/proc/meminfo", "MemAvailable:") * 1024)};
}

ResidentMemory resident_memory() {
  return {number_in("/proc/self/status", "RssAnon:") * 1024, number_in("/proc/self/status", "VmRSS:") * 1024};
}

uint64_t peak_resident_bytes() { return number_in("/proc/self/status", "VmHWM:") * 1024; }

std::string cpu_model_name() {
  const std::string name = cpuinfo("model name");
  if (!name.empty()) return name;
  const std::string part = cpuinfo("CPU part");  // all that Arm's kernels say
  return part.empty() ? "unknown" : fmt::format("CPU implementer {}, part {}", cpuinfo("CPU implementer"), part);
}

std::string cpu_features() {
  std::istringstream flags(cpuinfo("flags") + " " + cpuinfo("Features"));  // x86, Arm
  std::string features;
  for (std::string flag; flags >> flag;)
    for (const char* family : {"avx", "amx", "fma", "f16c", "asimd", "sve", "bf16", "i8mm"})
      if (flag.starts_with(family)) {
        features += (features.empty() ? "" : " ") + flag;
        break;
      }
  return features;
}

bool request_amx() {
#if defined(__linux__) && defined(__x86_64__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool allowed = ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return allowed;
#else
  return false;
#endif
}

uint64_t cache_bytes(int level) {
  for (int index = 0; index < 8; ++index) {
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", index);
    std::string type, size;
    int found = 0;
    if (std::ifstream(folder + "type") >> type && std::ifstream(folder + "level") >> found && found == level &&
        type != "Instruction" && std::ifstream(folder + "size") >> size)
      return std::strtoull(size.c_str(), nullptr, 10) * 1024;  // "48K"
  }
  return 0;
}

std::byte* reserve_memory(size_t bytes) {
  void* address = ::mmap(nullptr, std::max<size_t>(bytes, 1), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) fail(Errc::out_of_memory, "cannot reserve {} bytes: {}", bytes, std::strerror(errno));
  return static_cast<std::byte*>(address);
}

void prefer_huge_pages(std::byte* data, size_t bytes) {
  ::madvise(data, bytes, MADV_HUGEPAGE);  // a wish: without it the same bytes lie in small pages
}

void release_memory(std::byte* data, size_t bytes) {
  if (data != nullptr) ::munmap(data, std::max<size_t>(bytes, 1));
}

}  // namespace inkstone
