// Every case under lora/: the model with its adapter, unfused, against the reference's logits and greedy tokens; the
// model without it; and the model that the reference fused.
#include "model/lora.h"
#include "tests/golden/golden_data.h"

namespace inkstone {
namespace {

// Logits of `sequence`, as many of its last rows as the golden has.
void expect_logits(Model& model, const std::vector<int32_t>& sequence, const std::vector<float>& expected) {
  Generator generator(model, static_cast<int>(sequence.size()));
  const std::vector<float> logits = generator.score(sequence);
  ASSERT_LE(expected.size(), logits.size());
  EXPECT_LT(max_difference(std::span(logits).last(expected.size()), expected), kLogitTolerance);
}

void check_adapter(const std::filesystem::path& folder, const std::string& isa) {
  const Json golden = read_json(folder / "golden.json");
  const Safetensors data(folder / "golden.safetensors");
  const auto base = fixture_root() / "models" / golden.find("base_model")->as_string();
  GoldenModel opened(base, Precision::f32, isa);
  int checked = 0;
  for (const auto& [name, tokens] : golden.find("sequences")->as_object()) {
    const std::vector<float> expected = golden_values(data, "f32.base_logits." + name);
    if (!expected.empty()) expect_logits(*opened.model, token_list(tokens), expected);
  }
  attach_adapter(*opened.model, folder / "adapters");
  for (const auto& [name, tokens] : golden.find("sequences")->as_object()) {
    SCOPED_TRACE(name);
    const std::vector<float> expected = golden_values(data, "f32.logits." + name);
    if (expected.empty()) continue;
    expect_logits(*opened.model, token_list(tokens), expected);
    ++checked;
  }
  EXPECT_GT(checked, 0);
  const Json& greedy = *golden.find("greedy")->find("f32");
  // Continues the first sequence.
  expect_greedy(*opened.model, token_list(golden.find("sequences")->as_object().front().second), greedy);
}

void check_fused(const std::filesystem::path& folder, const std::string& fused) {
  const Json golden = read_json(folder / "golden.json");
  const Safetensors data(folder / "golden.safetensors");
  GoldenModel opened(folder / fused, Precision::f32, "");
  int checked = 0;
  for (const auto& [name, tokens] : golden.find("sequences")->as_object()) {
    const std::vector<float> expected = golden_values(data, "f32." + fused + "_logits." + name);
    if (expected.empty()) continue;
    expect_logits(*opened.model, token_list(tokens), expected);
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "lora")) {
    if (!std::filesystem::exists(folder / "golden.json")) continue;
    for (const std::string& isa : isa_names())
      register_golden("Adapter", folder.filename().string() + "_" + isa, [=] { check_adapter(folder, isa); });
    for (const char* fused : {"fused", "fused-dequantized"})
      if (std::filesystem::exists(folder / fused))
        register_golden("AdapterFused", folder.filename().string() + "_" + fused, [=] { check_fused(folder, fused); });
  }
  skip_if_none("Adapter", "lora");
  return true;
}();

}  // namespace
}  // namespace inkstone
