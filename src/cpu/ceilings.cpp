#include "cpu/ceilings.h"

#include <chrono>
#include <cstring>
#include <sstream>
#include <string_view>

#include "base/system.h"
#include "cpu/dispatch.h"

namespace inkstone {
namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kTaskBytes = int64_t{1} << 21;  // handed out as the kernels hand out rows
constexpr int64_t kLeastBytes = int64_t{1} << 29, kMostBytes = int64_t{1} << 31;

template <class F>
double seconds_of(F&& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// One way to read: streams side by side within a task, each with a prefetch so many bytes ahead (0: the hardware's
// own).
struct ReadPlan {
  int streams;
  int64_t ahead;
};
constexpr ReadPlan kReadPlans[] = {{1, 0},    {1, 1024}, {1, 2048}, {1, 4096}, {1, 8192},
                                   {2, 2048}, {2, 4096}, {4, 0},    {4, 1024}, {4, 2048}};

typedef uint64_t Line __attribute__((vector_size(kLine)));  // as many registers as the machine needs for it

template <int kStreams>
uint64_t read_streams(const std::byte* data, int64_t ahead) {
  constexpr int64_t kBytes = kTaskBytes / kStreams;
  Line sums[kStreams] = {};
  for (int64_t at = 0; at < kBytes; at += kLine) {
#pragma GCC unroll 4
    for (int s = 0; s < kStreams; ++s) {
      const std::byte* line = data + s * kBytes + at;
      if (ahead != 0) __builtin_prefetch(line + ahead);
      Line value;
      std::memcpy(&value, line, sizeof value);
      sums[s] ^= value;
    }
  }
  uint64_t sum = 0;
  for (const Line& line : sums) sum ^= line[0] ^ line[1] ^ line[2] ^ line[3] ^ line[4] ^ line[5] ^ line[6] ^ line[7];
  return sum;
}

// Bytes a second of `tasks` tasks from `data` on.
double read_rate(Context& context, const std::byte* data, int64_t tasks, const ReadPlan& plan) {
  const double seconds = seconds_of([&] {
    context.for_each_task(tasks, true, [&](int, int64_t task) {
      const std::byte* begin = data + task * kTaskBytes;
      [[maybe_unused]] volatile uint64_t used = plan.streams == 1   ? read_streams<1>(begin, plan.ahead)
                                                : plan.streams == 2 ? read_streams<2>(begin, plan.ahead)
                                                                    : read_streams<4>(begin, plan.ahead);
    });
  });
  return static_cast<double>(tasks * kTaskBytes) / seconds;
}

// Far more than the caches hold, but never more than a quarter of the memory that is free.
int64_t read_bytes() {
  const int64_t wanted = std::clamp<int64_t>(4 * static_cast<int64_t>(cache_bytes(3)), kLeastBytes, kMostBytes);
  const int64_t bytes = std::min(wanted, static_cast<int64_t>(memory_info().available / 4));
  return std::max(bytes / kTaskBytes * kTaskBytes, kTaskBytes);
}

// The best of several runs, each long enough that waking the threads costs nothing.
double measure_unit(ThreadPool& pool, const Peak& peak) {
  constexpr int kRuns = 8;
  constexpr double kLeastSeconds = 0.005;
  int64_t rounds = 1 << 10;
  const auto run = [&] { return seconds_of([&] { pool.run([&](int) { peak.run(rounds); }); }); };
  while (run() < kLeastSeconds) rounds *= 2;
  double best = run();
  for (int i = 1; i < kRuns; ++i) best = std::min(best, run());
  return peak.operations * static_cast<double>(rounds) * pool.size() / best * 1e-12;
}

bool has_feature(std::string_view feature) {
  std::istringstream all(cpu_features());
  for (std::string name; all >> name;)
    if (name == feature) return true;
  return false;
}

// Of a table in the order of supported_kernels(); -1 if this machine has none of that name.
int order_of(std::string_view isa) {
  const auto tables = supported_kernels();
  for (size_t i = 0; i < tables.size(); ++i)
    if (isa == tables[i]->name) return static_cast<int>(i);
  return -1;
}

// Whether the machine can run the unit at all, with our kernels or without.
bool is_there(const Peak& peak) {
  const std::string_view feature = peak.feature;
  if (feature.empty()) return order_of(peak.isa) >= 0;
  return has_feature(feature) && (!feature.starts_with("amx") || request_amx());
}

}  // namespace

double measure_read_gbps(Context& context) {
  constexpr int kPasses = 3, kSlices = 4;
  const int64_t tasks = read_bytes() / kTaskBytes;
  const Buffer memory = Buffer::host(static_cast<size_t>(tasks * kTaskBytes));
  prefer_huge_pages(memory.data(), memory.size());
  context.for_each_task(tasks, true, [&](int, int64_t task) {
    std::memset(memory.data() + task * kTaskBytes, 0x5a, kTaskBytes);  // pages never written are all the same page
  });
  // Each way on a part of the memory, another for each, so that no cache has it; then the best on all of it.
  const ReadPlan* best_plan = &kReadPlans[0];
  double best = 0;
  int64_t slice = 0;
  for (const ReadPlan& plan : kReadPlans) {
    const int64_t begin = slice * tasks / kSlices, end = (slice + 1) * tasks / kSlices;
    slice = (slice + 1) % kSlices;
    const double rate = read_rate(context, memory.data() + begin * kTaskBytes, end - begin, plan);
    if (rate > best) best_plan = &plan;
    best = std::max(best, rate);
  }
  for (int pass = 0; pass < kPasses; ++pass)
    best = std::max(best, read_rate(context, memory.data(), tasks, *best_plan));
  return best * 1e-9;
}

std::vector<UnitPeak> measure_units(ThreadPool& pool, const Kernels& kernels, Precision precision) {
  std::vector<UnitPeak> units;
  const int chosen = order_of(kernels.name);
  for (int i = 0; i < kPeaks.count; ++i) {
    const Peak& peak = kPeaks.peaks[i];
    const int order = order_of(peak.isa);
    const bool of_chosen = order >= 0 && order <= chosen;
    if (!is_there(peak) || (peak.feature[0] == '\0' && !of_chosen)) continue;
    const std::string_view name = peak.name;
    // Precision::fast allows floats of 16 bits, and integers of 16 bits for few rows; 8 bits it does not.
    const bool fast = of_chosen && precision == Precision::fast;
    const bool floats = (of_chosen && name == "f32") || (fast && name.ends_with("_bf16"));
    const UnitPeak unit{peak.name, measure_unit(pool, peak), floats, floats || (fast && name.ends_with("_int16"))};
    std::erase_if(units, [&](const UnitPeak& narrower) { return narrower.name == unit.name; });
    units.push_back(unit);
  }
  return units;
}

Ceilings measure_ceilings(Context& context, Precision precision) {
  return {context.kernels.name, context.pool.size(), measure_read_gbps(context),
          measure_units(context.pool, context.kernels, precision)};
}

}  // namespace inkstone
