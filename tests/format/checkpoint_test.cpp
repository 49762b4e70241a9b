#include "format/checkpoint.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/json.h"
#include "format/adapter.h"
#include "format/prompt_cache.h"
#include "format/quantization.h"
#include "format/safetensors_writer.h"
#include "format/shapes.h"
#include "tests/format/temporary_folder.h"

namespace inkstone {
namespace {

// Writes zero tensors.
void write_zeros(const std::filesystem::path& path, const std::vector<TensorSpec>& specs,
                 const SafetensorsMetadata& metadata = {{"format", "mlx"}}) {
  SafetensorsWriter writer(path, specs, metadata);
  for (const TensorSpec& spec : specs) writer.write(std::vector<std::byte>(spec.bytes()));
  writer.finish();
}

std::string index_of(const std::vector<std::pair<std::string, std::string>>& entries) {
  Json json;
  json["weight_map"] = Json::Object{};
  for (const auto& [name, file] : entries) json["weight_map"][name] = file;
  return json.dump();
}

ModelConfig config_with(std::optional<Quantization> quantization) {
  ModelConfig config = shape_config("tiny");
  config.quantization = quantization;
  return config;
}

constexpr Quantization kQ4{QuantMode::affine, 4, 64};

std::vector<TensorSpec> triple(const std::string& module, int64_t words, int64_t groups, DType scales = DType::bf16,
                               DType biases = DType::bf16) {
  return {{module + ".weight", DType::u32, {8, words}},
          {module + ".scales", scales, {8, groups}},
          {module + ".biases", biases, {8, groups}}};
}

void expect_open_error(const std::filesystem::path& folder, Errc code, std::string_view says) {
  const auto [found, message] = error_of([&] { Checkpoint checkpoint(folder); });
  EXPECT_EQ(static_cast<int>(found), static_cast<int>(code)) << message;
  EXPECT_NE(message.find(says), std::string::npos) << message;
}

TEST(Checkpoint, FolderAndShardsMustBeThere) {
  const TemporaryFolder folder;
  expect_open_error(folder / "nowhere", Errc::not_found, "no such folder");
  expect_open_error(folder.path(), Errc::not_found, "no model.safetensors");
  write_zeros(folder / "model-00001-of-00002.safetensors", {{"a", DType::f32, {1}}});
  expect_open_error(folder.path(), Errc::not_found, "model-00002-of-00002");
  write_zeros(folder / "model-00002-of-00002.safetensors", {{"b", DType::f32, {1}}});
  EXPECT_EQ(Checkpoint(folder.path()).tensors().size(), 2u);
  write_zeros(folder / "model-00002-of-00002.safetensors", {{"a", DType::f32, {1}}});
  expect_open_error(folder.path(), Errc::bad_file, "stands in another shard");
}

TEST(Checkpoint, IndexMustAgreeWithShards) {
  const TemporaryFolder folder;
  const char* index = "model.safetensors.index.json";
  write_zeros(folder / "model-a.safetensors", {{"a", DType::f32, {1}}});
  write_zeros(folder / "model-b.safetensors", {{"b", DType::f32, {1}}});
  folder.write(index, index_of({{"a", "model-a.safetensors"}, {"b", "model-b.safetensors"}}));
  EXPECT_EQ(Checkpoint(folder.path()).bytes(), 8u);
  folder.write(index, index_of({{"a", "model-a.safetensors"}, {"b", "model-a.safetensors"}}));
  expect_open_error(folder.path(), Errc::bad_file, "not in the file");
  folder.write(index, index_of({{"a", "model-b.safetensors"}, {"b", "model-a.safetensors"}}));
  expect_open_error(folder.path(), Errc::bad_file, "places it in");
  folder.write(index, index_of({{"c", "model-a.safetensors"}}));
  expect_open_error(folder.path(), Errc::bad_file, "does not have it");
  folder.write(index, index_of({{"a", "model-c.safetensors"}}));
  expect_open_error(folder.path(), Errc::not_found, "model-c.safetensors");
  for (const char* name : {"../model-a.safetensors", "/etc/model.safetensors", "..", "", "model", "a\\b.safetensors",
                           ".safetensors", ".hidden.safetensors", "a\n.safetensors"}) {
    folder.write(index, index_of({{"a", name}}));
    expect_open_error(folder.path(), Errc::bad_file, "expected the name");
  }
  for (const char* text : {"", "[]", "{}", R"({"weight_map": []})", R"({"weight_map": {}})",
                           R"({"weight_map": {"a": 1}})", R"({"weight_map": {"a": {"weight_map": {}}}})"}) {
    folder.write(index, text);
    EXPECT_EQ(error_of([&] { Checkpoint checkpoint(folder.path()); }).first, Errc::bad_file) << text;
  }
}

struct WrongTriple {
  std::vector<TensorSpec> tensors;
  std::optional<Quantization> quantization;
  const char* says;
};

TEST(Checkpoint, QuantisedWeightsMustFitTheirParameters) {
  auto without_biases = triple("m", 8, 1);
  without_biases.pop_back();
  auto without_weight = triple("m", 8, 1);
  without_weight.erase(without_weight.begin());
  const std::vector<WrongTriple> cases = {
      {triple("m", 16, 1), kQ4, "look like 8 bits"},
      {triple("m", 8, 2), kQ4, "m.scales"},
      {triple("m", 8, 1), std::nullopt, "does not quantise"},
      {triple("m", 8, 1), Quantization{QuantMode::affine, 4, 128}, "multiple of the group size"},
      {triple("m", 8, 1, DType::u8), kQ4, "m.scales"},
      {triple("m", 8, 1, DType::bf16, DType::f16), kQ4, "m.biases"},
      {without_biases, kQ4, "m.biases: missing"},
      {without_weight, kQ4, "m.weight: missing"},
      {{triple("m", 8, 1)[0]}, kQ4, "there is no m.scales"},
      {triple("m", 8, 2, DType::u8, DType::u8), Quantization{QuantMode::mxfp4, 4, 32}, "has no biases"},
      {{{"m.weight", DType::i32, {8, 64}}}, kQ4, "I32"},
      {{{"m.weight", DType::f32, {64, 8}}}, kQ4, "[8, 64]"},
      {{}, kQ4, "m.weight: missing"},
  };
  for (const WrongTriple& wrong : cases) {
    const TemporaryFolder folder;
    write_zeros(folder / "model.safetensors", wrong.tensors);
    Checkpoint checkpoint(folder.path());
    const auto [code, message] = error_of([&] { checkpoint.take_weight("m", 8, 64, config_with(wrong.quantization)); });
    EXPECT_EQ(static_cast<int>(code), static_cast<int>(Errc::bad_file)) << wrong.says << ": " << message;
    EXPECT_NE(message.find(wrong.says), std::string::npos) << message;
  }
}

TEST(Checkpoint, TakesExpertsStackedAndApart) {
  const TemporaryFolder folder;
  std::vector<TensorSpec> specs = {
      {"s.switch_mlp.up_proj.weight", DType::u32, {2, 8, 8}},  {"s.switch_mlp.up_proj.scales", DType::bf16, {2, 8, 1}},
      {"s.switch_mlp.up_proj.biases", DType::bf16, {2, 8, 1}}, {"h.experts.0.up_proj.weight", DType::bf16, {8, 64}},
      {"h.experts.1.up_proj.weight", DType::bf16, {8, 64}},    {"left", DType::f32, {1}}};
  for (const char* e : {"q.experts.0.up_proj", "q.experts.1.up_proj"})
    for (const TensorSpec& spec : triple(e, 8, 1)) specs.push_back(spec);
  write_zeros(folder / "model.safetensors", specs);
  Checkpoint checkpoint(folder.path());
  const ModelConfig config = config_with(kQ4);
  const WeightView stacked = checkpoint.take_experts("s", "up_proj", 2, 8, 64, config);
  EXPECT_EQ(stacked.quantization, kQ4);
  EXPECT_EQ(stacked.expert(1).weight.data - stacked.expert(0).weight.data, 8 * 8 * 4);
  const WeightView apart = checkpoint.take_experts("h", "up_proj", 2, 8, 64, config);
  ASSERT_EQ(apart.parts.size(), 2u);
  EXPECT_EQ(apart.parts[1].weight.shape, (Shape{8, 64}));
  EXPECT_EQ(apart.bytes(), 2u * 8 * 64 * 2);
  EXPECT_EQ(checkpoint.take_experts("q", "up_proj", 2, 8, 64, config).quantization, kQ4);
  EXPECT_EQ(error_of([&] { checkpoint.take_experts("h", "up_proj", 3, 8, 64, config); }).first, Errc::bad_file);
  EXPECT_EQ(error_of([&] { checkpoint.take_experts("s", "up_proj", 3, 8, 64, config); }).first, Errc::bad_file);
  const auto [code, message] = error_of([&] { checkpoint.finish(); });
  EXPECT_EQ(code, Errc::bad_file);
  EXPECT_NE(message.find("model.safetensors: left: not part"), std::string::npos) << message;
  checkpoint.ignore("left");
  checkpoint.finish();
}

TEST(Quantization, CodesAreOneBitStream) {
  // 0, 1, 2, .. in 3, 5 and 6 bits, packed by hand below.
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    std::vector<std::byte> row(static_cast<size_t>(4 * bits));
    for (int i = 0; i < 32; ++i)
      for (int b = 0; b < bits; ++b)
        if ((i % (1 << bits)) >> b & 1)
          row[static_cast<size_t>((i * bits + b) / 8)] |= std::byte(1 << (i * bits + b) % 8);
    for (int i = 0; i < 32; ++i) EXPECT_EQ(code_at(row.data(), i, bits), static_cast<uint32_t>(i % (1 << bits)));
  }
}

TEST(Quantization, SmallFloats) {
  EXPECT_EQ(e2m1_to_f32(7), 6.0f);
  EXPECT_EQ(e2m1_to_f32(9), -0.5f);
  EXPECT_EQ(e4m3_to_f32(0x38), 1.0f);
  EXPECT_EQ(e4m3_to_f32(0x7e), 448.0f);
  EXPECT_EQ(e4m3_to_f32(0x01), 0x1p-9f);
  EXPECT_EQ(e4m3_to_f32(0x88), -0x1p-6f);
  EXPECT_TRUE(e4m3_to_f32(0x7f) != e4m3_to_f32(0x7f));
  EXPECT_EQ(e8m0_to_f32(127), 1.0f);
  EXPECT_EQ(e8m0_to_f32(0), 0x1p-127f);
  EXPECT_EQ(e8m0_to_f32(254), 0x1p127f);
}

std::string lora_config(const char* type) {
  return fmt::format(R"({{"fine_tune_type": "{}", "num_layers": 2, "lora_parameters": {{"rank": 4, "scale": 20.0}}}})",
                     type);
}

TEST(Adapter, ModulesMustBeWholeAndConsistent) {
  const TensorSpec a{"m.lora_a", DType::f32, {64, 4}}, b{"m.lora_b", DType::f32, {4, 8}}, m{"m.m", DType::f32, {8}};
  const TensorSpec ea{"e.lora_a", DType::f32, {3, 4, 64}}, eb{"e.lora_b", DType::f32, {3, 8, 4}};
  const auto open = [](const std::vector<TensorSpec>& specs, const char* type) {
    const TemporaryFolder folder;
    folder.write("adapter_config.json", lora_config(type));
    write_zeros(folder / "adapters.safetensors", specs, {});
    return error_of([&] {
      const Adapter adapter(folder.path());
      if (const auto it = adapter.modules().find("e"); it != adapter.modules().end()) {
        EXPECT_EQ(it->second.in(), 64);
        EXPECT_EQ(it->second.out(), 8);
        EXPECT_EQ(it->second.experts(), 3);
      }
    });
  };
  EXPECT_EQ(open({a, b, ea, eb}, "lora").second, "no error");
  EXPECT_EQ(open({a, b, m}, "dora").second, "no error");
  EXPECT_EQ(open({{"model.norm.weight", DType::bf16, {8}}}, "full").second, "no error");
  const std::vector<std::pair<std::vector<TensorSpec>, const char*>> wrong = {
      {{a}, "lora"},
      {{b}, "lora"},
      {{a, b}, "dora"},
      {{a, b, m}, "lora"},
      {{a, eb}, "lora"},
      {{}, "lora"},
      {{a, {"m.lora_b", DType::f32, {8, 4}}}, "lora"},
      {{{"m.lora_a", DType::f32, {64, 5}}, {"m.lora_b", DType::f32, {5, 8}}}, "lora"},
      {{ea, {"e.lora_b", DType::f32, {3, 4, 8}}}, "lora"},
      {{a, b, {"m.m", DType::f32, {4}}}, "dora"},
      {{a, b, {"m.weight", DType::f32, {4}}}, "lora"},
      {{a, {"m.lora_b", DType::u32, {4, 8}}}, "lora"},
      {{{"m.lora_a", DType::f32, {}}, b}, "lora"},
  };
  for (const auto& [specs, type] : wrong) EXPECT_EQ(open(specs, type).first, Errc::bad_file) << specs.size() << type;
}

TEST(PromptCache, PartsMustFitTogether) {
  const auto read = [](const std::vector<TensorSpec>& specs, const SafetensorsMetadata& metadata) {
    const TemporaryFolder folder;
    write_zeros(folder / "c.safetensors", specs, metadata);
    return error_of([&] { load_prompt_cache(folder / "c.safetensors"); });
  };
  const TensorSpec k{"0.0", DType::bf16, {1, 2, 5, 32}}, v{"0.1", DType::bf16, {1, 2, 5, 32}};
  const SafetensorsMetadata plain = {{"0.0", ""}, {"1.model", "m"}, {"2.0", "KVCache"}};
  EXPECT_EQ(read({k, v}, plain).second, "no error");
  EXPECT_EQ(read({k, v}, {{"2.0", "RotatingKVCache"}}).first, Errc::unsupported);
  EXPECT_EQ(read({k, v}, {}).first, Errc::bad_file);
  EXPECT_EQ(read({k}, plain).first, Errc::bad_file);
  EXPECT_EQ(read({k, v, {"9", DType::f32, {1}}}, plain).first, Errc::bad_file);
  EXPECT_EQ(read({k, {"0.1", DType::bf16, {1, 2, 4, 32}}}, plain).first, Errc::bad_file);
  EXPECT_EQ(read({k, {"0.1", DType::bf16, {2, 1, 5, 32}}}, plain).first, Errc::bad_file);
  EXPECT_EQ(read({k, {"0.1", DType::i32, {1, 2, 5, 32}}}, plain).first, Errc::bad_file);

  std::vector<TensorSpec> quantised;
  for (const char* part : {"0.0", "0.1"}) {
    quantised.push_back({std::string(part) + ".0", DType::u32, {1, 2, 5, 8}});
    quantised.push_back({std::string(part) + ".1", DType::f16, {1, 2, 5, 1}});
    quantised.push_back({std::string(part) + ".2", DType::f16, {1, 2, 5, 1}});
  }
  SafetensorsMetadata state = {{"0.0.0", "5"}, {"0.0.1", "32"}, {"0.0.2", "8"}, {"2.0", "QuantizedKVCache"}};
  EXPECT_EQ(read(quantised, state).second, "no error");
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{{"0.0.0", "6"},
                                                                                   {"0.0.1", "64"},
                                                                                   {"0.0.2", "4"},
                                                                                   {"0.0.2", "x"},
                                                                                   {"0.0.2", "99999999999"},
                                                                                   {"0.0.1", "-32"}}) {
    SafetensorsMetadata wrong = state;
    wrong[key] = value;
    EXPECT_EQ(read(quantised, wrong).first, Errc::bad_file) << key << " " << value;
  }
}

}  // namespace
}  // namespace inkstone
