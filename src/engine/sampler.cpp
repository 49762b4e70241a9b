#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
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
  const float highest = *std::ranges::max_element(logits);
  // Terms below e^-40 cannot change a double's first sixteen digits even if the whole vocabulary is made of them.
  const float negligible = highest - 40;
  double sum = 0;
  for (const float logit : logits)
    if (logit > negligible) sum += std::exp(logit - highest);
  return highest + std::log(sum);
}

Candidates top_candidates(std::span<const float> logits, double offset, size_t n) {
  n = std::min(n, logits.size());
  Candidates heap;  // its front is the least probable of the best so far
  heap.reserve(n + 1);
  for (size_t i = 0; i < logits.size(); ++i) {
    if (heap.size() == n && !(logits[i] > heap.front().logprob)) continue;
    heap.push_back({static_cast<int32_t>(i), logits[i]});
    std::ranges::push_heap(heap, more_probable);
    if (heap.size() > n) {
      std::ranges::pop_heap(heap, more_probable);
      heap.pop_back();
    }
  }
  std::ranges::sort(heap, more_probable);
  for (TokenLogprob& candidate : heap) candidate.logprob = static_cast<float>(candidate.logprob - offset);
  return heap;
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
  if (params_.temperature == 0)
    sampled.token = static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
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
