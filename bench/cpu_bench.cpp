// CPU kernels through the device's verbs: decoding (GB/s), a few rows, prompts (GFLOP/s), attention; the machine's
// ceilings first. INKSTONE_ISA and INKSTONE_BENCH_THREADS choose;
// INKSTONE_BENCH_HOT uses one matrix over and over, to see what a kernel costs apart from memory.
#include <benchmark/benchmark.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "base/system.h"
#include "base/thread_pool.h"
#include "cpu/cpu_device.h"

namespace inkstone {
namespace {

constexpr int64_t kPoolBytes = int64_t{1} << 30;  // of weights, more than stays in a cache between two uses

int bench_threads() {
  const char* text = std::getenv("INKSTONE_BENCH_THREADS");
  return text != nullptr ? std::max(1, std::atoi(text)) : available_cpus();
}

std::unique_ptr<Device> bench_device() { return open_cpu_device({Precision::fast, bench_threads(), ""}); }

const Buffer& random_pool() {
  static const Buffer pool = [] {
    Buffer buffer = Buffer::host(kPoolBytes + 4096);
    std::mt19937_64 rng(1);
    for (int64_t i = 0; i < kPoolBytes; i += 8) {
      const uint64_t word = rng();
      std::memcpy(buffer.data() + i, &word, 8);
    }
    return buffer;
  }();
  return pool;
}

Tensor tensor(std::vector<float>& values, int64_t rows, int64_t columns) {
  return {reinterpret_cast<std::byte*>(values.data()), DType::f32, Shape{rows, columns}};
}

// What the figures below stand beside, measured once.
void ceilings(benchmark::State& state) {
  Ceilings found;
  for (auto _ : state) found = bench_device()->measure_ceilings();
  state.counters["read GB/s"] = found.read_gbps;
  for (const UnitPeak& unit : found.units) state.counters[unit.name + " Tera/s"] = unit.tera;
}

struct Format {
  const char* name;
  QuantMode mode;
  int bits, group;
};
constexpr Format kFormats[] = {
    {"4b g64", QuantMode::affine, 4, 64}, {"4b g128", QuantMode::affine, 4, 128}, {"4b g32", QuantMode::affine, 4, 32},
    {"2b g64", QuantMode::affine, 2, 64}, {"3b g64", QuantMode::affine, 3, 64},   {"5b g64", QuantMode::affine, 5, 64},
    {"6b g64", QuantMode::affine, 6, 64}, {"8b g64", QuantMode::affine, 8, 64},   {"mxfp4", QuantMode::mxfp4, 4, 32},
    {"mxfp8", QuantMode::mxfp8, 8, 32},   {"nvfp4", QuantMode::nvfp4, 4, 16},     {"bf16", QuantMode::none, 16, 0}};

// As many different matrices of one shape as the pool holds, at odd addresses. The bytes are random; scales lie in a
// buffer of their own with sane values.
struct Weights {
  Weights(const Format& format, int64_t out, int64_t in) {
    const int64_t groups = format.group > 0 ? out * in / format.group : 0;
    scales.assign(static_cast<size_t>(groups), 0x3c23);  // 0.00995 in bf16
    const int64_t bytes = out * in * format.bits / 8;
    const Buffer& pool = random_pool();
    const int64_t keep = std::getenv("INKSTONE_BENCH_HOT") != nullptr ? bytes : kPoolBytes;
    for (int64_t at = 0; at + bytes <= keep; at += bytes + 63) {
      Linear& linear = linears.emplace_back();
      WeightView& view = linear.weight;
      view.out = out;
      view.in = in;
      view.quantization = {format.mode, format.group > 0 ? format.bits : 0, format.group};
      const int64_t columns = groups > 0 ? in * format.bits / 32 : in;
      view.weight = {pool.data() + at + 1, groups > 0 ? DType::u32 : DType::bf16, {out, columns}};
      const std::byte* scale = reinterpret_cast<const std::byte*>(scales.data());
      const DType dtype = format.mode == QuantMode::affine ? DType::bf16 : DType::u8;
      if (groups > 0) view.scales = {scale, dtype, {out, in / format.group}};
      if (format.mode == QuantMode::affine) view.biases = {scale, dtype, {out, in / format.group}};
    }
    bytes_each = static_cast<int64_t>(linears.front().weight.bytes());
  }
  std::vector<uint16_t> scales;
  std::vector<Linear> linears;
  int64_t bytes_each;
};

void linear(benchmark::State& state, Format format) {
  const int rows = static_cast<int>(state.range(0));
  const int64_t out = state.range(1), in = state.range(2);
  const auto device = bench_device();
  const Weights weights(format, out, in);
  std::vector<float> x(static_cast<size_t>(rows * in), 0.5f), y(static_cast<size_t>(rows * out));
  const Tensor ys[] = {tensor(y, rows, out)};
  const Linear* const first[] = {&weights.linears[0]};
  device->linear(tensor(x, rows, in), first, ys);  // scratch memory is there before the clock runs
  size_t next = 1 % weights.linears.size();
  for (auto _ : state) {
    const Linear* const group[] = {&weights.linears[next]};
    device->linear(tensor(x, rows, in), group, ys);
    next = (next + 1) % weights.linears.size();
  }
  state.SetBytesProcessed(state.iterations() * weights.bytes_each);
  state.counters["GFLOP/s"] =
      benchmark::Counter(2e-9 * static_cast<double>(state.iterations() * rows * out * in), benchmark::Counter::kIsRate);
  state.SetLabel(device->description());
}

// One step of decoding `range(0)` conversations of `range(1)` tokens; several layers' caches, so that they come from
// memory.
void attend(benchmark::State& state) {
  const int spans = static_cast<int>(state.range(0)), length = static_cast<int>(state.range(1));
  const int rows = static_cast<int>(state.range(2)), heads = static_cast<int>(state.range(3));
  const int kv_bits = static_cast<int>(state.range(4));
  constexpr int kKvHeads = 8, kD = 128;
  const auto device = open_cpu_device({Precision::fast, bench_threads(), "", kv_bits});
  const int blocks = (length + kKvBlockTokens - 1) / kKvBlockTokens;
  const KvFormat format = device->kv_format();
  const int64_t bytes = int64_t{2} * spans * blocks * kKvHeads * kKvBlockTokens * format.row_bytes(kD);
  const int layers = static_cast<int>(std::clamp<int64_t>(kPoolBytes / 2 / bytes, 1, 64));
  std::vector<Buffer> memory;
  std::vector<KvLayer> kv;
  for (int i = 0; i < layers; ++i) {
    memory.push_back(device->allocate(static_cast<size_t>(bytes / 2)));
    memory.push_back(device->allocate(static_cast<size_t>(bytes / 2)));
    std::memset(memory[memory.size() - 2].data(), 0x3c, static_cast<size_t>(bytes / 2));
    std::memset(memory.back().data(), 0x3c, static_cast<size_t>(bytes / 2));
    kv.push_back({memory[memory.size() - 2].data(), memory.back().data(), format, spans * blocks, kKvHeads, kD});
  }
  Batch batch;
  batch.tokens.resize(static_cast<size_t>(spans * rows));
  batch.blocks.resize(static_cast<size_t>(spans * blocks));
  std::iota(batch.blocks.begin(), batch.blocks.end(), 0);
  for (int s = 0; s < spans; ++s) batch.spans.push_back({s * rows, rows, length, s * blocks});
  std::vector<float> q(batch.tokens.size() * static_cast<size_t>(heads * kD), 0.1f), out(q.size());
  device->attend(tensor(q, batch.size(), heads * kD), kv[0], batch, 0.088f, tensor(out, batch.size(), heads * kD));
  size_t layer = 0;
  for (auto _ : state) {
    device->attend(tensor(q, batch.size(), heads * kD), kv[layer], batch, 0.088f,
                   tensor(out, batch.size(), heads * kD));
    layer = (layer + 1) % kv.size();
  }
  const double pairs = static_cast<double>(spans) * rows * (length - (rows - 1) / 2.0);
  state.SetBytesProcessed(state.iterations() * bytes);
  state.counters["GFLOP/s"] = benchmark::Counter(4e-9 * pairs * heads * kD * static_cast<double>(state.iterations()),
                                                 benchmark::Counter::kIsRate);
  state.SetLabel(device->description());
}

// What a run costs that has nothing to do: threads awake, or after a pause long enough for them to sleep.
void pool_run(benchmark::State& state) {
  ThreadPool threads(static_cast<int>(state.range(0)));
  const std::chrono::microseconds pause(state.range(1));
  for (auto _ : state) {
    if (pause.count() > 0) {
      state.PauseTiming();
      std::this_thread::sleep_for(pause);
      state.ResumeTiming();
    }
    threads.run([](int) {});
  }
}

// A chain of runs as a forward pass has them, `range(0)` threads sharing `range(1)` microseconds of work by tasks:
// runs a second beside what the same work takes alone on one thread. With `range(2)` every processor also has a busy
// thread of somebody else's.
void pool_chain(benchmark::State& state) {
  ThreadPool threads(static_cast<int>(state.range(0)));
  constexpr int kTasks = 16;
  const int64_t rounds = state.range(1) * 1000 / kTasks;  // about a nanosecond each
  std::atomic<bool> over{false};
  std::vector<std::thread> rivals;
  for (int i = 0; i < state.range(2) * available_cpus(); ++i)
    rivals.emplace_back([&] {
      while (!over.load(std::memory_order_relaxed)) benchmark::DoNotOptimize(over);
    });
  for (auto _ : state) {
    std::atomic<int> next{0};
    threads.run([&](int) {
      while (next.fetch_add(1, std::memory_order_relaxed) < kTasks)
        for (int64_t i = 0; i < rounds; ++i) benchmark::DoNotOptimize(i);
    });
  }
  over = true;
  for (std::thread& rival : rivals) rival.join();
}

}  // namespace
}  // namespace inkstone

int main(int argc, char** argv) {
  using namespace inkstone;
  using benchmark::RegisterBenchmark;
  RegisterBenchmark("ceilings", ceilings)->Iterations(1)->UseRealTime()->Unit(benchmark::kMillisecond);
  RegisterBenchmark("pool/run", pool_run)
      ->ArgNames({"threads", "pause_us"})
      ->ArgsProduct({{1, 2, 8}, {0}})
      ->Args({2, 2000})
      ->UseRealTime();
  RegisterBenchmark("pool/chain", pool_chain)
      ->ArgNames({"threads", "work_us", "rivals"})
      ->ArgsProduct({{1, 2, 8}, {20, 200, 2000}, {0, 1}})
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
  for (const Format& format : kFormats) {
    const std::string name = format.name;
    RegisterBenchmark(("decode/" + name).c_str(), linear, format)
        ->Args({1, 4096, 4096})
        ->Args({1, 6144, 1024})
        ->Args({1, 1024, 2048})
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
    RegisterBenchmark(("prompt/" + name).c_str(), linear, format)
        ->Args({512, 4096, 4096})
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  }
  for (const int rows : {1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 512})
    RegisterBenchmark("rows/4b g64", linear, kFormats[0])
        ->Args({rows, 4096, 4096})
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  RegisterBenchmark("prompt0.6B/4b g64", linear, kFormats[0])
      ->Args({512, 6144, 1024})
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond);
  RegisterBenchmark("attend", attend)
      ->ArgNames({"spans", "length", "rows", "heads", "kv_bits"})
      ->Args({1, 2048, 1, 16, 0})
      ->Args({1, 8192, 1, 16, 0})
      ->Args({1, 8192, 1, 32, 0})
      ->Args({1, 8192, 1, 64, 0})
      ->Args({8, 1024, 1, 16, 0})
      ->Args({1, 8192, 1, 16, 8})
      ->Args({1, 8192, 1, 32, 8})
      ->Args({1, 8192, 1, 16, 4})
      ->Args({1, 8192, 1, 32, 4})
      ->Args({1, 512, 512, 16, 0})
      ->Args({1, 2048, 512, 16, 0})
      ->Args({1, 2048, 2048, 16, 0})
      ->Args({1, 2048, 2048, 32, 0})
      ->Args({1, 2048, 2048, 32, 8})
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
