// Perplexity and divergence of every checkpoint under models/, against the reference's logits, and from the cache.
#include <cmath>

#include "engine/perplexity.h"
#include "tests/golden/golden_data.h"

namespace inkstone {
namespace {

// -log p of each next token, from the reference's logits [T, V] in double precision.
std::vector<double> expected_nats(std::span<const float> logits, std::span<const int32_t> tokens) {
  const size_t vocab = logits.size() / tokens.size();
  std::vector<double> nats;
  for (size_t row = 0; row + 1 < tokens.size(); ++row) {
    double sum = 0;
    for (const float logit : logits.subspan(row * vocab, vocab)) sum += std::exp(static_cast<double>(logit));
    nats.push_back(std::log(sum) - static_cast<double>(logits[row * vocab + static_cast<size_t>(tokens[row + 1])]));
  }
  return nats;
}

double sum_from(const std::vector<double>& nats, int first) {
  double sum = 0;
  for (size_t i = static_cast<size_t>(first) - 1; i < nats.size(); ++i) sum += nats[i];
  return sum;
}

void check_perplexity(const std::filesystem::path& folder) {
  const Json golden = read_json(folder / "golden.json");
  const Safetensors data(folder / "golden.safetensors");
  GoldenModel opened(folder, Precision::f32, "");
  Generator generator(*opened.model, 512), other(*opened.model, 512);
  int checked = 0;
  for (const auto& [name, list] : golden.find("sequences")->as_object()) {
    const std::vector<int32_t> tokens = token_list(list);
    const std::vector<float> logits = golden_values(data, "f32.logits." + name);
    const size_t vocab = static_cast<size_t>(opened.config.vocab_size);
    if (tokens.size() < 3 || tokens.size() > 512 || logits.size() != tokens.size() * vocab) continue;
    SCOPED_TRACE(name);
    const std::vector<double> nats = expected_nats(logits, tokens);
    const int last = static_cast<int>(tokens.size()) - 1;
    for (const int first : {1, 2, last}) {  // the later ones find the tokens before in the cache
      const Passage passage{tokens, first};
      const double tolerance = 2 * static_cast<double>(kLogitTolerance) * (last + 1 - first);
      EXPECT_NEAR(-continuation_log_probability(generator, passage), sum_from(nats, first), tolerance) << first;
    }
    const Passage passages[] = {{tokens, 1}, {tokens, last}};
    const PassagesScore score = score_passages(generator, &other, passages, {});
    EXPECT_EQ(score.model.tokens, last + 1);
    EXPECT_NEAR(score.model.nats, sum_from(nats, 1) + nats.back(),
                2 * static_cast<double>(kLogitTolerance) * (last + 1));
    EXPECT_NEAR(score.reference->nats, score.model.nats, 1e-3);
    EXPECT_LT(score.divergence->most, 1e-6);  // from itself
    EXPECT_GT(score.divergence->same_top, 0.99);
    ++checked;
  }
  if (checked == 0) GTEST_SKIP() << "no sequence with all its logits";
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "models"))
    if (std::filesystem::exists(folder / "golden.json"))
      register_golden("Perplexity", folder.filename().string(), [=] { check_perplexity(folder); });
  skip_if_none("Perplexity", "models");
  return true;
}();

}  // namespace
}  // namespace inkstone
