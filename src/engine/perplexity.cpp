#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace inkstone {
namespace {

// Logits of one row, with what makes probabilities of them: p = exp(logit - log_sum).
struct Row {
  std::span<const float> logits;
  size_t top = 0;
  double log_sum = 0;

  explicit Row(std::span<const float> row) : logits(row) {
    top = static_cast<size_t>(std::ranges::max_element(row) - row.begin());
    double sum = 0;
    for (const float logit : row) sum += static_cast<double>(std::exp(logit - row[top]));
    log_sum = static_cast<double>(row[top]) + std::log(sum);
  }

  double nats(int32_t token) const { return log_sum - static_cast<double>(logits[static_cast<size_t>(token)]); }
};

// KL(p || q) = sum p (log p - log q). Never below zero but for rounding.
double divergence(const Row& p, const Row& q) {
  double sum = 0;
  for (size_t i = 0; i < p.logits.size(); ++i) {
    const double log_p = static_cast<double>(p.logits[i]) - p.log_sum;
    sum += static_cast<double>(std::exp(static_cast<float>(log_p))) *
           (log_p - (static_cast<double>(q.logits[i]) - q.log_sum));
  }
  return std::max(sum, 0.0);
}

// Reads what comes before the first row whose logits are wanted.
void read_before(Generator& model, const Passage& passage) {
  const std::span<const int32_t> tokens = passage.tokens;
  CHECK(passage.first >= 1 && static_cast<size_t>(passage.first) <= tokens.size());
  const int before = passage.first - 1;
  const int kept = model.keep_common(tokens, before);
  if (kept < before) model.next_logits(tokens.subspan(static_cast<size_t>(kept), static_cast<size_t>(before - kept)));
}

Divergence summary(std::vector<double>& values, int64_t same_top) {
  Divergence found;
  if (values.empty()) return found;
  for (const double value : values) found.mean += value / static_cast<double>(values.size());
  const auto at = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) * 99 / 100);
  std::nth_element(values.begin(), at, values.end());
  found.p99 = *at;
  found.most = *std::max_element(at, values.end());
  found.same_top = static_cast<double>(same_top) / static_cast<double>(values.size());
  return found;
}

}  // namespace

double TextScore::perplexity() const { return std::exp(mean()); }

std::vector<Passage> passages_of(const Tokenizer& tokenizer, std::string_view text, int window) {
  CHECK(window >= 2);
  const std::vector<int32_t> tokens = tokenizer.encode_plain(text);
  std::vector<Passage> passages;
  for (size_t begin = 0; begin + 1 < tokens.size(); begin += static_cast<size_t>(window)) {
    const size_t end = std::min(begin + static_cast<size_t>(window), tokens.size());
    passages.push_back(
        {{tokens.begin() + static_cast<std::ptrdiff_t>(begin), tokens.begin() + static_cast<std::ptrdiff_t>(end)}});
  }
  return passages;
}

PassagesScore score_passages(Generator& model, Generator* reference, std::span<const Passage> passages,
                             const std::function<bool(size_t done)>& on_passage) {
  PassagesScore score;
  TextScore other;
  std::vector<double> divergences;
  int64_t same_top = 0;
  if (reference != nullptr && reference->vocab_size() != model.vocab_size())
    fail(Errc::usage, "reference: found a vocabulary of {}, expected the model's of {}", reference->vocab_size(),
         model.vocab_size());
  const size_t vocab = static_cast<size_t>(model.vocab_size()), chunk = static_cast<size_t>(model.score_chunk());
  for (size_t done = 0; done < passages.size(); ++done) {
    const Passage& passage = passages[done];
    read_before(model, passage);
    if (reference != nullptr) read_before(*reference, passage);
    const std::span<const int32_t> tokens = passage.tokens;
    const size_t last = tokens.size() - 1;  // it predicts nothing
    for (size_t begin = static_cast<size_t>(passage.first) - 1; begin < last; begin += chunk) {
      const size_t count = std::min(chunk, last - begin);
      const auto read = tokens.subspan(begin, count);
      const std::span<const float> found = model.score_next(read);
      const std::span<const float> expected = reference != nullptr ? reference->score_next(read) : found;
      for (size_t row = 0; row < count; ++row) {
        const int32_t next = tokens[begin + row + 1];
        const Row q(found.subspan(row * vocab, vocab));
        score.model.nats += q.nats(next);
        ++score.model.tokens;
        if (reference == nullptr) continue;
        const Row p(expected.subspan(row * vocab, vocab));
        other.nats += p.nats(next);
        ++other.tokens;
        divergences.push_back(divergence(p, q));
        if (p.top == q.top) ++same_top;
      }
    }
    if (on_passage && !on_passage(done + 1)) fail(Errc::interrupted, "interrupted");
  }
  if (reference == nullptr) return score;
  score.reference = other;
  score.divergence = summary(divergences, same_top);
  return score;
}

double continuation_log_probability(Generator& model, const Passage& passage) {
  const TextScore score = score_passages(model, nullptr, std::span(&passage, 1), {}).model;
  return -score.nats;
}

}  // namespace inkstone
