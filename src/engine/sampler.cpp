#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "base/error.h"

namespace inkstone {
namespace {

bool more_probable(const TokenLogprob& a, const TokenLogprob& b) {
  return a.logprob > b.logprob || (a.logprob == b.logprob && a.token < b.token);
}

std::span<const int32_t> last(std::span<const int32_t> history, int count) {
  return history.last(std::min(history.size(), static_cast<size_t>(std::max(count, 0))));
}

uint64_t new_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

uint64_t rotate_left(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

// A vocabulary is walked in blocks of vectors: GCC's and clang's vector types, which every machine has in some width.
constexpr size_t kBlock = 64;
using F4 = float __attribute__((vector_size(16)));
using I4 = int32_t __attribute__((vector_size(16)));
constexpr size_t kVectors = kBlock / 4;

F4 all(float value) { return F4{value, value, value, value}; }

// e^x for x <= 0, within 2 ulp; 0 below e^-87, near the smallest normal number. Ours, not the C library's: it takes
// four at once, and gives the same bits on every platform, so that a seed means the same draws.
// x = n ln2 + f with |f| <= ln2 / 2 (ln2 in two parts: n times the first is exact), e^f by its Taylor series.
inline F4 exp_negative(F4 x) {
  const F4 clamped = x < all(-87) ? all(-87) : x;  // NaN stays NaN
  const F4 round = all(0x1.8p23f);                 // adding it leaves x / ln2, rounded, in the low bits
  const F4 shifted = clamped * all(0x1.715476p0f) + round;
  const F4 n = shifted - round;
  const F4 f = clamped - n * all(0x1.62e4p-1f) - n * all(0x1.7f7d1cp-20f);
  F4 power = all(1.0f / 5040);
  for (const float coefficient : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    power = power * f + all(coefficient);
  const I4 exponent = std::bit_cast<I4>(shifted) - std::bit_cast<I4>(round) + 127;
  const F4 result = power * std::bit_cast<F4>(exponent << 23);
  return x < all(-87) ? all(0) : result;
}

// The logits of block `block`, filled up with -infinity.
struct Block {
  F4 values[kVectors];

  Block(std::span<const float> logits, size_t block) {
    const size_t size = std::min(kBlock, logits.size() - block * kBlock);
    if (size < kBlock) std::ranges::fill(values, all(-std::numeric_limits<float>::infinity()));
    std::memcpy(values, logits.data() + block * kBlock, size * sizeof(float));
  }
  float value(size_t i) const { return values[i / 4][i % 4]; }
  float highest() const {
    F4 highest = values[0];
    for (const F4& v : values) highest = v > highest ? v : highest;
    return std::max(std::max(highest[0], highest[1]), std::max(highest[2], highest[3]));
  }
  // Replaces each by e^((value - highest) * inverse_temperature) and returns their sum.
  double exponentiate(float highest, float inverse_temperature) {
    F4 sum = all(0);
    for (F4& v : values) sum += v = exp_negative((v - all(highest)) * all(inverse_temperature));
    return (static_cast<double>(sum[0]) + static_cast<double>(sum[1])) +
           (static_cast<double>(sum[2]) + static_cast<double>(sum[3]));
  }
};

size_t block_count(size_t size) { return (size + kBlock - 1) / kBlock; }

std::vector<float> highest_of_blocks(std::span<const float> logits) {
  std::vector<float> highest(block_count(logits.size()));
  for (size_t block = 0; block < highest.size(); ++block) highest[block] = Block(logits, block).highest();
  return highest;
}

float highest_of(const std::vector<float>& values) { return *std::ranges::max_element(values); }

// Draws from the whole vocabulary: no order is needed, so none is made. `u` in [0, 1).
int32_t draw_from_all(std::span<const float> logits, double temperature, double u) {
  const float highest = highest_of(highest_of_blocks(logits));
  const float inverse = static_cast<float>(1 / std::max(temperature, 1e-30));
  std::vector<double> sums;  // of the blocks so far
  double sum = 0;
  for (size_t block = 0; block < block_count(logits.size()); ++block)
    sums.push_back(sum += Block(logits, block).exponentiate(highest, inverse));
  const double target = u * sum;
  const size_t found =
      std::min(static_cast<size_t>(std::ranges::upper_bound(sums, target) - sums.begin()), sums.size() - 1);
  Block weights(logits, found);
  weights.exponentiate(highest, inverse);
  double above = found == 0 ? 0 : sums[found - 1];
  // Where rounding lets the walk miss its end, the last token that can be drawn is it.
  size_t token = found * kBlock;
  for (size_t i = token; i < std::min((found + 1) * kBlock, logits.size()); ++i) {
    if (weights.value(i % kBlock) == 0) continue;
    token = i;
    if ((above += static_cast<double>(weights.value(i % kBlock))) > target) break;
  }
  return static_cast<int32_t>(token);
}

}  // namespace

void apply_penalties(const SamplingParams& params, std::span<const int32_t> history, std::span<float> logits) {
  const auto known = [&](int32_t token) { return token >= 0 && static_cast<size_t>(token) < logits.size(); };
  for (const auto& [token, bias] : params.logit_bias)
    if (known(token)) logits[static_cast<size_t>(token)] += bias;

  // Tokens of the history's end, each once.
  const auto distinct = [&](int count) {
    const auto tail = last(history, count);
    std::vector<int32_t> tokens;
    std::ranges::copy_if(tail, std::back_inserter(tokens), known);
    std::ranges::sort(tokens);
    tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
    return tokens;
  };
  if (params.repetition_penalty != 1) {
    const float penalty = static_cast<float>(params.repetition_penalty);
    for (const int32_t token : distinct(params.repetition_context_size)) {
      float& logit = logits[static_cast<size_t>(token)];
      logit = logit < 0 ? logit * penalty : logit / penalty;
    }
  }
  if (params.presence_penalty != 0)
    for (const int32_t token : distinct(params.presence_context_size))
      logits[static_cast<size_t>(token)] -= static_cast<float>(params.presence_penalty);
  if (params.frequency_penalty != 0)
    for (const int32_t token : last(history, params.frequency_context_size))
      if (known(token)) logits[static_cast<size_t>(token)] -= static_cast<float>(params.frequency_penalty);
}

double log_sum_exp(std::span<const float> logits) {
  const float highest = highest_of(highest_of_blocks(logits));
  double sum = 0;
  for (size_t block = 0; block < block_count(logits.size()); ++block)
    sum += Block(logits, block).exponentiate(highest, 1);
  // Also where every logit is -infinity, or one is infinite: their differences are not numbers.
  if (!std::isfinite(sum))
    fail(Errc::bad_file, "logits: found NaN or infinity, expected numbers: the model's weights are damaged");
  return highest + std::log(sum);
}

Candidates top_candidates(std::span<const float> logits, double offset, size_t n) {
  n = std::min(n, logits.size());
  if (n == 0) return {};
  // The n-th highest of the blocks' highest is a bound: n blocks have something at or above it.
  const std::vector<float> highest = highest_of_blocks(logits);
  float bound = -std::numeric_limits<float>::infinity();
  if (n <= highest.size()) {
    std::vector<float> sorted = highest;
    const auto nth = sorted.begin() + static_cast<std::ptrdiff_t>(n - 1);
    std::ranges::nth_element(sorted, nth, std::greater<>());
    bound = *nth;
  }
  Candidates candidates;
  for (size_t block = 0; block < highest.size(); ++block) {
    if (highest[block] < bound) continue;
    for (size_t i = block * kBlock; i < std::min((block + 1) * kBlock, logits.size()); ++i)
      if (logits[i] >= bound) candidates.push_back({static_cast<int32_t>(i), logits[i]});
  }
  const auto end = candidates.begin() + static_cast<std::ptrdiff_t>(n);
  std::ranges::nth_element(candidates, end, more_probable);
  candidates.erase(end, candidates.end());
  std::ranges::sort(candidates, more_probable);
  for (TokenLogprob& candidate : candidates) candidate.logprob = static_cast<float>(candidate.logprob - offset);
  return candidates;
}

void keep_top_p(double top_p, Candidates& candidates) {
  // The reference sums from the least probable and keeps what lies above 1 - top_p: the same set.
  double above = 0;
  size_t kept = 0;
  while (kept < candidates.size() && above < top_p) above += std::exp(static_cast<double>(candidates[kept++].logprob));
  candidates.resize(kept);
}

void keep_min_p(double min_p, int min_tokens_to_keep, Candidates& candidates) {
  if (candidates.empty()) return;
  const float least = candidates.front().logprob + static_cast<float>(std::log(min_p));
  size_t kept = std::min(static_cast<size_t>(min_tokens_to_keep), candidates.size());
  while (kept < candidates.size() && candidates[kept].logprob >= least) ++kept;
  candidates.resize(kept);
}

void keep_top_k(int top_k, Candidates& candidates) {
  candidates.resize(std::min(candidates.size(), static_cast<size_t>(top_k)));
}

void drop_xtc(double threshold, std::span<const int32_t> special_tokens, Candidates& candidates) {
  double total = 0;
  for (const TokenLogprob& candidate : candidates) total += std::exp(static_cast<double>(candidate.logprob));
  const auto is_above = [&](const TokenLogprob& candidate) {
    return std::exp(static_cast<double>(candidate.logprob)) / total > threshold;
  };
  const auto end = std::ranges::partition_point(candidates, is_above);  // candidates descend
  if (end == candidates.begin()) return;
  const float least = std::prev(end)->logprob;
  std::erase_if(candidates, [&](const TokenLogprob& candidate) {
    return candidate.logprob > least && std::ranges::count(special_tokens, candidate.token) == 0;
  });
}

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) {  // splitmix64
    seed += 0x9e3779b97f4a7c15u;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    word = z ^ (z >> 31);
  }
}

uint64_t Random::next() {
  const uint64_t result = rotate_left(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = rotate_left(state_[3], 45);
  return result;
}

Sampler::Sampler(const SamplingParams& params) : params_(params), random_(params.seed ? *params.seed : new_seed()) {}

Sampled Sampler::next(std::span<float> logits, std::span<const int32_t> history) {
  CHECK(!logits.empty());
  apply_penalties(params_, history, logits);
  const double offset = log_sum_exp(logits);
  Sampled sampled;
  const bool nucleus = params_.top_p > 0 && params_.top_p < 1;
  if (params_.temperature == 0)
    sampled.token = top_candidates(logits, offset, 1).front().token;
  else if (!nucleus && params_.min_p == 0 && params_.top_k == 0 && params_.xtc_probability == 0)
    sampled.token = draw_from_all(logits, params_.temperature, random_.uniform());
  else
    sampled.token = draw(kept(logits, offset));
  sampled.logprob = static_cast<float>(logits[static_cast<size_t>(sampled.token)] - offset);
  if (params_.logprobs > 0) sampled.top = top_candidates(logits, offset, static_cast<size_t>(params_.logprobs));
  return sampled;
}

// The tokens that may be drawn. top_p, min_p and top_k each keep a prefix of the descending order, so a short prefix
// usually settles all of them; XTC and a plain draw need every token.
Candidates Sampler::kept(std::span<const float> logits, double offset) {
  constexpr size_t kFirst = 64;
  const bool xtc = params_.xtc_probability > 0 && random_.uniform() <= params_.xtc_probability;
  const bool nucleus = params_.top_p > 0 && params_.top_p < 1;
  size_t n = logits.size();
  if (!xtc && params_.top_k > 0) n = std::min(n, static_cast<size_t>(params_.top_k));
  Candidates candidates;
  if (nucleus || params_.min_p > 0) {
    for (size_t size = std::min(n, kFirst);; size = std::min(n, size * 8)) {
      candidates = top_candidates(logits, offset, size);
      const size_t found = candidates.size();
      if (nucleus) keep_top_p(params_.top_p, candidates);
      if (params_.min_p > 0) keep_min_p(params_.min_p, params_.min_tokens_to_keep, candidates);
      if (candidates.size() < found || found == n) break;
    }
  } else {
    candidates = top_candidates(logits, offset, n);
  }
  if (xtc) drop_xtc(params_.xtc_threshold, params_.xtc_special_tokens, candidates);
  if (params_.top_k > 0) keep_top_k(params_.top_k, candidates);
  return candidates;
}

int32_t Sampler::draw(const Candidates& candidates) {
  CHECK(!candidates.empty());
  std::vector<double> cumulative;
  cumulative.reserve(candidates.size());
  double sum = 0;
  const double highest = candidates.front().logprob;
  for (const TokenLogprob& candidate : candidates)
    cumulative.push_back(sum += std::exp((candidate.logprob - highest) / params_.temperature));
  const auto it = std::ranges::upper_bound(cumulative, random_.uniform() * sum);
  const size_t index = std::min(static_cast<size_t>(it - cumulative.begin()), candidates.size() - 1);
  return candidates[index].token;
}

}  // namespace inkstone
