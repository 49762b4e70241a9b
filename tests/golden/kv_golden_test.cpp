// The KV cache in 8 and 4 bits, for every checkpoint under models/ that has goldens of it. The reference reads all but
// the last token of a prompt with an exact cache and quantises it then; we quantise as we write. So the exact cache of
// a float32 run is taken over quantised, and from there logits and greedy tokens must be the reference's; and what
// quantising from the first token on costs is stated against the exact logits.
#include "tests/golden/golden_data.h"
#include "tests/golden/tracing_device.h"

namespace inkstone {
namespace {

struct KvCase {
  std::filesystem::path folder;
  std::string isa;
  int bits = 0;
  int group_size = 0;

  DeviceOptions device() const {
    return {.precision = Precision::f32, .threads = 2, .isa = isa, .kv_bits = bits, .kv_group_size = group_size};
  }
};

// K and V of `tokens` as a float32 run computes them.
PromptCache exact_cache(const KvCase& test, std::span<const int32_t> tokens) {
  Trace trace;
  GoldenModel exact(test.folder, Precision::f32, test.isa, [&](std::unique_ptr<Device> device) {
    return std::make_unique<TracingDevice>(std::move(device), trace);
  });
  trace.clear();
  Generator(*exact.model, static_cast<int>(tokens.size())).score(tokens);
  const int64_t heads = exact.config.num_key_value_heads, d = exact.config.head_dim;
  PromptCache cache;
  cache.tokens = static_cast<int64_t>(tokens.size());
  for (int64_t i = 0; i < exact.config.num_hidden_layers; ++i) {
    PromptCacheLayer& layer = cache.layers.emplace_back();
    layer.heads = static_cast<int>(heads);
    layer.head_dim = static_cast<int>(d);
    const auto take = [&](const std::vector<float>& rows) {  // [T, K * d] of layer i to [K, T, d]
      std::vector<float> values(static_cast<size_t>(heads * cache.tokens * d));
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t t = 0; t < cache.tokens; ++t)
          std::copy_n(rows.begin() + ((i * cache.tokens + t) * heads + h) * d, d,
                      values.begin() + (h * cache.tokens + t) * d);
      return values;
    };
    layer.keys = take(trace.at("write_kv:k"));
    layer.values = take(trace.at("write_kv:v"));
  }
  return cache;
}

void check_reference(const KvCase& test, const Json& golden, const Json& greedy) {
  const Safetensors data(test.folder / "golden.safetensors");
  GoldenModel opened(test.folder, test.device());
  int checked = 0;
  for (const auto& [name, expected] : greedy.as_object()) {
    if (!expected.is_object()) continue;  // bits, group_size
    SCOPED_TRACE(name);
    const std::vector<int32_t> prompt = token_list(*golden.find("sequences")->find(name));
    const std::span<const int32_t> before = std::span(prompt).first(prompt.size() - 1);
    const PromptCache cache = exact_cache(test, before);
    const int context = static_cast<int>(prompt.size() + expected.find("tokens")->as_array().size()) + 1;
    Generator generator(*opened.model, context);
    generator.restore(before, cache);
    expect_greedy(generator, prompt, expected);
    const std::vector<float> logits = golden_values(data, fmt::format("f32.kv{}.first_logits.{}", test.bits, name));
    ++checked;
    if (logits.empty()) continue;
    generator.restore(before, cache);
    // A value on the edge between two codes may go to the other one: of 4 bits that is a fifteenth of its group's
    // range.
    EXPECT_LT(max_difference(generator.next_logits(std::span(prompt).last(1)), logits),
              test.bits == 8 ? kLogitTolerance : 10 * kLogitTolerance);
  }
  EXPECT_GT(checked, 0);
}

// Sum over rows of KL(softmax(expected) || softmax(found)).
double kl_divergence(std::span<const float> found, std::span<const float> expected, size_t vocab) {
  const auto log_sum = [](std::span<const float> row) {
    double sum = 0;
    for (const float x : row) sum += std::exp(static_cast<double>(x));
    return std::log(sum);
  };
  double total = 0;
  for (size_t at = 0; at < expected.size(); at += vocab) {
    const auto p = expected.subspan(at, vocab), q = found.subspan(at, vocab);
    const double log_p = log_sum(p), log_q = log_sum(q);
    for (size_t i = 0; i < vocab; ++i) total += std::exp(p[i] - log_p) * ((p[i] - log_p) - (q[i] - log_q));
  }
  return total;
}

// The reference's own: of the tokens that it draws first from a quantised cache.
double reference_error(const KvCase& test, const Json& golden, const Safetensors& data) {
  double squares = 0, size = 0;
  for (const auto& [name, tokens] : golden.find("sequences")->as_object()) {
    const std::vector<float> found = golden_values(data, fmt::format("f32.kv{}.first_logits.{}", test.bits, name));
    const std::vector<float> exact = golden_values(data, "f32.logits." + name);
    if (found.empty() || exact.empty()) continue;
    const std::span<const float> expected = std::span(exact).last(found.size());
    squares += std::pow(rms_difference(found, expected), 2) * static_cast<double>(found.size());
    for (const float x : expected) size += std::pow(static_cast<double>(x), 2);
  }
  return std::sqrt(squares / size);
}

// Every position's logits when all of K and V is quantised as it is written, against the exact ones: at most twice as
// far from them as the reference's.
void check_error(const KvCase& test, const Json& golden) {
  const Safetensors data(test.folder / "golden.safetensors");
  GoldenModel opened(test.folder, test.device());
  double squares = 0, size = 0, divergence = 0, rows = 0;
  for (const auto& [name, tokens] : golden.find("sequences")->as_object()) {
    const std::vector<float> expected = golden_values(data, "f32.logits." + name);
    if (expected.empty()) continue;
    const std::vector<int32_t> sequence = token_list(tokens);
    const std::vector<float> all = Generator(*opened.model, static_cast<int>(sequence.size())).score(sequence);
    const std::span<const float> logits = std::span(all).last(std::min(all.size(), expected.size()));
    const size_t vocab = all.size() / sequence.size();
    squares += std::pow(rms_difference(logits, expected), 2) * static_cast<double>(expected.size());
    for (const float x : expected) size += std::pow(static_cast<double>(x), 2);
    divergence += kl_divergence(logits, expected, vocab);
    rows += static_cast<double>(expected.size() / vocab);
  }
  ASSERT_GT(rows, 0);
  const double relative = std::sqrt(squares / size), kl = divergence / rows;
  const double reference = reference_error(test, golden, data);
  std::printf("%s, KV %d bits g%d: relative logit error %.4f, KL %.5f; the reference's %.4f\n",
              test.folder.filename().c_str(), test.bits, test.group_size, relative, kl, reference);
  EXPECT_LT(relative, 2 * reference);
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "models")) {
    if (!std::filesystem::exists(folder / "golden.json")) continue;
    const Json golden = read_json(folder / "golden.json");
    for (const int bits : {8, 4}) {
      const Json* greedy = golden.find("greedy")->find(fmt::format("f32_kv{}", bits));
      if (greedy == nullptr) continue;
      const int group_size = static_cast<int>(greedy->find("group_size")->as_int());
      for (const std::string& isa : isa_names()) {
        const KvCase test{folder, isa, bits, group_size};
        const std::string name = fmt::format("{}_kv{}_{}", folder.filename().string(), bits, isa);
        register_golden("KvBits", name, [=] {
          check_reference(test, golden, *golden.find("greedy")->find(fmt::format("f32_kv{}", bits)));
        });
        register_golden("KvBitsError", name, [=] { check_error(test, golden); });
      }
    }
  }
  skip_if_none("KvBits", "models with a quantised KV cache");
  return true;
}();

}  // namespace
}  // namespace inkstone
