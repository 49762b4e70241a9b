// What the machine under this process offers. The only room that asks which system it is on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace inkstone {

// Processors this process may use: affinity and cgroup quota honoured (1.5 processors are 2 threads), at least 1.
int available_cpus();

struct MemoryInfo {
  uint64_t total = 0;      // bytes, the smaller of the machine's and the cgroup's limit
  uint64_t available = 0;  // bytes that can be had without swapping; page cache counts as available
};
MemoryInfo memory_info();

// Resident bytes of this process: anonymous memory alone, and everything with mapped files.
struct ResidentMemory {
  uint64_t anonymous = 0;
  uint64_t total = 0;
};
ResidentMemory resident_memory();
// The most that it ever had, with mapped files.
uint64_t peak_resident_bytes();

std::string cpu_model_name();

// The vector and matrix instruction sets that the system reports: "avx2 avx512f amx_bf16 ...".
std::string cpu_features();

// Asks the system to let this process use the tile registers of AMX, once; false where it does not.
bool request_amx();

// Bytes of the data cache at `level` (1 to 3) that one core sees; 0 if the system does not say.
uint64_t cache_bytes(int level);

// Zeroed memory that is committed only when touched; 64-byte aligned at least. Throws Error(out_of_memory).
std::byte* reserve_memory(size_t bytes);
// Asks for pages of 2 MiB where the system offers them on request.
void prefer_huge_pages(std::byte* data, size_t bytes);
void release_memory(std::byte* data, size_t bytes);

}  // namespace inkstone
