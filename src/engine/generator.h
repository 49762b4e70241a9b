// Generator: one conversation on a model. It keeps the KV cache from call to call and reads again only what changed:
// the next prompt is compared with the tokens in the cache and goes on from the first that differs.
// One call at a time.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/sampler.h"
#include "engine/sequence.h"
#include "engine/thinking_budget.h"
#include "format/prompt_cache.h"
#include "model/model.h"

namespace inkstone {

struct GenerationRequest {
  std::vector<int32_t> prompt;  // not empty
  SamplingParams sampling;
  std::optional<int> max_tokens;       // absent: up to the context
  std::vector<int32_t> stop_tokens;    // end-of-sequence ids
  ThinkingBudget* thinking = nullptr;  // counts, and forces the end of thinking; must outlive the call
};

// Every callback may be empty. A true from cancelled ends the generation before the next chunk or token.
struct GenerationCallbacks {
  std::function<void(int done, int total)> on_prompt;  // tokens of the prompt in the cache so far
  std::function<void(const Sampled&)> on_token;        // every token of the answer, the stop token excepted
  std::function<bool()> cancelled;
};

enum class FinishReason { stop, length, cancelled };
const char* finish_reason_name(FinishReason reason);  // "stop", "length", "cancelled"

struct GenerationResult {
  std::vector<int32_t> tokens;  // without the stop token
  FinishReason finish = FinishReason::stop;
  int prompt_tokens = 0;
  int cached_tokens = 0;      // of the prompt, found in the cache
  int decode_steps = 0;       // forward passes of one token
  double prompt_seconds = 0;  // until the first token's logits
  double decode_seconds = 0;  // from there
};

class Generator {
 public:
  // Rows a prompt is read in at a time: enough to keep a matrix unit busy, few enough to bound the activations.
  static constexpr int kChunkTokens = 512;

  // Room for `context_size` tokens. Throws Error(out_of_memory).
  Generator(Model& model, int context_size);

  int context_size() const { return context_size_; }
  int vocab_size() const { return model_.config().vocab_size; }
  // Forgets the conversation.
  void clear() { sequence_.truncate(0); }

  // Throws Error(context_length) when the prompt leaves no room for an answer. The prompt is never cut.
  GenerationResult generate(const GenerationRequest& request, const GenerationCallbacks& callbacks = {});

  // Logits of every row of `tokens`, read afresh: [T, V] row-major. For goldens and evaluation.
  std::vector<float> score(std::span<const int32_t> tokens);

  // Reads `tokens` on top of what the cache holds, without drawing; the logits [V] after the last.
  std::vector<float> next_logits(std::span<const int32_t> tokens);

  // The same for at most score_chunk() tokens, with the logits of each: [T, V], valid until the next call.
  std::span<const float> score_next(std::span<const int32_t> tokens);
  int score_chunk() const;  // their logits stay below 64 MB, whatever the vocabulary

  // Forgets all but what the cache and `tokens` begin with alike, and at most `most` of it; how many tokens that are.
  int keep_common(std::span<const int32_t> tokens, int most);

  // Starts from K and V that were computed elsewhere for `tokens` (an mlx_lm prompt cache).
  void restore(std::span<const int32_t> tokens, const PromptCache& cache);

 private:
  enum class Logits { none, last, all };  // of which rows

  // Appends at most kChunkTokens tokens to the sequence and runs them.
  Tensor run(std::span<const int32_t> tokens, Logits wanted);
  // Runs tokens in chunks; logits_ becomes those of the last one. on_chunk is called after each, and ends it by false.
  bool read(std::span<const int32_t> tokens, const std::function<bool()>& on_chunk);

  Model& model_;
  int context_size_;
  KvCache kv_;
  BlockAllocator allocator_;
  Sequence sequence_;
  std::vector<float> logits_;  // [V] of the last step, on the host
  std::vector<float> scored_;  // [T, V] of score_next
};

}  // namespace inkstone
