// Every checkpoint under models/: logits of every listed position, the residual stream after every layer, the traced
// activations and the greedy tokens, on every ISA of this machine in float32; and the fast precision within twice the
// reference's own distance between bfloat16 and float32.
#include <map>

#include "tests/golden/golden_data.h"
#include "tests/golden/tracing_device.h"

namespace inkstone {
namespace {

std::string mode_tensor(const std::string& kind, const std::string& sequence) { return "f32." + kind + "." + sequence; }

// The rows of `logits` [T, V] that the golden has: all, or the last one.
std::span<const float> matching_rows(std::span<const float> logits, size_t golden_size) {
  EXPECT_LE(golden_size, logits.size());
  return logits.last(std::min(golden_size, logits.size()));
}

void check_f32(const std::filesystem::path& folder, const std::string& isa) {
  const Json golden = read_json(folder / "golden.json");
  const Safetensors data(folder / "golden.safetensors");
  GoldenModel opened(folder, Precision::f32, isa);
  int checked = 0;
  for (const auto& [name, tokens] : golden.find("sequences")->as_object()) {
    const std::vector<float> expected = golden_values(data, mode_tensor("logits", name));
    if (expected.empty()) continue;
    const std::vector<int32_t> sequence = token_list(tokens);
    Generator generator(*opened.model, static_cast<int>(sequence.size()));
    const std::vector<float> logits = generator.score(sequence);
    EXPECT_LT(max_difference(matching_rows(logits, expected.size()), expected), kLogitTolerance) << name;
    ++checked;
  }
  EXPECT_GT(checked, 0);
  for (const auto& [name, greedy] : golden.find("greedy")->find("f32")->as_object()) {
    SCOPED_TRACE(name);
    expect_greedy(*opened.model, token_list(*golden.find("sequences")->find(name)), greedy);
  }
}

// The names that trace.safetensors gives to what TracingDevice records.
std::map<std::string, std::string> trace_names(int layers) {
  std::map<std::string, std::string> names{{"embed", "model.embed_tokens:rows"}, {"final_norm", "model.norm"}};
  for (int i = 0; i < layers; ++i) {
    const std::string golden = fmt::format("l{}.", i), ours = fmt::format("model.layers.{}.", i);
    names[golden + "input_layernorm"] = ours + "input_layernorm";
    names[golden + "post_attention_layernorm"] = ours + "post_attention_layernorm";
    for (const char* projection : {"q_proj", "k_proj", "v_proj"})
      names[golden + projection] = ours + "self_attn." + projection;
    for (const char* projection : {"gate_proj", "up_proj"}) names[golden + projection] = ours + "mlp." + projection;
    names[golden + "q_rope"] = ours + "self_attn.q_norm";
    names[golden + "attn"] = ours + "self_attn.o_proj:input";
    names[golden + "after_attn"] = ours + "self_attn.o_proj:output";
    names[golden + "swiglu"] = ours + "mlp.down_proj:input";
    names[golden + "out"] = ours + "mlp.down_proj:output";
  }
  return names;
}

// [heads, T, d] as the trace stores what we keep as [T, heads * d].
std::vector<float> heads_to_rows(const std::vector<float>& x, const Shape& shape) {
  if (shape.rank() != 3) return x;
  std::vector<float> y(x.size());
  const int64_t heads = shape[0], rows = shape[1], d = shape[2];
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t i = 0; i < d; ++i) y[(t * heads + h) * d + i] = x[(h * rows + t) * d + i];
  return y;
}

// The residual stream of the last token: after the embedding, after each layer, after the final norm.
void check_hidden(const std::filesystem::path& folder, const std::string& isa) {
  const Json golden = read_json(folder / "golden.json");
  const Safetensors data(folder / "golden.safetensors");
  Trace trace;
  GoldenModel opened(folder, Precision::f32, isa, [&](std::unique_ptr<Device> device) {
    return std::make_unique<TracingDevice>(std::move(device), trace);
  });
  int checked = 0;
  for (const auto& [name, tokens] : golden.find("sequences")->as_object()) {
    const std::vector<float> expected = golden_values(data, mode_tensor("hidden", name));
    if (expected.empty()) continue;
    const std::vector<int32_t> sequence = token_list(tokens);
    trace.clear();
    Generator(*opened.model, static_cast<int>(sequence.size())).score(sequence);
    const int64_t hidden = opened.config.hidden_size;
    const auto row = [&](const std::string& record) {
      const std::vector<float>& values = trace.at(record);
      return std::span(values).last(static_cast<size_t>(hidden));
    };
    for (int i = 0; i < opened.config.num_hidden_layers + 2; ++i) {
      // What the next norm reads is the residual stream; the last row is the final norm's output.
      const std::string record = i < opened.config.num_hidden_layers
                                     ? fmt::format("model.layers.{}.input_layernorm:input", i)
                                 : i == opened.config.num_hidden_layers ? "model.norm:input"
                                                                        : "model.norm";
      EXPECT_LT(max_difference(row(record), std::span(expected).subspan(static_cast<size_t>(i * hidden), hidden)),
                kLogitTolerance)
          << name << " row " << i;
    }
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

void check_trace(const std::filesystem::path& folder, const std::string& isa) {
  const Json golden = read_json(folder / "golden.json");
  const Safetensors data(folder / "trace.safetensors");
  Trace trace;
  GoldenModel opened(folder, Precision::f32, isa, [&](std::unique_ptr<Device> device) {
    return std::make_unique<TracingDevice>(std::move(device), trace);
  });
  const std::vector<int32_t> sequence = token_list(*golden.find("sequences")->find("len7"));
  const std::vector<float> logits = Generator(*opened.model, static_cast<int>(sequence.size())).score(sequence);
  EXPECT_LT(max_difference(logits, golden_values(data, "logits")), kLogitTolerance);
  int checked = 0;
  for (const auto& [name, record] : trace_names(opened.config.num_hidden_layers)) {
    const ConstTensor* tensor = data.find(name);
    if (tensor == nullptr) continue;
    const std::vector<float> expected = heads_to_rows(golden_values(data, name), tensor->shape);
    EXPECT_LT(max_difference(trace.at(record), expected), kLogitTolerance) << name;
    ++checked;
  }
  EXPECT_GT(checked, 10);
}

void check_fast(const std::filesystem::path& folder, const std::string& isa) {
  const Json golden = read_json(folder / "golden.json");
  const Safetensors data(folder / "golden.safetensors");
  const Json* observed = golden.find("observed");
  const Json* reference = nullptr;
  for (const char* mode : {"bf16m_vs_f32", "f16m_vs_f32"})
    if (reference == nullptr) reference = observed->find(mode);
  ASSERT_NE(reference, nullptr);
  GoldenModel opened(folder, Precision::fast, isa);
  std::vector<float> found, expected;
  for (const auto& [name, tokens] : golden.find("sequences")->as_object()) {
    const std::vector<float> rows = golden_values(data, mode_tensor("logits", name));
    if (rows.empty()) continue;
    const std::vector<int32_t> sequence = token_list(tokens);
    const std::vector<float> logits = Generator(*opened.model, static_cast<int>(sequence.size())).score(sequence);
    const auto matching = matching_rows(logits, rows.size());
    found.insert(found.end(), matching.begin(), matching.end());
    expected.insert(expected.end(), rows.begin(), rows.end());
  }
  const double rms = rms_difference(found, expected);
  const double bound = 2 * reference->find("rms")->as_double();
  testing::Test::RecordProperty("rms", fmt::format("{:.4f} of at most {:.4f}", rms, bound));
  EXPECT_LE(rms, bound);
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "models")) {
    if (!std::filesystem::exists(folder / "golden.json")) continue;
    for (const std::string& isa : isa_names()) {
      const std::string name = folder.filename().string() + "_" + isa;
      register_golden("ModelLogitsAndGreedy", name, [=] { check_f32(folder, isa); });
      register_golden("ModelHidden", name, [=] { check_hidden(folder, isa); });
      register_golden("ModelFast", name, [=] { check_fast(folder, isa); });
      if (std::filesystem::exists(folder / "trace.safetensors"))
        register_golden("ModelTrace", name, [=] { check_trace(folder, isa); });
    }
  }
  skip_if_none("ModelLogitsAndGreedy", "models");
  return true;
}();

}  // namespace
}  // namespace inkstone
