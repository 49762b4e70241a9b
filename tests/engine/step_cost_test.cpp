// Bytes and operations of a step against figures worked out by hand from the published shapes, and what a measurement
// says beside the ceilings.
#include "engine/step_cost.h"

#include <gtest/gtest.h>

#include "engine/benchmark.h"
#include "format/random_checkpoint.h"
#include "format/shapes.h"

namespace inkstone {
namespace {

struct Shape4Bits {
  explicit Shape4Bits(const char* shape) {
    RandomCheckpointOptions options;
    options.config = shape_config(shape);
    options.quantization = {QuantMode::affine, 4, 64};
    config = random_checkpoint_config(options);
    tensors = model_tensors(config, DType::bf16);
    std::vector<std::pair<std::string_view, double>> list;
    for (const TensorSpec& tensor : tensors) list.emplace_back(tensor.name, tensor.bytes());
    weights = weight_bytes(config, list);
    kv_bytes = static_cast<double>(KvCache::bytes_per_token(config, KvFormat{}));
  }
  // `spans` conversations with `rows` tokens each on top of `past`, all of them or the last row wanting logits.
  Cost step(int spans, int past, int rows) const {
    Batch batch;
    for (int i = 0; i < spans; ++i) {
      batch.spans.push_back({batch.size(), rows, past + rows, 0});
      batch.tokens.resize(batch.tokens.size() + static_cast<size_t>(rows));
      batch.logit_rows.push_back(batch.size() - 1);
    }
    return step_cost(config, weights, kv_bytes, batch);
  }
  ModelConfig config;
  std::vector<TensorSpec> tensors;
  WeightBytes weights;
  double kv_bytes = 0;
};

TEST(StepCost, WeightsOf06B) {
  const Shape4Bits m("qwen3-0.6b");
  // 4 bits, and 32 of scale and bias for each 64 weights: 0.5625 bytes a weight.
  // Layers: 28 x (2 x 1024 x (2048 + 1024) + 3 x 1024 x 3072) = 440401920; norms: 28 x 2304 + 1024 in bf16.
  EXPECT_EQ(m.weights.layers, 440401920 * 0.5625 + 65536 * 2);
  EXPECT_EQ(m.weights.head, 151936 * 1024 * 0.5625);  // tied: the embedding
  EXPECT_EQ(m.weights.row, 1024 * 0.5625);
  EXPECT_EQ(m.weights.experts, 0);
  EXPECT_EQ(m.kv_bytes, 112 * 1024);
}

TEST(StepCost, StepsOf06B) {
  const Shape4Bits m("qwen3-0.6b");
  const Cost one = m.step(1, 0, 1);
  EXPECT_EQ(one.bytes, 335487552);        // 247857152 + 87515136 + 576 + 114688
  EXPECT_EQ(one.operations, 1192198144);  // 2 x 595984384 + 4 x 2048 x 28
  const Cost deep = m.step(1, 8192, 1);
  EXPECT_EQ(deep.bytes - one.bytes, 8192.0 * 114688);
  EXPECT_EQ(deep.operations - one.operations, 8192.0 * 4 * 2048 * 28);
  const Cost eight = m.step(8, 2048, 1);  // weights once, everything else eight times
  EXPECT_EQ(eight.bytes, 247857152 + 87515136 + 8 * (576 + 2049.0 * 114688));
  EXPECT_EQ(eight.operations, 8 * (2 * 595984384.0 + 2049.0 * 4 * 2048 * 28));
  const Cost prompt = m.step(1, 0, 512);  // logits of the last row only; 512 x 513 / 2 pairs
  EXPECT_EQ(prompt.bytes, 247857152 + 87515136 + 512 * (576 + 114688.0));
  EXPECT_EQ(prompt.operations, 2.0 * 440401920 * 512 + 2 * 155582464 + 131328.0 * 4 * 2048 * 28);
  const Cost chunk = m.step(1, 512, 512);  // a second chunk reads the first one's keys and values
  EXPECT_EQ(chunk.bytes - prompt.bytes, 512 * 114688.0);
  EXPECT_EQ(chunk.operations - prompt.operations, 512.0 * 512 * 4 * 2048 * 28);
}

TEST(StepCost, StepsOf30BA3BReadTheExpertsInUse) {
  const Shape4Bits m("qwen3-30b-a3b");
  // 48 x 128 x 3 x 2048 x 768 weights in experts; attention 48 x 18874368; routers of 8 bits: 1.0625 bytes a weight.
  EXPECT_EQ(m.weights.experts, 28991029248 * 0.5625);
  EXPECT_EQ(m.weights.layers, 905969664 * 0.5625 + 12582912 * 1.0625 + 210944 * 2);
  EXPECT_EQ(m.kv_bytes, 96 * 1024);
  const Cost one = m.step(1, 0, 1);
  EXPECT_EQ(one.bytes, 1717744768);  // 8 of 128 experts: 1019215872 of 16307453952
  // A token meets 48 x (18874368 + 262144 + 8 x 3 x 2048 x 768) weights and the head's 311164928.
  EXPECT_EQ(one.operations, 2 * 3041656832.0 + 4 * 4096 * 48);
  EXPECT_NEAR(m.step(512, 0, 1).bytes,
              m.weights.layers + m.weights.experts + m.weights.head + 512 * (1152 + m.kv_bytes), 1e4);
}

TEST(StepCost, ExpertsOfSeveralTokensOverlap) {
  EXPECT_DOUBLE_EQ(expected_experts(128, 8, 1), 8);
  EXPECT_DOUBLE_EQ(expected_experts(128, 8, 2), 15.5);  // 8 + 8 x 120 / 128
  EXPECT_NEAR(expected_experts(128, 8, 8), 51.62, 0.005);
  EXPECT_NEAR(expected_experts(128, 8, 512), 128, 1e-9);
  EXPECT_DOUBLE_EQ(expected_experts(4, 4, 3), 4);
}

TEST(StepCost, OtherLayoutsOfTensors) {
  ModelConfig config = shape_config("tiny-moe");  // tied
  const WeightBytes tied = weight_bytes(config, {{"model.embed_tokens.weight", 2880},
                                                 {"lm_head.weight", 2880},
                                                 {"model.layers.0.mlp.experts.3.up_proj.weight", 7},
                                                 {"model.layers.0.mlp.gate.weight", 5}});
  EXPECT_EQ(tied.head, 2880);  // a redundant copy is not read
  EXPECT_EQ(tied.experts, 7);
  EXPECT_EQ(tied.layers, 5);
  EXPECT_EQ(tied.row, 10);
  config.tie_word_embeddings = false;
  const WeightBytes apart = weight_bytes(config, {{"model.embed_tokens.weight", 2880}, {"lm_head.weight", 11}});
  EXPECT_EQ(apart.head, 11);
}

Ceilings machine() {
  Ceilings ceilings{.isa = "x", .threads = 2, .read_gbps = 20};
  ceilings.units = {{"f32", 0.5, true, true}, {"x_int16", 2, false, true}, {"x_int8", 8, false, false}};
  return ceilings;
}

TEST(Figures, TheLongerFloorIsTheCeiling) {
  BenchmarkResult result{.tokens = 4, .batch = 4, .repeats = 1, .seconds = 0.5};
  result.cost = result.whole_cost = {.bytes = 5e9, .operations = 0.2e12};  // 0.25 s of reading, 0.1 s of int16
  const BenchmarkFigures decode = figures_of(result, machine());
  EXPECT_EQ(decode.ceiling, "read");
  EXPECT_DOUBLE_EQ(decode.fraction, 0.5);
  EXPECT_DOUBLE_EQ(decode.tokens_per_s, 8);
  EXPECT_DOUBLE_EQ(decode.gbps, 10);
  EXPECT_DOUBLE_EQ(decode.tflops, 0.4);
  result.prefill = true;  // float32 takes 0.4 s
  const BenchmarkFigures prompt = figures_of(result, machine());
  EXPECT_EQ(prompt.ceiling, "f32");
  EXPECT_DOUBLE_EQ(prompt.fraction, 0.8);
}

TEST(Figures, SomeLayersStandForAll) {
  BenchmarkResult result{.tokens = 1, .repeats = 1, .seconds = 0.5};
  result.cost = {.bytes = 4e9, .operations = 1};
  result.whole_cost = {.bytes = 14e9, .operations = 1};
  const BenchmarkFigures figures = figures_of(result, machine());
  EXPECT_DOUBLE_EQ(figures.seconds, 1.75);
  EXPECT_DOUBLE_EQ(figures.tokens_per_s, 1 / 1.75);
  EXPECT_DOUBLE_EQ(figures.gbps, 8);  // as measured
  EXPECT_DOUBLE_EQ(figures.fraction, 0.4);
}

TEST(BenchmarkPlan, RoomForItsLargestPart) {
  const BenchmarkPlan plan{.prompt_tokens = {100, 2000}, .depths = {0, 2048}, .batches = {2, 8}};
  EXPECT_EQ(plan.blocks(), 130);  // 2 conversations of 2049 tokens
  EXPECT_EQ(plan.rows(), 512);
  EXPECT_EQ(plan.logit_rows(), 8);
  EXPECT_EQ(plan.context(), 2049);
  const BenchmarkPlan many{.prompt_tokens = {}, .depths = {32}, .batches = {1, 16}};
  EXPECT_EQ(many.blocks(), 32);  // 16 of 33 tokens
  const BenchmarkPlan none{};
  EXPECT_EQ(none.blocks(), 1);  // the first token's prompt
  EXPECT_EQ(none.context(), 16);
}

}  // namespace
}  // namespace inkstone
