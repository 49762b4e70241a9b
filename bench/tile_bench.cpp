// The kernels of the matrix unit one by one, on one thread, with everything in L2 where a panel lives: what a whole
// product is made of. Nothing where there is no matrix unit.
#include <benchmark/benchmark.h>

#include <cstring>
#include <random>
#include <vector>

#include "cpu/dispatch.h"
#include "tensor/buffer.h"

namespace inkstone {
namespace {

constexpr int kRows = 256;
constexpr int64_t kColumns = 4096;

// Random codes and small scales, each row where a file would have it.
struct Weights {
  explicit Weights(int bits) : memory(Buffer::host(kRows * kColumns * 2 + (1 << 20))) {
    std::mt19937 rng(1);
    for (size_t i = 0; i < memory.size(); i += 4) {
      const uint32_t word = rng() & 0x3fff3fff;
      std::memcpy(memory.data() + i, &word, 4);
    }
    const auto* bytes = reinterpret_cast<const unsigned char*>(memory.data()) + 1;
    w.out = kRows;
    w.in = kColumns;
    w.weight = bytes + (1 << 20);
    w.format = bits == 16 ? WeightFormat::bf16 : WeightFormat::affine;
    w.row_bytes = kColumns * bits / 8;
    if (bits == 16) return;
    w.bits = bits;
    w.group = 64;
    w.groups = kColumns / 64;
    w.scales = bytes;
    w.biases = bytes + (1 << 19);
    w.scale_format = ScaleFormat::bf16;
  }
  Buffer memory;
  Matrix w{};
};

uint16_t* elements(const Buffer& buffer) { return reinterpret_cast<uint16_t*>(buffer.data()); }
float* floats(const Buffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }

void count(benchmark::State& state, double operations) {
  state.counters["GOP/s"] =
      benchmark::Counter(1e-9 * operations * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void dequantize(benchmark::State& state, const TileKernels& tiles) {
  const Weights weights(static_cast<int>(state.range(0)));
  const int64_t steps = state.range(1) / kStep;
  const Buffer panel = Buffer::host(static_cast<size_t>(kRows * kColumns * 2));
  int64_t begin = 0;
  for (auto _ : state) {
    tiles.dequantize({.w = &weights.w,
                      .row = 0,
                      .rows = kRows,
                      .begin = begin,
                      .end = begin + steps * kStep,
                      .out = elements(panel)});
    begin = (begin + steps * kStep) % kColumns;
  }
  count(state, static_cast<double>(kRows * steps * kStep));
}

void multiply(benchmark::State& state, const TileKernels& tiles) {
  const int64_t steps = state.range(0) / kStep;
  const int tokens = static_cast<int>(state.range(1));
  const int64_t stride = kColumns / kStep * kSliverStep;
  const Buffer panel = Buffer::host(static_cast<size_t>(kRows * steps * kStep * 2));
  const Buffer x = Buffer::host(static_cast<size_t>((tokens + 31) / 32 * stride * 2));
  const Buffer sums = Buffer::host(static_cast<size_t>(kRows * (tokens + 31) / 32 * 32 * 4));
  int64_t begin = 0;
  for (auto _ : state) {
    tiles.multiply({.panel = elements(panel),
                    .row_tiles = kRows / kTileEdge,
                    .steps = steps,
                    .x = elements(x) + begin * kSliverStep,
                    .sliver_stride = stride,
                    .tokens = tokens,
                    .sums = floats(sums),
                    .accumulate = true,
                    .next = {}});
    begin = (begin + steps) % (kColumns / kStep);
  }
  count(state, 2.0 * static_cast<double>(kRows * steps * kStep * tokens));
}

void store(benchmark::State& state, const TileKernels& tiles) {
  constexpr int kTokens = 512;
  const Buffer sums = Buffer::host(kRows * kTokens * 4), y = Buffer::host(kTokens * kColumns * 4);
  int64_t at = 0;
  for (auto _ : state) {
    tiles.store({.sums = floats(sums),
                 .rows = kRows,
                 .tokens = kTokens,
                 .y = floats(y) + at,
                 .y_stride = kColumns,
                 .add = state.range(0) != 0});
    at = (at + kRows) % kColumns;
  }
  count(state, kRows * kTokens);
}

void gate(benchmark::State& state, const TileKernels& tiles) {
  constexpr int kTokens = 512;
  const Weights down(4);
  const int64_t stride = kColumns / kStep * kSliverStep;
  const Buffer sums = Buffer::host(kRows * kTokens * 4),
               out = Buffer::host(static_cast<size_t>(kTokens / 32 * stride * 2));
  int64_t at = 0;
  for (auto _ : state) {
    tiles.gate({.sums = floats(sums),
                .rows = kRows / 2,
                .tokens = kTokens,
                .down = &down.w,
                .first = at,
                .out = elements(out),
                .sliver_stride = stride});
    at = (at + kRows / 2) % kColumns;
  }
  count(state, kRows / 2 * kTokens);
}

void pack(benchmark::State& state, const TileKernels& tiles) {
  const Weights weights(4);
  std::vector<float> x(kSliverTokens * kColumns, 0.5f);
  const float* rows[kSliverTokens];
  for (int i = 0; i < kSliverTokens; ++i) rows[i] = x.data() + i * kColumns;
  const Buffer out = Buffer::host(static_cast<size_t>(kColumns / kStep * kSliverStep * 2));
  for (auto _ : state)
    tiles.pack({.w = &weights.w, .x = rows, .rows = kSliverTokens, .begin = 0, .end = kColumns, .out = elements(out)});
  count(state, kSliverTokens * kColumns);
}

void stream(benchmark::State& state, const TileKernels& tiles) {
  const Weights weights(static_cast<int>(state.range(0)));
  const int tokens = static_cast<int>(state.range(1));
  const Buffer x = Buffer::host(static_cast<size_t>(kColumns / kStep * kSliverStep * 2));
  std::vector<float> y(static_cast<size_t>(tokens * kRows)), scratch(32 * (kColumns / 64 + 16));
  for (auto _ : state)
    tiles.stream({.w = &weights.w,
                  .begin = 0,
                  .end = kRows,
                  .next = 0,
                  .x = elements(x),
                  .tokens = tokens,
                  .y = y.data(),
                  .y_stride = kRows,
                  .add = false,
                  .scratch = scratch.data()});
  count(state, static_cast<double>(kRows * kColumns));
}

}  // namespace
}  // namespace inkstone

int main(int argc, char** argv) {
  using namespace inkstone;
  using benchmark::RegisterBenchmark;
  const Kernels& kernels = *supported_kernels().back();
  benchmark::Initialize(&argc, argv);
  if (kernels.tiles == nullptr) return 0;
  const TileKernels& tiles = *kernels.tiles;
  for (const int bits : {4, 6, 8, 16})
    RegisterBenchmark("dequantize/bits/chunk", [&](benchmark::State& s) { dequantize(s, tiles); })
        ->Args({bits, 256})
        ->Args({bits, 1024});
  for (const int chunk : {256, 512, 1024})
    RegisterBenchmark("multiply/chunk/tokens", [&](benchmark::State& s) { multiply(s, tiles); })
        ->Args({chunk, 64})
        ->Args({chunk, 512});
  RegisterBenchmark("store/add", [&](benchmark::State& s) { store(s, tiles); })->Args({0})->Args({1});
  RegisterBenchmark("gate", [&](benchmark::State& s) { gate(s, tiles); });
  RegisterBenchmark("pack", [&](benchmark::State& s) { pack(s, tiles); });
  for (const int bits : {4, 8})
    RegisterBenchmark("stream/bits/tokens", [&](benchmark::State& s) { stream(s, tiles); })
        ->Args({bits, 8})
        ->Args({bits, 32});
  benchmark::RunSpecifiedBenchmarks();
}
