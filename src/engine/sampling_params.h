// How the next token is drawn. Order, as in the reference (mlx_lm): logit bias, repetition, presence and frequency
// penalties on the logits; then top_p, min_p, XTC and top_k on the probabilities at temperature 1; temperature last.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "format/generation_config.h"

namespace inkstone {

struct SamplingParams {
  double temperature = 0;      // 0: the most probable token
  double top_p = 1;            // smallest set of tokens whose probabilities reach this; 0 or 1: off
  double min_p = 0;            // tokens at least this probable relative to the most probable; 0: off
  int min_tokens_to_keep = 1;  // min_p leaves at least these
  int top_k = 0;               // 0: off

  double xtc_probability = 0;  // chance that all but the least of the tokens above the threshold are dropped
  double xtc_threshold = 0;
  std::vector<int32_t> xtc_special_tokens;  // never dropped by XTC

  double repetition_penalty = 1;     // logits of tokens in the history: divided if positive, multiplied if negative
  double presence_penalty = 0;       // subtracted once for each token in the history
  double frequency_penalty = 0;      // subtracted for each occurrence
  int repetition_context_size = 20;  // tokens of history that each penalty looks at
  int presence_context_size = 20;
  int frequency_context_size = 20;
  std::map<int32_t, float> logit_bias;

  std::optional<uint64_t> seed;  // absent: a new one each time
  int logprobs = 0;              // log-probabilities of so many most probable tokens are reported

  // Throws Error(usage) naming the field, what was found and what was expected.
  void validate() const;
};

// What a caller gave; the rest stays as it was.
struct SamplingOverrides {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int> top_k, logprobs;
  std::optional<uint64_t> seed;
  std::map<int32_t, float> logit_bias;

  SamplingParams over(SamplingParams base) const;
};

// What to sample with when the caller says nothing: the model's generation_config.json; where that is silent,
// Qwen3's recommendation for the mode: thinking T 0.6, top_p 0.95, top_k 20; else T 0.7, top_p 0.8, top_k 20.
SamplingParams default_sampling(const GenerationConfig& config, bool thinking);

}  // namespace inkstone
