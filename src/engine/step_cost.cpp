#include "engine/step_cost.h"

#include <cmath>

namespace inkstone {

WeightBytes weight_bytes(const ModelConfig& config, const std::vector<std::pair<std::string_view, double>>& tensors) {
  WeightBytes sum;
  for (const auto& [name, bytes] : tensors) {
    if (name.starts_with("model.embed_tokens.")) {
      sum.row += bytes / config.vocab_size;
      if (config.tie_word_embeddings) sum.head += bytes;
    } else if (name.starts_with("lm_head.")) {
      if (!config.tie_word_embeddings) sum.head += bytes;  // a tied model's copy is not read
    } else if (name.find(".switch_mlp.") != name.npos || name.find(".mlp.experts.") != name.npos) {
      sum.experts += bytes;
    } else {
      sum.layers += bytes;
    }
  }
  return sum;
}

double expected_experts(int experts, int used, int tokens) {
  return experts * (1 - std::pow(1 - static_cast<double>(used) / experts, tokens));
}

Cost step_cost(const ModelConfig& config, const WeightBytes& weights, double kv_bytes, const Batch& batch) {
  const double hidden = config.hidden_size, tokens = batch.size();
  const double logit_rows = static_cast<double>(batch.logit_rows.size());
  const double query_width = static_cast<double>(config.num_attention_heads) * config.head_dim;
  const double key_width = static_cast<double>(config.num_key_value_heads) * config.head_dim;
  double met = 0;  // weights of the layers that one token meets
  for (int i = 0; i < config.num_hidden_layers; ++i) {
    met += 2 * hidden * (query_width + key_width);
    met += config.is_moe_layer(i)
               ? hidden * (config.num_experts + 3.0 * config.num_experts_per_tok * config.moe_intermediate_size)
               : 3 * hidden * config.intermediate_size;
  }
  double past = 0, pairs = 0;
  for (const Span& span : batch.spans) {
    const double rows = span.rows, length = span.kv_length;
    past += length;
    pairs += rows * (length - rows) + rows * (rows + 1) / 2;
  }
  Cost cost;
  cost.bytes = weights.layers + weights.row * tokens + kv_bytes * past;
  if (config.num_experts > 0)
    cost.bytes += weights.experts / config.num_experts *
                  expected_experts(config.num_experts, config.num_experts_per_tok, batch.size());
  if (logit_rows > 0) cost.bytes += weights.head;
  cost.operations = 2 * met * tokens + 2 * hidden * config.vocab_size * logit_rows +
                    4 * query_width * pairs * config.num_hidden_layers;
  return cost;
}

}  // namespace inkstone
