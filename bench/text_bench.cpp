// Text to ids and back (MB/s of text, one thread) and the time a tokenizer takes to load. A fresh tokenizer knows no
// word yet: that is what a first prompt meets. INKSTONE_BENCH_TOKENIZER names the folder of a tokenizer.json.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdlib>

#include "base/mapped_file.h"
#include "bench/sample_text.h"
#include "text/tokenizer.h"

namespace inkstone {
namespace {

constexpr size_t kBytes = size_t{1} << 20;

const MappedFile& tokenizer_file() {
  static const MappedFile file = [] {
    const char* folder = std::getenv("INKSTONE_BENCH_TOKENIZER");
    if (folder == nullptr) {
      std::fprintf(stderr, "INKSTONE_BENCH_TOKENIZER: not set; expected a folder with tokenizer.json\n");
      std::exit(2);
    }
    return MappedFile(std::filesystem::path(folder) / "tokenizer.json");
  }();
  return file;
}

Tokenizer fresh_tokenizer() { return Tokenizer::parse(tokenizer_file().text(), "tokenizer.json"); }

const Tokenizer& shared_tokenizer() {
  static const Tokenizer tokenizer = fresh_tokenizer();
  return tokenizer;
}

std::string text_of(int64_t kind) {
  return kind < kTextKinds ? sample_text(static_cast<TextKind>(kind), kBytes, 1) : mixed_text(kBytes, 1);
}

void count(benchmark::State& state, const std::string& text, size_t tokens) {
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
  state.counters["bytes/token"] = static_cast<double>(text.size()) / static_cast<double>(tokens);
}

void label(benchmark::State& state, int64_t kind) {
  state.SetLabel(kind < kTextKinds ? name_of(static_cast<TextKind>(kind)) : "mixed");
}

void encode_first(benchmark::State& state) {
  const std::string text = text_of(state.range(0));
  size_t tokens = 0;
  for (auto _ : state) {
    const Tokenizer tokenizer = fresh_tokenizer();
    const auto begin = std::chrono::steady_clock::now();
    tokens = tokenizer.encode(text).size();
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  count(state, text, tokens);
  label(state, state.range(0));
}

void encode_again(benchmark::State& state) {
  const std::string text = text_of(state.range(0));
  size_t tokens = shared_tokenizer().encode(text).size();
  for (auto _ : state) benchmark::DoNotOptimize(tokens = shared_tokenizer().encode(text).size());
  count(state, text, tokens);
  label(state, state.range(0));
}

void decode(benchmark::State& state) {
  const std::string text = text_of(kTextKinds);
  const std::vector<int32_t> ids = shared_tokenizer().encode(text);
  for (auto _ : state) benchmark::DoNotOptimize(shared_tokenizer().decode(ids));
  count(state, text, ids.size());
}

void load(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(fresh_tokenizer());
}

BENCHMARK(load)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_first)->DenseRange(0, kTextKinds)->UseManualTime()->Iterations(5)->Unit(benchmark::kMillisecond);
BENCHMARK(encode_again)->DenseRange(0, kTextKinds)->MinTime(0.1)->Unit(benchmark::kMillisecond);
BENCHMARK(decode)->MinTime(0.1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace inkstone

BENCHMARK_MAIN();
