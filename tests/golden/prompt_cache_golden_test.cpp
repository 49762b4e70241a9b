// Every case of prompt_cache/: a cache that mlx_lm saved is loaded, one token is read on top of it, and the logits
// agree; and they agree with those of the prompt read afresh where the cache was not quantised.
#include "format/prompt_cache.h"
#include "tests/golden/golden_data.h"

namespace inkstone {
namespace {

void check_case(const std::filesystem::path& folder, const Json& entry, const std::string& base) {
  const std::filesystem::path file = folder / entry.find("file")->as_string();
  const PromptCache cache = load_prompt_cache(file);
  const Safetensors golden(folder / (file.stem().string() + ".golden.safetensors"));
  // A quantised cache goes on in ours of the same kind: codes go over as they are, and the next token is quantised,
  // too.
  DeviceOptions options{.precision = Precision::f32, .threads = 2, .isa = ""};
  if (const Json* bits = entry.find("kv_bits"); !bits->is_null()) {
    options.kv_bits = static_cast<int>(bits->as_int());
    options.kv_group_size = static_cast<int>(entry.find("kv_group_size")->as_int());
  }
  GoldenModel opened(fixture_root() / "models" / base, options);
  const std::vector<int32_t> prompt = token_list(*entry.find("prompt"));
  const int32_t next = static_cast<int32_t>(entry.find("next_token")->as_int());
  ASSERT_EQ(cache.tokens, static_cast<int64_t>(prompt.size()));

  Generator generator(*opened.model, static_cast<int>(prompt.size()) + 2);
  generator.restore(prompt, cache);
  const std::vector<float> expected = golden_values(golden, "logits_f32");
  const std::vector<float> logits = generator.next_logits(std::span(&next, 1));
  EXPECT_LT(max_difference(logits, expected), kLogitTolerance);

  if (options.kv_bits != 0) return;
  std::vector<int32_t> whole = prompt;
  whole.push_back(next);
  Generator fresh(*opened.model, static_cast<int>(whole.size()));
  EXPECT_LT(max_difference(fresh.next_logits(whole), expected), kLogitTolerance);
}

const bool registered = [] {
  const auto folder = fixture_root() / "prompt_cache";
  if (!std::filesystem::exists(folder / "golden.json")) {
    skip_if_none("PromptCache", "prompt_cache");
    return false;
  }
  const Json golden = read_json(folder / "golden.json");
  const std::string base = golden.find("base_model")->as_string();
  for (const Json& entry : golden.find("cases")->as_array())
    register_golden("PromptCache", entry.find("file")->as_string(), [=] { check_case(folder, entry, base); });
  skip_if_none("PromptCache", "prompt_cache");
  return true;
}();

}  // namespace
}  // namespace inkstone
