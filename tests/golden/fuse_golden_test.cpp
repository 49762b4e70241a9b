// Every adapter under lora/ fused into its model: tensor for tensor as the reference fused it where it did, and with
// its logits; dequantised, the logits of the adapter beside the model, as far as the checkpoint's dtype has them.
#include <cstring>

#include "format/quantization.h"
#include "format/safetensors_writer.h"
#include "model/lora.h"
#include "tests/format/temporary_folder.h"
#include "tests/golden/golden_data.h"
#include "train/fuse.h"

namespace inkstone {
namespace {

std::vector<float> logits_of(const std::filesystem::path& folder, const std::vector<int32_t>& sequence) {
  GoldenModel opened(folder, Precision::f32, "");
  Generator generator(*opened.model, static_cast<int>(sequence.size()));
  return generator.score(sequence);
}

// Bytes that differ, over those that there are.
double share_of_differences(const ConstTensor& found, const ConstTensor& expected) {
  size_t different = 0;
  for (size_t i = 0; i < expected.bytes(); ++i) different += found.data[i] != expected.data[i];
  return static_cast<double>(different) / static_cast<double>(expected.bytes());
}

// The tensors of the reference. The sum over the rank may be added up in another order, and a value on the border
// between two of the dtype then falls to the other side: very few may.
void expect_tensors(const std::filesystem::path& folder, const std::filesystem::path& golden) {
  const Checkpoint found(folder), expected(golden);
  ASSERT_EQ(found.tensors().size(), expected.tensors().size());
  for (const auto& [name, tensor] : expected.tensors()) {
    const auto own = found.tensors().find(name);
    ASSERT_NE(own, found.tensors().end()) << name;
    ASSERT_EQ(own->second.shape, tensor.shape) << name;
    ASSERT_EQ(own->second.dtype, tensor.dtype) << name;
    EXPECT_LE(share_of_differences(own->second, tensor), 0.002) << name;
  }
}

struct Case {
  std::filesystem::path folder, base;
  Json golden;

  explicit Case(const std::filesystem::path& path) : folder(path), golden(read_json(path / "golden.json")) {
    base = fixture_root() / "models" / golden.find("base_model")->as_string();
  }
  FuseReport fuse_into(const std::filesystem::path& save, bool dequantize, bool force = true) const {
    return fuse({.model = base,
                 .adapter = folder / "adapters",
                 .save = save,
                 .dequantize = dequantize,
                 .force = force,
                 .threads = 2});
  }
};

void check_against_golden(const std::filesystem::path& folder, const std::string& name) {
  const Case c(folder);
  const TemporaryFolder home;
  const auto save = home / "fused";
  const FuseReport report = c.fuse_into(save, name == "fused-dequantized");
  EXPECT_FALSE(report.modules.empty());
  if (std::filesystem::exists(folder / name)) expect_tensors(save, folder / name);
  const Safetensors data(folder / "golden.safetensors");
  int checked = 0;
  for (const auto& [sequence, tokens] : c.golden.find("sequences")->as_object()) {
    const std::vector<float> expected = golden_values(data, "f32." + name + "_logits." + sequence);
    if (expected.empty()) continue;
    const std::vector<float> logits = logits_of(save, token_list(tokens));
    // The few values that fell to the other side move the logits by less than a hundredth of what the adapter does.
    EXPECT_LT(rms_difference(std::span(logits).last(expected.size()), expected), 5 * kLogitTolerance) << sequence;
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

void check_dequantized(const std::filesystem::path& folder) {
  const Case c(folder);
  const TemporaryFolder home;
  const auto save = home / "fused";
  const FuseReport report = c.fuse_into(save, true, false);
  EXPECT_FALSE(load_model_config(save).quantization);
  EXPECT_TRUE(report.quantized.is_empty());
  for (const FusedModule& module : report.modules) {
    EXPECT_EQ(module.quantization.mode, QuantMode::none);
    EXPECT_GT(module.loss.survival(), 0.9) << module.name;
    EXPECT_LT(module.loss.noise(), 0.5) << module.name;
  }
  const Safetensors data(folder / "golden.safetensors");
  for (const auto& [sequence, tokens] : c.golden.find("sequences")->as_object()) {
    const std::vector<float> expected = golden_values(data, "f32.logits." + sequence);
    if (expected.empty()) continue;
    const std::vector<float> logits = logits_of(save, token_list(tokens));
    // Rounding to bfloat16, which the adapter beside the model does not do; logits have a deviation of about 2.2.
    EXPECT_LT(rms_difference(std::span(logits).last(expected.size()), expected), 0.15) << sequence;
  }
}

// What the report says of a requantised base, and whether it is refused without force.
void check_report(const std::filesystem::path& folder) {
  const Case c(folder);
  const TemporaryFolder home;
  const FuseReport report = c.fuse_into(home / "forced", false);
  TuningLoss sum;
  for (const FusedModule& module : report.modules) {
    if (module.quantization.mode != QuantMode::none) sum.add(module.loss);
    std::printf("%s %s: survival %.3f, noise %.3f, error %.3f\n", module.name.c_str(),
                quantization_text(module.quantization).c_str(), module.loss.survival(), module.loss.noise(),
                module.loss.error());
  }
  std::printf("all: survival %.3f, noise %.3f, error %.3f\n", sum.survival(), sum.noise(), sum.error());
  EXPECT_NEAR(sum.survival(), report.quantized.survival(), 1e-9);
  const auto [code, message] = error_of([&] { c.fuse_into(home / "plain", false, false); });
  EXPECT_EQ(message == "no error", !loses_tuning(sum)) << message;
  EXPECT_EQ(std::filesystem::exists(home / "plain"), !loses_tuning(sum));
}

// A Hugging Face folder has each expert in a tensor of its own: fused they are a stack, and answer as with the adapter.
void check_apart(const std::filesystem::path& base) {
  const ModelConfig config = load_model_config(base);
  const int64_t experts = config.num_experts, in = config.hidden_size, out = config.moe_intermediate_size, rank = 2;
  std::vector<float> a(static_cast<size_t>(experts * rank * in)), b(static_cast<size_t>(experts * out * rank));
  for (size_t i = 0; i < a.size(); ++i) a[i] = 0.1f * std::sin(static_cast<float>(i));
  for (size_t i = 0; i < b.size(); ++i) b[i] = 0.1f * std::cos(static_cast<float>(3 * i));
  const TemporaryFolder home;
  write_adapter_config(home / "adapters", Json::parse(R"({"lora_parameters": {"rank": 2, "scale": 2.0}})", ""));
  const std::string module = "model.layers.0.mlp.switch_mlp.up_proj";
  const auto tensor = [](const std::vector<float>& values, const Shape& shape) {
    return ConstTensor{reinterpret_cast<const std::byte*>(values.data()), DType::f32, shape};
  };
  write_safetensors(home / "adapters" / kAdapterFile, {{module + ".lora_a", tensor(a, {experts, rank, in})},
                                                       {module + ".lora_b", tensor(b, {experts, out, rank})}});
  fuse({.model = base, .adapter = home / "adapters", .save = home / "fused", .threads = 2});
  const Checkpoint before(base), after(home / "fused");
  EXPECT_TRUE(after.contains("model.layers.0.mlp.switch_mlp.up_proj.weight"));
  EXPECT_FALSE(after.contains("model.layers.0.mlp.experts.0.up_proj.weight"));
  const std::vector<int32_t> sequence{1, 5, 9, 2, 7, 30, 11};
  GoldenModel opened(base, Precision::f32, "");
  Generator plain(*opened.model, static_cast<int>(sequence.size()));
  const std::vector<float> untuned = plain.score(sequence);
  attach_adapter(*opened.model, home / "adapters");
  Generator generator(*opened.model, static_cast<int>(sequence.size()));
  const std::vector<float> expected = generator.score(sequence), found = logits_of(home / "fused", sequence);
  EXPECT_LT(rms_difference(found, expected), 0.1 * rms_difference(untuned, expected));
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "convert")) {
    const auto base = folder / "hf";
    if (std::filesystem::exists(base / "config.json") && load_model_config(base).num_experts > 0)
      register_golden("FuseApart", folder.filename().string(), [=] { check_apart(base); });
  }
  for (const auto& folder : entries(fixture_root() / "lora")) {
    if (!std::filesystem::exists(folder / "golden.json")) continue;
    const Safetensors data(folder / "golden.safetensors");
    const std::string name = folder.filename().string();
    for (const std::string fused : {"fused", "fused-dequantized"})
      for (const auto& [tensor, values] : data.tensors())
        if (tensor.starts_with("f32." + fused + "_logits.")) {
          register_golden("Fuse", name + "_" + fused, [=] { check_against_golden(folder, fused); });
          break;
        }
    register_golden("FuseDequantized", name, [=] { check_dequantized(folder); });
    register_golden("FuseReport", name, [=] { check_report(folder); });
  }
  skip_if_none("Fuse", "lora");
  return true;
}();

}  // namespace
}  // namespace inkstone
