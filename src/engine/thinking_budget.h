// ThinkingBudget: ends a model's thinking when it has written as many thinking tokens as it may. The stop sentence is
// then written for it (Qwen3 Technical Report, section 4.3) and the model goes on with its answer.
// Thinking tokens are those after <think> and before </think>; the stop sentence does not count.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace inkstone {

// What closes the thinking, the reference client's two line breaks before it included.
inline constexpr std::string_view kThinkingStopSentence =
    "\n\nConsidering the limited time by the user, I have to give the solution based on the thinking directly now.\n"
    "</think>\n\n";

class ThinkingBudget {
 public:
  static constexpr int kUnlimited = std::numeric_limits<int>::max();

  // `inside`: the prompt itself opened the thinking. A tokenizer without <think> never thinks.
  ThinkingBudget(const Tokenizer& tokenizer, int limit, bool inside);

  // Counts a token that was written, sampled or forced.
  void observe(int32_t token);
  // The token that must come next whatever the model says, if there is one.
  std::optional<int32_t> forced() const;

  int thinking_tokens() const { return thinking_tokens_; }

 private:
  std::optional<int32_t> open_, close_;
  std::vector<int32_t> stop_sentence_;
  int limit_;
  bool inside_;
  int thinking_tokens_ = 0;
  size_t forced_written_ = 0;  // tokens of the stop sentence written so far
  bool forcing_ = false;
};

}  // namespace inkstone
