#include "engine/sampling_params.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace inkstone {
namespace {

void expect(bool holds, const char* field, double found, const char* expected) {
  if (!holds) fail(Errc::usage, "{}: found {}, expected {}", field, found, expected);
}

}  // namespace

void SamplingParams::validate() const {
  // Written so that NaN fails.
  expect(temperature >= 0 && temperature <= 100, "temperature", temperature, "0 to 100");
  expect(top_p >= 0 && top_p <= 1, "top_p", top_p, "0 to 1");
  expect(min_p >= 0 && min_p <= 1, "min_p", min_p, "0 to 1");
  expect(min_tokens_to_keep >= 1, "min_tokens_to_keep", min_tokens_to_keep, "at least 1");
  expect(top_k >= 0, "top_k", top_k, "0 (off) or more");
  expect(xtc_probability >= 0 && xtc_probability <= 1, "xtc_probability", xtc_probability, "0 to 1");
  expect(xtc_threshold >= 0 && xtc_threshold <= 0.5, "xtc_threshold", xtc_threshold, "0 to 0.5");
  expect(repetition_penalty >= 1e-6 && repetition_penalty <= 100, "repetition_penalty", repetition_penalty,
         "0.000001 to 100");
  expect(std::abs(presence_penalty) <= 100, "presence_penalty", presence_penalty, "-100 to 100");
  expect(std::abs(frequency_penalty) <= 100, "frequency_penalty", frequency_penalty, "-100 to 100");
  expect(logprobs >= 0 && logprobs <= 100, "logprobs", logprobs, "0 to 100");
  for (const auto& [token, bias] : logit_bias)
    expect(std::abs(bias) <= 1000, "logit_bias", static_cast<double>(bias), "-1000 to 1000");
}

SamplingParams SamplingOverrides::over(SamplingParams base) const {
  base.temperature = temperature.value_or(base.temperature);
  base.top_p = top_p.value_or(base.top_p);
  base.min_p = min_p.value_or(base.min_p);
  base.top_k = top_k.value_or(base.top_k);
  base.repetition_penalty = repetition_penalty.value_or(base.repetition_penalty);
  base.presence_penalty = presence_penalty.value_or(base.presence_penalty);
  base.frequency_penalty = frequency_penalty.value_or(base.frequency_penalty);
  base.logprobs = logprobs.value_or(base.logprobs);
  if (seed) base.seed = seed;
  if (!logit_bias.empty()) base.logit_bias = logit_bias;
  return base;
}

SamplingParams default_sampling(const GenerationConfig& config, bool thinking) {
  SamplingParams params;
  params.temperature = config.temperature.value_or(thinking ? 0.6 : 0.7);
  params.top_p = config.top_p.value_or(thinking ? 0.95 : 0.8);
  params.top_k = std::max(config.top_k.value_or(20), 0);  // files say -1 for off, too
  params.min_p = config.min_p.value_or(0);
  params.repetition_penalty = config.repetition_penalty.value_or(1);
  params.presence_penalty = config.presence_penalty.value_or(0);
  params.frequency_penalty = config.frequency_penalty.value_or(0);
  if (config.do_sample == false) params.temperature = 0;
  return params;
}

}  // namespace inkstone
