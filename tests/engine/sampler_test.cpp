#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"

namespace inkstone {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Logits of about the shape a model gives: bell-shaped, a few well above the rest.
std::vector<float> some_logits(size_t size, uint64_t seed, double spread = 2.5) {
  Random random(seed);
  std::vector<float> logits(size);
  for (float& logit : logits) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += random.uniform();
    logit = static_cast<float>(sum * spread);
  }
  return logits;
}

double exact_log_sum_exp(const std::vector<float>& logits) {
  long double highest = *std::ranges::max_element(logits), sum = 0;
  for (const float logit : logits) sum += std::exp(logit - highest);
  return static_cast<double>(highest + std::log(sum));
}

Candidates sorted_all(const std::vector<float>& logits, double offset) {
  Candidates all;
  for (size_t i = 0; i < logits.size(); ++i)
    all.push_back({static_cast<int32_t>(i), static_cast<float>(logits[i] - offset)});
  std::ranges::stable_sort(all, [&](const TokenLogprob& a, const TokenLogprob& b) {
    return logits[static_cast<size_t>(a.token)] > logits[static_cast<size_t>(b.token)];
  });
  return all;
}

std::vector<int32_t> tokens_of(const Candidates& candidates) {
  std::vector<int32_t> tokens;
  for (const TokenLogprob& candidate : candidates) tokens.push_back(candidate.token);
  return tokens;
}

SamplingParams with(auto&& change) {
  SamplingParams params;
  params.temperature = 1;
  params.seed = 7;
  change(params);
  return params;
}

TEST(Sampler, LogSumExpIsExactAtAwkwardSizes) {
  for (const size_t size : {1, 2, 3, 63, 64, 65, 127, 1000, 151936})
    for (const double spread : {0.0, 0.1, 2.5, 30.0}) {
      const std::vector<float> logits = some_logits(size, size, spread);
      EXPECT_NEAR(log_sum_exp(logits), exact_log_sum_exp(logits), 1e-6) << size << " " << spread;
    }
}

TEST(Sampler, TopCandidatesAreTheSortedPrefixTiesIncluded) {
  for (const size_t size : {1, 5, 64, 65, 1000, 5000}) {
    std::vector<float> logits = some_logits(size, size);
    for (float& logit : logits) logit = std::round(logit * 4) / 4;  // many ties
    for (const size_t n : {size_t{0}, size_t{1}, size_t{2}, size_t{20}, size / 2, size, size + 9}) {
      Candidates expected = sorted_all(logits, 1.5);
      expected.resize(std::min(n, size));
      const Candidates found = top_candidates(logits, 1.5, n);
      ASSERT_EQ(tokens_of(found), tokens_of(expected)) << size << " " << n;
      for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].logprob, expected[i].logprob);
    }
  }
}

TEST(Sampler, GreedyTakesTheLowestOfEqualTokensAndReportsItsLogprob) {
  std::vector<float> logits = some_logits(300, 3);
  logits[200] = logits[130] = 50;
  Sampler sampler(SamplingParams{});
  const double total = exact_log_sum_exp(logits);
  const Sampled sampled = sampler.next(logits, {});
  EXPECT_EQ(sampled.token, 130);
  ASSERT_TRUE(sampled.logprob.has_value());
  EXPECT_NEAR(*sampled.logprob, 50 - total, 1e-5);
  EXPECT_TRUE(sampled.top.empty());
}

// A stage that looks at a prefix must keep what it keeps of the whole vocabulary: flat and peaked distributions.
TEST(Sampler, OnlyTokensOfTheNucleusAreDrawnAndAllOfThem) {
  for (const double spread : {0.05, 1.0, 2.5}) {
    const std::vector<float> logits = some_logits(150, 11, spread);
    Candidates nucleus = sorted_all(logits, exact_log_sum_exp(logits));
    double above = 0;
    size_t kept = 0;
    while (above < 0.5) above += std::exp(static_cast<double>(nucleus[kept++].logprob));
    nucleus.resize(kept);
    const std::vector<int32_t> expected = tokens_of(nucleus);
    Sampler sampler(with([](SamplingParams& p) { p.top_p = 0.5; }));
    std::set<int32_t> drawn;
    for (int i = 0; i < 3000; ++i) {
      std::vector<float> scratch = logits;
      drawn.insert(sampler.next(scratch, {}).token);
    }
    for (const int32_t token : drawn) EXPECT_EQ(std::ranges::count(expected, token), 1) << token;
    EXPECT_GE(drawn.size(), expected.size() * 95 / 100) << spread;
  }
}

// Drawing frequencies follow the distribution: chi-squared over 8 tokens, 99.99 % quantile of 7 degrees of freedom.
void expect_frequencies(const SamplingParams& params, const std::vector<float>& logits,
                        const std::vector<double>& probabilities) {
  constexpr int kDraws = 40000;
  Sampler sampler(params);
  std::vector<int> counts(logits.size());
  for (int i = 0; i < kDraws; ++i) {
    std::vector<float> scratch = logits;
    ++counts[static_cast<size_t>(sampler.next(scratch, {}).token)];
  }
  double chi_squared = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double expected = kDraws * probabilities[i];
    if (expected == 0) {
      EXPECT_EQ(counts[i], 0) << i;
      continue;
    }
    chi_squared += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_squared, 29.9);
}

std::vector<double> softmax(const std::vector<float>& logits, double temperature, size_t kept) {
  const Candidates order = sorted_all(logits, 0);
  std::vector<double> probabilities(logits.size());
  double sum = 0;
  for (size_t i = 0; i < kept; ++i) {
    const size_t token = static_cast<size_t>(order[i].token);
    sum += probabilities[token] = std::exp(static_cast<double>(logits[token]) / temperature);
  }
  for (double& probability : probabilities) probability /= sum;
  return probabilities;
}

TEST(Sampler, DrawsFollowTheTemperedDistribution) {
  const std::vector<float> logits = {1.0f, 0.5f, -kInfinity, 2.0f, 0.0f, 1.5f, -1.0f, 0.25f};
  for (const double temperature : {0.7, 1.0, 1.8}) {
    expect_frequencies(with([&](SamplingParams& p) { p.temperature = temperature; }), logits,
                       softmax(logits, temperature, 7));
    expect_frequencies(with([&](SamplingParams& p) { p.temperature = temperature, p.top_k = 4; }), logits,
                       softmax(logits, temperature, 4));
  }
}

TEST(Sampler, MaskedTokensAreNeverDrawn) {
  std::vector<float> logits(1000, -kInfinity);
  logits[70] = 1;
  logits[999] = 1;
  for (const int top_k : {0, 1, 20, 2000}) {
    Sampler sampler(with([&](SamplingParams& p) { p.top_k = top_k; }));
    for (int i = 0; i < 200; ++i) {
      std::vector<float> scratch = logits;
      const int32_t token = sampler.next(scratch, {}).token;
      EXPECT_TRUE(token == 70 || (token == 999 && top_k != 1)) << token;
    }
  }
}

TEST(Sampler, TheSameSeedGivesTheSameDraws) {
  const std::vector<float> logits = some_logits(500, 1);
  const auto draws = [&](uint64_t seed, double top_p) {
    Sampler sampler(with([&](SamplingParams& p) { p.seed = seed, p.top_p = top_p; }));
    std::vector<int32_t> tokens;
    for (int i = 0; i < 32; ++i) {
      std::vector<float> scratch = logits;
      tokens.push_back(sampler.next(scratch, {}).token);
    }
    return tokens;
  };
  for (const double top_p : {0.9, 1.0}) {
    EXPECT_EQ(draws(1, top_p), draws(1, top_p));
    EXPECT_NE(draws(1, top_p), draws(2, top_p));
  }
}

// Published first outputs of splitmix64 from 0 seed the state, so these hold on every platform and for ever.
TEST(Sampler, RandomIsXoshiroSeededBySplitmix) {
  const auto rotated = [](uint64_t x, int k) { return (x << k) | (x >> (64 - k)); };
  const uint64_t second_word = 0x6e789e6aa1b965f4u;  // splitmix64(0): e220a8397b1dcdaf, 6e789e6aa1b965f4, ...
  Random random(0);
  EXPECT_EQ(random.next(), rotated(second_word * 5, 7) * 9);
  for (int i = 0; i < 1000; ++i) {
    const double u = random.uniform();
    EXPECT_TRUE(u >= 0 && u < 1);
  }
}

TEST(Sampler, TinyTemperaturesAreGreedy) {
  const std::vector<float> logits = some_logits(200, 9);
  const auto best = static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
  for (const double temperature : {1e-3, 1e-20, 1e-300})
    for (const int top_k : {0, 20}) {
      Sampler sampler(with([&](SamplingParams& p) { p.temperature = temperature, p.top_k = top_k; }));
      std::vector<float> scratch = logits;
      EXPECT_EQ(sampler.next(scratch, {}).token, best) << temperature;
    }
}

TEST(Sampler, TopLogprobsDescendFromTheUntemperedDistribution) {
  const std::vector<float> logits = some_logits(400, 5);
  const Candidates expected = sorted_all(logits, exact_log_sum_exp(logits));
  Sampler sampler(with([](SamplingParams& p) { p.temperature = 0.3, p.logprobs = 5, p.top_k = 2; }));
  std::vector<float> scratch = logits;
  const Sampled sampled = sampler.next(scratch, {});
  ASSERT_EQ(sampled.top.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(sampled.top[i].token, expected[i].token);
    EXPECT_NEAR(sampled.top[i].logprob, expected[i].logprob, 1e-5);
  }
}

TEST(Sampler, PenaltiesSeeOnlyTheirContextAndPassOverForeignTokens) {
  const std::vector<int32_t> history = {1, 2, 3, 3, -1, 99};
  std::vector<float> logits = {0, 1, 1, -1, 0};
  const SamplingParams params = with([](SamplingParams& p) {
    p.repetition_penalty = 2, p.repetition_context_size = 4;
    p.presence_penalty = 0.5, p.presence_context_size = 5;
    p.frequency_penalty = 0.25, p.frequency_context_size = 6;
    p.logit_bias = {{4, 3.0f}, {77, 1.0f}};
  });
  apply_penalties(params, history, logits);
  EXPECT_EQ(logits, (std::vector<float>{0, 0.75f, 0.25f, -3.0f, 3.0f}));
}

TEST(Sampler, RefusesLogitsThatAreNoNumbers) {
  for (const float bad : {kNaN, kInfinity})
    for (const size_t at : {size_t{0}, size_t{63}, size_t{64}, size_t{299}})
      for (const double temperature : {0.0, 0.6}) {
        std::vector<float> logits = some_logits(300, 2);
        logits[at] = bad;
        Sampler sampler(with([&](SamplingParams& p) { p.temperature = temperature, p.top_p = 0.9; }));
        EXPECT_THROW(sampler.next(logits, {}), Error) << bad << " at " << at;
      }
  std::vector<float> nothing_left(300, -kInfinity);
  EXPECT_THROW(Sampler(SamplingParams{}).next(nothing_left, {}), Error);
}

TEST(SamplingParams, ValidateNamesTheField) {
  const auto message = [](auto&& change) -> std::string {
    try {
      with(change).validate();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::usage);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(message([](SamplingParams&) {}), "accepted");
  EXPECT_NE(message([](SamplingParams& p) { p.temperature = -1; }).find("temperature: found -1"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.temperature = kNaN; }).find("temperature"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.top_p = 1.5; }).find("top_p: found 1.5"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.min_p = -0.1; }).find("min_p"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.top_k = -1; }).find("top_k"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.xtc_threshold = 0.6; }).find("xtc_threshold"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.repetition_penalty = 0; }).find("repetition_penalty"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.logit_bias = {{1, kNaN}}; }).find("logit_bias"), std::string::npos);
  EXPECT_NE(message([](SamplingParams& p) { p.logprobs = -1; }).find("logprobs"), std::string::npos);
}

TEST(SamplingParams, DefaultsFollowTheFileThenTheMode) {
  const SamplingParams thinking = default_sampling({}, true), plain = default_sampling({}, false);
  EXPECT_EQ(thinking.temperature, 0.6);
  EXPECT_EQ(thinking.top_p, 0.95);
  EXPECT_EQ(thinking.top_k, 20);
  EXPECT_EQ(plain.temperature, 0.7);
  EXPECT_EQ(plain.top_p, 0.8);
  EXPECT_EQ(plain.top_k, 20);
  GenerationConfig config;
  config.top_p = 0.5;
  config.do_sample = false;
  EXPECT_EQ(default_sampling(config, true).top_p, 0.5);
  EXPECT_EQ(default_sampling(config, true).temperature, 0);
}

}  // namespace
}  // namespace inkstone
