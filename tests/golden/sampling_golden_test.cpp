// Every case of sampling/golden.json: the sampler's stages against mlx_lm's sample_utils.
#include "engine/sampler.h"
#include "tests/golden/golden_data.h"

namespace inkstone {
namespace {

double number(const Json& params, const char* key, double absent) {
  const Json* value = params.find(key);
  return value == nullptr || value->is_null() ? absent : value->as_double();
}

int integer(const Json& params, const char* key, int absent) { return static_cast<int>(number(params, key, absent)); }

SamplingParams sampling_params(const Json& params) {
  SamplingParams sampling;
  sampling.temperature = number(params, "temp", 0);
  sampling.top_p = number(params, "top_p", 1);
  sampling.min_p = number(params, "min_p", 0);
  sampling.min_tokens_to_keep = integer(params, "min_tokens_to_keep", 1);
  sampling.top_k = integer(params, "top_k", 0);
  sampling.xtc_probability = number(params, "xtc_probability", 0);
  sampling.xtc_threshold = number(params, "xtc_threshold", 0);
  if (const Json* special = params.find("xtc_special_tokens")) sampling.xtc_special_tokens = token_list(*special);
  sampling.repetition_penalty = number(params, "repetition_penalty", 1);
  sampling.repetition_context_size = integer(params, "repetition_context_size", 20);
  sampling.presence_penalty = number(params, "presence_penalty", 0);
  sampling.presence_context_size = integer(params, "presence_context_size", 20);
  sampling.frequency_penalty = number(params, "frequency_penalty", 0);
  sampling.frequency_context_size = integer(params, "frequency_context_size", 20);
  if (const Json* bias = params.find("logit_bias"); bias != nullptr && bias->is_object())
    for (const auto& [token, value] : bias->as_object())
      sampling.logit_bias[std::stoi(token)] = static_cast<float>(value.as_double());
  sampling.seed = 0;
  return sampling;
}

// Log-probabilities with what the stage removed at -inf.
std::vector<float> spread(const Candidates& candidates, size_t vocabulary) {
  std::vector<float> values(vocabulary, -INFINITY);
  for (const TokenLogprob& candidate : candidates) values[static_cast<size_t>(candidate.token)] = candidate.logprob;
  return values;
}

void expect_same(const std::vector<float>& found, const std::vector<float>& expected, float tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(std::isinf(found[i]), std::isinf(expected[i])) << "token " << i;
    if (std::isinf(expected[i])) continue;
    ASSERT_NEAR(found[i], expected[i], tolerance) << "token " << i;
  }
}

// The distribution that Sampler draws from, exactly: softmax of its candidates at its temperature.
std::vector<float> chain_probabilities(const SamplingParams& params, const std::vector<float>& logprobs) {
  Sampler sampler(params);
  const Candidates kept = sampler.candidates(logprobs);
  std::vector<float> values(logprobs.size(), 0);
  double sum = 0;
  for (const TokenLogprob& c : kept) sum += std::exp((c.logprob - kept.front().logprob) / params.temperature);
  for (const TokenLogprob& c : kept)
    values[static_cast<size_t>(c.token)] =
        static_cast<float>(std::exp((c.logprob - kept.front().logprob) / params.temperature) / sum);
  return values;
}

void check_case(const Json& entry, const std::filesystem::path& folder) {
  const Safetensors data(folder / "golden.safetensors");
  const std::string input = entry.find("input")->as_string(), kind = entry.find("kind")->as_string();
  const SamplingParams params = sampling_params(*entry.find("params"));
  params.validate();
  const std::vector<float> expected = golden_values(data, entry.find("tensor")->as_string());
  ASSERT_FALSE(expected.empty());
  if (kind == "logits_processors") {
    std::vector<float> logits = golden_values(data, input + ".logits");
    apply_penalties(params, token_list(*entry.find("params")->find("history")), logits);
    return expect_same(logits, expected, 1e-4f);
  }
  const std::vector<float> logprobs = golden_values(data, input + ".logprobs");
  if (kind == "chain_probabilities") return expect_same(chain_probabilities(params, logprobs), expected, 1e-5f);
  Candidates candidates = top_candidates(logprobs, 0, logprobs.size());
  if (kind == "top_k")
    keep_top_k(params.top_k, candidates);
  else if (kind == "top_p")
    keep_top_p(params.top_p, candidates);
  else if (kind == "min_p")
    keep_min_p(params.min_p, params.min_tokens_to_keep, candidates);
  else if (kind == "xtc")
    drop_xtc(params.xtc_threshold, params.xtc_special_tokens, candidates);
  else
    FAIL() << "unknown kind " << kind;
  expect_same(spread(candidates, logprobs.size()), expected, 1e-5f);
}

const bool registered = [] {
  const auto folder = fixture_root() / "sampling";
  if (!std::filesystem::exists(folder / "golden.json")) {
    skip_if_none("Sampling", "sampling");
    return false;
  }
  const Json golden = read_json(folder / "golden.json");
  for (const Json& entry : golden.find("cases")->as_array())
    register_golden("Sampling", entry.find("tensor")->as_string() + "_" + entry.find("kind")->as_string(),
                    [=] { check_case(entry, folder); });
  skip_if_none("Sampling", "sampling");
  return true;
}();

}  // namespace
}  // namespace inkstone
