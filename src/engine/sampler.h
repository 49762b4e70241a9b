// Sampler: logits -> token. One generation, one thread. The same seed gives the same draws on every platform.
// The stages are functions of their own, so that each is tested against the reference's figures.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/sampling_params.h"

namespace inkstone {

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;
};

struct Sampled {
  int32_t token = 0;
  std::optional<float> logprob;   // of the token, penalties applied, at temperature 1; absent when nobody drew it
  std::vector<TokenLogprob> top;  // the most probable ones, as many as SamplingParams::logprobs
};

// Candidates are a descending prefix of the distribution (ties: the lower id first).
using Candidates = std::vector<TokenLogprob>;

// Bias and penalties, in place. `history`: the prompt and what was generated; tokens outside the vocabulary are
// ignored.
void apply_penalties(const SamplingParams& params, std::span<const int32_t> history, std::span<float> logits);

// log(sum(exp(logits))), in double.
double log_sum_exp(std::span<const float> logits);

// The n most probable (all, if n is larger), with logits shifted by -offset.
Candidates top_candidates(std::span<const float> logits, double offset, size_t n);

// The candidates must hold all tokens that the stage keeps; log-probabilities are not renormalised.
void keep_top_p(double top_p, Candidates& candidates);
void keep_min_p(double min_p, int min_tokens_to_keep, Candidates& candidates);
void keep_top_k(int top_k, Candidates& candidates);
// Drops all but the least probable of the candidates above the threshold. REQUIRES: all tokens that are left.
void drop_xtc(double threshold, std::span<const int32_t> special_tokens, Candidates& candidates);

// xoshiro256** (Blackman and Vigna 2018, "Scrambled linear pseudorandom number generators"), seeded by splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t next();
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }  // [0, 1)

 private:
  std::array<uint64_t, 4> state_;
};

class Sampler {
 public:
  // REQUIRES: params.validate() passed
  explicit Sampler(const SamplingParams& params);

  // Draws the next token. `logits` [V] is scratch afterwards.
  Sampled next(std::span<float> logits, std::span<const int32_t> history);

  // The tokens that next() would draw from, most probable first. Draws a random number if XTC may strike.
  Candidates candidates(std::span<const float> logits) { return kept(logits, log_sum_exp(logits)); }

 private:
  Candidates kept(std::span<const float> logits, double offset);
  int32_t draw(const Candidates& candidates);

  SamplingParams params_;
  Random random_;
};

}  // namespace inkstone
