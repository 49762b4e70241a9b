#include "format/random_checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "format/checkpoint.h"
#include "format/generation_config.h"
#include "format/quantization.h"
#include "format/shapes.h"
#include "tests/format/temporary_folder.h"

namespace inkstone {
namespace {

RandomCheckpointOptions options_of(const char* shape, Quantization quantization, DType dtype = DType::bf16) {
  RandomCheckpointOptions options;
  options.config = shape_config(shape);
  options.quantization = quantization;
  options.dtype = dtype;
  return options;
}

uint64_t folder_bytes(const TemporaryFolder& folder) {
  uint64_t total = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) total += entry.file_size();
  return total;
}

// Mean and deviation of a module's weights, decoded.
std::pair<double, double> moments(const WeightView& stack) {
  double sum = 0, squares = 0, count = 0;
  std::vector<float> row(static_cast<size_t>(stack.in));
  for (int64_t e = 0; e < std::max<int64_t>(stack.experts, 1); ++e) {
    const WeightView matrix = stack.experts > 0 ? stack.expert(e) : stack;
    for (int64_t r = 0; r < matrix.out; ++r) {
      dequantize_row(matrix, r, row);
      for (const float value : row) {
        sum += value;
        squares += double(value) * value;
        ++count;
      }
    }
  }
  return {sum / count, std::sqrt(squares / count)};
}

struct Format {
  const char* shape;
  Quantization quantization;
  DType dtype;
};

TEST(RandomCheckpoint, EveryFormatOpensWithTheRightDeviation) {
  std::vector<Format> formats;
  for (const char* shape : {"tiny", "tiny-moe"}) {
    for (const DType dtype : {DType::bf16, DType::f16, DType::f32}) {
      formats.push_back({shape, {}, dtype});
      formats.push_back({shape, {QuantMode::affine, 4, 64}, dtype});
    }
    for (const int bits : {2, 3, 5, 6, 8}) formats.push_back({shape, {QuantMode::affine, bits, 32}, DType::bf16});
    formats.push_back({shape, {QuantMode::mxfp4, 4, 32}, DType::bf16});
    formats.push_back({shape, {QuantMode::mxfp8, 8, 32}, DType::bf16});
    formats.push_back({shape, {QuantMode::nvfp4, 4, 16}, DType::bf16});
  }
  for (const Format& format : formats) {
    SCOPED_TRACE(fmt::format("{} {} b{} {}", format.shape, quant_mode_name(format.quantization.mode),
                             format.quantization.bits, dtype_name(format.dtype)));
    const TemporaryFolder folder;
    write_random_checkpoint(folder.path(), options_of(format.shape, format.quantization, format.dtype));
    const ModelConfig config = load_model_config(folder.path());
    Checkpoint checkpoint(folder.path());
    EXPECT_EQ(checkpoint.tensors().size(), model_tensors(config, format.dtype).size());
    for (const TensorSpec& spec : model_tensors(config, format.dtype)) {
      ASSERT_TRUE(checkpoint.contains(spec.name)) << spec.name;
      EXPECT_EQ(checkpoint.tensors().at(spec.name).shape, spec.shape) << spec.name;
    }
    const WeightView q = checkpoint.take_weight("model.layers.1.self_attn.q_proj", 64, 64, config);
    const auto [mean, deviation] = moments(q);
    EXPECT_NEAR(mean, 0, 0.02);
    EXPECT_NEAR(deviation, 1 / 8.0, 0.02);
    EXPECT_EQ(q.quantization, format.quantization);
    if (config.num_experts > 0) {
      const WeightView up = checkpoint.take_experts("model.layers.0.mlp", "up_proj", 4, 64, 64, config);
      EXPECT_NEAR(moments(up).second, 1 / 8.0, 0.02);
      const WeightView gate = checkpoint.take_weight("model.layers.0.mlp.gate", 4, 64, config);
      if (config.quantization) {
        EXPECT_EQ(gate.quantization, (Quantization{QuantMode::affine, 8, 64}));
      }
    }
  }
}

TEST(RandomCheckpoint, IsSmallDeterministicAndComplete) {
  const TemporaryFolder a, b, c;
  RandomCheckpointOptions options = options_of("tiny", {});
  write_random_checkpoint(a.path(), options);
  write_random_checkpoint(b.path(), options);
  options.seed = 1;
  write_random_checkpoint(c.path(), options);
  EXPECT_LT(folder_bytes(a), 200000u);
  EXPECT_EQ(a.read("model.safetensors"), b.read("model.safetensors"));
  EXPECT_NE(a.read("model.safetensors"), c.read("model.safetensors"));
  const GenerationConfig generation = load_generation_config(a.path());
  EXPECT_EQ(generation.eos_token_ids, (std::vector<int>{258, 256}));
  EXPECT_EQ(generation.top_k, 20);
  const Json index = Json::parse(a.read("model.safetensors.index.json"), "index");
  EXPECT_EQ(index.find("metadata")->find("total_parameters")->as_int(), parameter_count(load_model_config(a.path())));
}

TEST(RandomCheckpoint, SplitsIntoShards) {
  const TemporaryFolder folder, whole;
  RandomCheckpointOptions options = options_of("tiny", {QuantMode::affine, 4, 64});
  write_random_checkpoint(whole.path(), options);
  options.shard_bytes = 10000;
  write_random_checkpoint(folder.path(), options);
  const Checkpoint parts(folder.path()), one(whole.path());
  EXPECT_GT(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 8);
  ASSERT_EQ(parts.tensors().size(), one.tensors().size());
  for (const auto& [name, tensor] : one.tensors()) {
    const ConstTensor& other = parts.tensors().at(name);
    ASSERT_EQ(other.bytes(), tensor.bytes());
    EXPECT_EQ(std::memcmp(other.data, tensor.data, tensor.bytes()), 0) << name;
  }
}

TEST(RandomCheckpoint, RefusesWhatDoesNotFit) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of([&] {
              write_random_checkpoint(folder / "x", options_of("tiny", {QuantMode::affine, 4, 128}));
            }).first,
            Errc::usage);
  EXPECT_EQ(error_of([&] {
              write_random_checkpoint(folder / "x", options_of("tiny", {QuantMode::affine, 7, 64}));
            }).first,
            Errc::usage);
  EXPECT_EQ(error_of([] { shape_config("qwen9"); }).first, Errc::usage);
}

TEST(Shapes, ConfigsReadBackAndCountAsPublished) {
  for (const std::string_view name : shape_names()) {
    RandomCheckpointOptions options;
    options.config = shape_config(name);
    options.quantization = {QuantMode::affine, 4, 64};
    const ModelConfig config = random_checkpoint_config(options);
    const std::string json = model_config_json(config, DType::bf16);
    const ModelConfig again = parse_model_config(json, std::string(name));
    EXPECT_EQ(model_config_json(again, DType::bf16), json);
    EXPECT_EQ(again.quantization_overrides, config.quantization_overrides);
    EXPECT_EQ(again.rms_norm_eps, 1e-6f);
    EXPECT_NE(json.find("\"rms_norm_eps\": 1e-06"), std::string::npos);
  }
  // The published counts, in billions.
  const std::pair<const char*, double> counts[] = {
      {"qwen3-0.6b", 0.596}, {"qwen3-1.7b", 1.72}, {"qwen3-4b", 4.02},      {"qwen3-8b", 8.19},
      {"qwen3-14b", 14.8},   {"qwen3-32b", 32.8},  {"qwen3-30b-a3b", 30.5}, {"qwen3-235b-a22b", 235}};
  for (const auto& [name, billions] : counts)
    EXPECT_NEAR(static_cast<double>(parameter_count(shape_config(name))) / 1e9, billions, billions * 0.003) << name;
}

}  // namespace
}  // namespace inkstone
