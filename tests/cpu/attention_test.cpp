// attend and write_kv against a plain double-precision attention: ragged spans, shuffled blocks, long contexts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/float16.h"
#include "tests/cpu/reference.h"

namespace inkstone::testing {
namespace {

struct Shapes {
  int query_heads, kv_heads, d;
};

struct SpanSpec {
  int rows, kv_length;
};

// What the reference's affine quantisation keeps of a group: the larger end of the range exactly.
void quantize_group(float* x, int group, int bits) {
  const float low = *std::min_element(x, x + group), high = *std::max_element(x, x + group);
  const float bins = static_cast<float>((1 << bits) - 1);
  const bool from_low = std::fabs(low) > std::fabs(high);
  const float edge = from_low ? low : high;
  float scale = std::max((high - low) / bins, 1e-7f) * (from_low ? 1.0f : -1.0f), bias = 0;
  const float steps = std::nearbyint(edge / scale);
  if (steps != 0) {
    scale = edge / steps;
    bias = edge;
  }
  for (int i = 0; i < group; ++i) x[i] = scale * std::clamp(std::nearbyint((x[i] - bias) / scale), 0.0f, bins) + bias;
}

// What a cache of this format keeps of rows of K or V.
void round_like(const KvFormat& format, std::vector<float>& values) {
  if (format.dtype == DType::bf16)
    for (float& value : values) value = bf16_to_f32(f32_to_bf16(value));
  if (format.bits != 0)
    for (size_t i = 0; i < values.size(); i += static_cast<size_t>(format.group_size))
      quantize_group(&values[i], format.group_size, format.bits);
}

// Conversations whose KV is already in a paged cache, and a step over them.
struct Scene {
  Scene(std::mt19937& rng, Device& device, const Shapes& shapes, const std::vector<SpanSpec>& specs) : shapes_(shapes) {
    int total_blocks = 0;
    for (const SpanSpec& spec : specs) total_blocks += (spec.kv_length + kKvBlockTokens - 1) / kKvBlockTokens;
    std::vector<int32_t> free(static_cast<size_t>(total_blocks + 3));
    std::iota(free.begin(), free.end(), 0);
    std::shuffle(free.begin(), free.end(), rng);
    const KvFormat format = device.kv_format();
    const size_t bytes = static_cast<size_t>((total_blocks + 3) * shapes.kv_heads * kKvBlockTokens) *
                         static_cast<size_t>(format.row_bytes(shapes.d));
    k_memory = device.allocate(bytes);
    v_memory = device.allocate(bytes);
    kv = {k_memory.data(), v_memory.data(), format, total_blocks + 3, shapes.kv_heads, shapes.d};
    // What was never written must not be seen: NaN, in scales as well.
    std::fill_n(k_memory.data(), bytes, std::byte{0xff});
    std::fill_n(v_memory.data(), bytes, std::byte{0xff});
    const int width = shapes.kv_heads * shapes.d;
    for (const SpanSpec& spec : specs) {
      batch.spans.push_back({batch.size(), spec.rows, spec.kv_length, static_cast<int>(batch.blocks.size())});
      std::vector<int32_t> slots;
      for (int t = 0; t < spec.kv_length; ++t) {
        if (t % kKvBlockTokens == 0) {
          batch.blocks.push_back(free.back());
          free.pop_back();
        }
        slots.push_back(batch.blocks.back() * kKvBlockTokens + t % kKvBlockTokens);
      }
      ks.push_back(random_floats(rng, static_cast<int64_t>(spec.kv_length) * width));
      vs.push_back(random_floats(rng, static_cast<int64_t>(spec.kv_length) * width));
      write(device, rng, ks.back(), vs.back(), slots);
      round_like(format, ks.back());
      round_like(format, vs.back());
      batch.tokens.resize(batch.tokens.size() + static_cast<size_t>(spec.rows));
    }
    q = random_floats(rng, static_cast<int64_t>(batch.size()) * shapes.query_heads * shapes.d, 2.0f);
  }

  std::vector<float> attend(Device& device, const Batch& step, std::vector<float>& queries) {
    std::vector<float> out(queries.size(), NAN);
    const int64_t width = shapes_.query_heads * shapes_.d;
    device.attend(matrix(queries, step.size(), width), kv, step, scale(), matrix(out, step.size(), width));
    return out;
  }
  // As a prompt in chunks and then tokens one by one write it.
  void write(Device& device, std::mt19937& rng, std::vector<float>& k, std::vector<float>& v,
             const std::vector<int32_t>& slots) const {
    const int width = shapes_.kv_heads * shapes_.d, count = static_cast<int>(slots.size());
    for (int row = 0; row < count;) {
      const int rows = std::min(count - row, rng() % 2 == 0 ? 1 : 1 + static_cast<int>(rng() % 90));
      const auto some = [&](std::vector<float>& from) {
        return Tensor{reinterpret_cast<std::byte*>(from.data() + row * width), DType::f32, Shape{rows, width}};
      };
      device.write_kv(some(k), some(v), std::span(slots).subspan(static_cast<size_t>(row), static_cast<size_t>(rows)),
                      kv);
      row += rows;
    }
  }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shapes_.d)); }

  std::vector<double> expected() const {
    std::vector<double> out(q.size(), 0.0);
    const int d = shapes_.d, group = shapes_.query_heads / shapes_.kv_heads, width = shapes_.kv_heads * d;
    for (size_t s = 0; s < batch.spans.size(); ++s) {
      const Span& span = batch.spans[s];
      for (int r = 0; r < span.rows; ++r) {
        for (int h = 0; h < shapes_.query_heads; ++h) {
          const size_t at = static_cast<size_t>(((span.first_row + r) * shapes_.query_heads + h) * d);
          const int visible = span.kv_length - span.rows + r + 1;
          std::vector<double> p(static_cast<size_t>(visible));
          for (int t = 0; t < visible; ++t)
            for (int i = 0; i < d; ++i)
              p[static_cast<size_t>(t)] +=
                  scale() * q[at + static_cast<size_t>(i)] * ks[s][static_cast<size_t>(t * width + h / group * d + i)];
          const double max = *std::max_element(p.begin(), p.end());
          double sum = 0;
          for (double& value : p) sum += value = std::exp(value - max);
          for (int t = 0; t < visible; ++t)
            for (int i = 0; i < d; ++i)
              out[at + static_cast<size_t>(i)] +=
                  p[static_cast<size_t>(t)] / sum * vs[s][static_cast<size_t>(t * width + h / group * d + i)];
        }
      }
    }
    return out;
  }

  Buffer k_memory, v_memory;
  KvLayer kv;
  Batch batch;
  std::vector<float> q;
  std::vector<std::vector<float>> ks, vs;

 private:
  Shapes shapes_;
};

double worst(const std::vector<float>& out, const std::vector<double>& expected) {
  double error = 0;
  for (size_t i = 0; i < out.size(); ++i)
    error = std::isnan(out[i]) ? INFINITY : std::max(error, std::fabs(out[i] - expected[i]));
  return error;
}

class AttentionIsa : public ::testing::TestWithParam<std::string> {};

// A matrix unit takes its operands in bf16, in Precision::fast; all else is float32.
double tolerance(const std::string& isa, Precision precision) {
  return isa == "amx" && precision == Precision::fast ? 2e-2 : 2e-5;
}

struct Cache {
  Precision precision;
  int bits, group_size;
};

TEST_P(AttentionIsa, RaggedSpansMatchReference) {
  const Shapes all_shapes[] = {{4, 2, 32},  {3, 3, 64}, {2, 1, 96},  {2, 1, 128}, {8, 1, 128}, {5, 1, 40},
                               {2, 1, 256}, {5, 1, 64}, {16, 1, 32}, {4, 1, 80},  {3, 1, 6}};
  const std::vector<SpanSpec> specs = {{1, 1}, {1, 33}, {7, 7}, {5, 64}, {1, 700}, {70, 90}, {33, 33}, {2, 1100}};
  for (const Cache& cache :
       {Cache{Precision::f32, 0, 32}, Cache{Precision::fast, 0, 32}, Cache{Precision::f32, 8, 32},
        Cache{Precision::fast, 8, 64}, Cache{Precision::f32, 4, 64}, Cache{Precision::fast, 4, 32}}) {
    for (const Shapes& shapes : all_shapes) {
      if (cache.bits != 0 && shapes.d % cache.group_size != 0) continue;
      std::mt19937 rng(20);
      const auto device = open_test_device(GetParam(), 2, cache.precision, cache.bits, cache.group_size);
      Scene scene(rng, *device, shapes, specs);
      EXPECT_LE(worst(scene.attend(*device, scene.batch, scene.q), scene.expected()),
                tolerance(GetParam(), cache.precision))
          << shapes.query_heads << "/" << shapes.kv_heads << " x " << shapes.d << ", KV " << cache.bits << " bits";
    }
  }
}

// A conversation's blocks go to another, shorter one: what the first left must not be seen.
TEST_P(AttentionIsa, ReusedBlocksForgetTheirPast) {
  for (const int bits : {0, 8, 4}) {
    std::mt19937 rng(25);
    const auto device = open_test_device(GetParam(), 2, Precision::fast, bits, 32);
    Scene scene(rng, *device, {4, 2, 64}, {{1, 64}, {40, 64}});
    std::vector<float> poison(64 * 2 * 64, NAN);
    for (const Span& span : scene.batch.spans) {
      std::vector<int32_t> slots;
      for (int t = 0; t < 64; ++t)
        slots.push_back(scene.batch.blocks[static_cast<size_t>(span.first_block + t / kKvBlockTokens)] *
                            kKvBlockTokens +
                        t % kKvBlockTokens);
      device->write_kv(matrix(poison, 64, 128), matrix(poison, 64, 128), slots, scene.kv);
      slots.resize(45);
      const size_t s = static_cast<size_t>(&span - scene.batch.spans.data());
      scene.ks[s].resize(45 * 128);
      scene.vs[s].resize(45 * 128);
      scene.write(*device, rng, scene.ks[s], scene.vs[s], slots);
      round_like(scene.kv.format, scene.ks[s]);
      round_like(scene.kv.format, scene.vs[s]);
    }
    for (Span& span : scene.batch.spans) span.kv_length = 45;
    EXPECT_LE(worst(scene.attend(*device, scene.batch, scene.q), scene.expected()),
              tolerance(GetParam(), Precision::fast))
        << bits << " bits";
  }
}

// Values that were quantised elsewhere keep their codes: quantising them again would not.
TEST_P(AttentionIsa, KnownScalesKeepCodes) {
  for (const int bits : {8, 4}) {
    std::mt19937 rng(26);
    const auto device = open_test_device(GetParam(), 1, Precision::f32, bits, 32);
    Scene scene(rng, *device, {2, 1, 64}, {{1, 40}});
    std::uniform_int_distribution<int> code(1, (1 << bits) - 3);  // ranges that are not full
    std::vector<float> scales;
    const auto fill = [&](std::vector<float>& values) {
      for (size_t i = 0; i < values.size(); i += 32) {
        const float scale = 0.01f * static_cast<float>(1 + rng() % 9), bias = -0.1f * static_cast<float>(rng() % 9);
        scales.insert(scales.end(), {scale, bias});
        for (size_t j = 0; j < 32; ++j) values[i + j] = scale * static_cast<float>(code(rng)) + bias;
      }
      return std::exchange(scales, {});
    };
    const std::vector<float> k = fill(scene.ks[0]), v = fill(scene.vs[0]);
    std::vector<int32_t> slots;
    for (int t = 0; t < 40; ++t)
      slots.push_back(scene.batch.blocks[static_cast<size_t>(t / kKvBlockTokens)] * kKvBlockTokens +
                      t % kKvBlockTokens);
    device->write_kv(matrix(scene.ks[0], 40, 64), matrix(scene.vs[0], 40, 64), slots, scene.kv, {k, v});
    EXPECT_LE(worst(scene.attend(*device, scene.batch, scene.q), scene.expected()), 2e-5) << bits << " bits";
  }
}

TEST_P(AttentionIsa, LargeScoresStayFinite) {
  std::mt19937 rng(21);
  const auto device = open_test_device(GetParam(), 2);
  Scene scene(rng, *device, {4, 2, 64}, {{1, 600}, {40, 70}});
  for (float& value : scene.q) value *= 100.0f;
  // The scores themselves carry an error of about |s| * 2^-22: softmax turns it into a relative one.
  EXPECT_LE(worst(scene.attend(*device, scene.batch, scene.q), scene.expected()), 5e-3);
}

TEST_P(AttentionIsa, BatchedEqualsSingle) {
  std::mt19937 rng(22);
  const Shapes shapes{8, 2, 64};
  const auto device = open_test_device(GetParam(), 2, Precision::fast);
  Scene scene(rng, *device, shapes, {{1, 900}, {40, 60}, {1, 5}, {3, 130}});
  const std::vector<float> together = scene.attend(*device, scene.batch, scene.q);
  const int64_t width = shapes.query_heads * shapes.d;
  for (const Span& span : scene.batch.spans) {
    Batch single;
    single.tokens.resize(static_cast<size_t>(span.rows));
    single.blocks = scene.batch.blocks;
    single.spans = {{0, span.rows, span.kv_length, span.first_block}};
    const auto begin = scene.q.begin() + span.first_row * width;
    std::vector<float> q(begin, begin + span.rows * width);
    const std::vector<float> alone = scene.attend(*device, single, q);
    EXPECT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + span.first_row * width));
  }
}

TEST_P(AttentionIsa, ChunkedEqualsWhole) {
  std::mt19937 rng(23);
  const Shapes shapes{4, 2, 128};
  const auto device = open_test_device(GetParam(), 3);
  const int length = 150;
  Scene scene(rng, *device, shapes, {{length, length}});
  const std::vector<float> whole = scene.attend(*device, scene.batch, scene.q);
  const int64_t width = shapes.query_heads * shapes.d;
  int row = 0;
  for (const int rows : {1, 2, 60, 17, 70}) {
    Batch chunk;
    chunk.tokens.resize(static_cast<size_t>(rows));
    chunk.blocks = scene.batch.blocks;
    chunk.spans = {{0, rows, row + rows, 0}};
    std::vector<float> q(scene.q.begin() + row * width, scene.q.begin() + (row + rows) * width);
    const std::vector<float> part = scene.attend(*device, chunk, q);
    for (size_t i = 0; i < part.size(); ++i)
      EXPECT_NEAR(part[i], whole[static_cast<size_t>(row * width) + i], 1e-5) << rows << " rows from " << row;
    row += rows;
  }
  EXPECT_EQ(row, length);
}

TEST_P(AttentionIsa, ThreadsDoNotChangeResults) {
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    std::mt19937 rng(24);
    const auto device = open_test_device(GetParam(), threads, Precision::fast);
    Scene scene(rng, *device, {4, 2, 64}, {{1, 2000}, {100, 300}, {1, 1}});
    const std::vector<float> out = scene.attend(*device, scene.batch, scene.q);
    if (first.empty()) first = out;
    EXPECT_EQ(out, first) << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionIsa, ::testing::ValuesIn(isa_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace inkstone::testing
