// How probable a model finds texts, and how far its predictions are from another's: perplexity, Kullback-Leibler
// divergence, agreement on the most probable token.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/generator.h"
#include "text/tokenizer.h"

namespace inkstone {

struct Passage {
  std::vector<int32_t> tokens;
  int first = 1;  // tokens [first, end) are predicted from those before them; at least 1
};

// A text in passages of `window` tokens, the last one shorter, each read without those before, as mlx_lm.perplexity
// does: its first token is not predicted. What looks like a special token is text.
std::vector<Passage> passages_of(const Tokenizer& tokenizer, std::string_view text, int window);

struct TextScore {
  int64_t tokens = 0;  // predicted
  double nats = 0;     // sum of -log p

  double mean() const { return tokens > 0 ? nats / static_cast<double>(tokens) : 0; }
  double perplexity() const;  // exp(mean())
};

// Of the model's predictions from the reference's, at the same tokens.
struct Divergence {
  double mean = 0;  // of KL(reference || model), in nats
  double p99 = 0;   // 99 of 100 tokens have less
  double most = 0;
  double same_top = 0;  // share of the tokens at which both find the same one most probable
};

struct PassagesScore {
  TextScore model;
  std::optional<TextScore> reference;
  std::optional<Divergence> divergence;
};

// `reference` may be null. `on_passage` is called after each; a false ends it with Error(interrupted). Throws
// Error(usage) where the two models' vocabularies differ in size, Error(context_length) for a passage beyond a context.
PassagesScore score_passages(Generator& model, Generator* reference, std::span<const Passage> passages,
                             const std::function<bool(size_t done)>& on_passage);

// log p of tokens [first, end) of the passage, summed: how probable a continuation is.
double continuation_log_probability(Generator& model, const Passage& passage);

}  // namespace inkstone
