#include "cpu/dispatch.h"

#include <array>
#include <cstdlib>

#include "base/error.h"
#include "base/system.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace inkstone {
namespace {

#if defined(__x86_64__)
// The build of tests: those kernels are plain code there, which runs wherever AVX2 does (tests/emulation).
constexpr bool kEmulated = INKSTONE_EMULATE_ISA;

struct Features {
  bool avx2 = false;    // with FMA and F16C
  bool avx512 = false;  // F, BW, DQ, VL, VNNI
  bool amx = false;     // tiles with bf16, and AVX-512's own bf16 conversions
};

// Register state that the system saves at a context switch; without it the instructions fault.
uint64_t enabled_state() {
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

Features detect() {
  constexpr uint64_t kYmmState = 0x6, kZmmState = 0xe6, kTileState = 0x60000;
  constexpr uint32_t kFma = 1u << 12, kOsxsave = 1u << 27, kAvx = 1u << 28, kF16c = 1u << 29;
  constexpr uint32_t kAvx2 = 1u << 5, kAvx512f = 1u << 16, kAvx512dq = 1u << 17, kAvx512bw = 1u << 30,
                     kAvx512vl = 1u << 31, kAvx512vnni = 1u << 11;
  constexpr uint32_t kAmxBf16 = 1u << 22, kAmxTile = 1u << 24, kAvx512Bf16 = 1u << 5;
  Features features;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0) return features;
  constexpr uint32_t kBase = kFma | kOsxsave | kAvx | kF16c;
  if ((c & kBase) != kBase) return features;
  const uint64_t state = enabled_state();
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return features;
  const bool amx = (d & kAmxTile) != 0 && (d & kAmxBf16) != 0;
  features.avx2 = (state & kYmmState) == kYmmState && (b & kAvx2) != 0;
  constexpr uint32_t kAvx512 = kAvx512f | kAvx512dq | kAvx512bw | kAvx512vl;
  const bool avx512 = (state & kZmmState) == kZmmState && (b & kAvx512) == kAvx512 && (c & kAvx512vnni) != 0;
  features.avx512 = features.avx2 && (avx512 || kEmulated);
  const bool bf16 = __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvx512Bf16) != 0;
  const bool tiles = bf16 && amx && (state & kTileState) == kTileState && request_amx();
  features.amx = features.avx512 && (tiles || kEmulated);
  return features;
}
#endif

// A table with a matrix unit beside.
[[maybe_unused]] Kernels with_tiles(const Kernels& table, const char* name, const TileKernels& tiles) {
  Kernels both = table;
  both.name = name;
  both.tiles = &tiles;
  return both;
}

struct Supported {
  std::array<const Kernels*, 4> tables{};
  size_t count = 0;

  Supported() {
    tables[count++] = &kScalarKernels;
#if defined(__x86_64__)
    [[maybe_unused]] const Features features = detect();
#if defined(INKSTONE_HAVE_AVX2)
    if (features.avx2) tables[count++] = &kAvx2Kernels;
#endif
#if defined(INKSTONE_HAVE_AVX512)
    if (features.avx512) tables[count++] = &kAvx512Kernels;
#endif
#if defined(INKSTONE_HAVE_AMX)
    static const Kernels amx = with_tiles(kAvx512Kernels, "amx", kAmxTiles);
    if (features.amx) tables[count++] = &amx;
#endif
#elif defined(__aarch64__)
#if defined(INKSTONE_HAVE_NEON)
    tables[count++] = &kNeonKernels;  // part of the architecture
#endif
#if defined(INKSTONE_HAVE_NEON_BF16)
    constexpr unsigned long kHwcap2Bf16 = 1ul << 14;
    static const Kernels neon_bf16 = with_tiles(kNeonKernels, "neon_bf16", kNeonBf16Tiles);
    if ((getauxval(AT_HWCAP2) & kHwcap2Bf16) != 0) tables[count++] = &neon_bf16;
#endif
#endif
  }
};

}  // namespace

std::span<const Kernels* const> supported_kernels() {
  static const Supported supported;
  return {supported.tables.data(), supported.count};
}

const Kernels& select_kernels(const std::string& isa) {
  const std::span<const Kernels* const> tables = supported_kernels();
  std::string name = isa;
  if (name.empty()) {
    const char* forced = std::getenv("INKSTONE_ISA");
    if (forced == nullptr || *forced == '\0') return *tables.back();
    name = forced;
  }
  std::string available;
  for (const Kernels* table : tables) {
    if (name == table->name) return *table;
    available += (available.empty() ? "" : ", ") + std::string(table->name);
  }
  fail(Errc::usage, "instruction set: found \"{}\", expected one that this machine supports: {}", name, available);
}

}  // namespace inkstone
