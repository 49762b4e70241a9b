#include "engine/thinking_budget.h"

#include <algorithm>

#include "base/error.h"

namespace inkstone {

ThinkingBudget::ThinkingBudget(const Tokenizer& tokenizer, int limit, bool inside)
    : open_(tokenizer.id_of("<think>")), close_(tokenizer.id_of("</think>")), limit_(limit), inside_(inside) {
  CHECK(limit >= 0);
  stop_sentence_ = tokenizer.encode(kThinkingStopSentence);
  if (!open_ || !close_ || std::ranges::count(stop_sentence_, *close_) == 0) {  // a model that does not think
    open_.reset();
    close_.reset();
    inside_ = false;
    return;
  }
  forcing_ = inside_ && limit_ == 0;
}

void ThinkingBudget::observe(int32_t token) {
  if (forcing_) {
    CHECK(token == stop_sentence_[forced_written_]);
    if (token == close_) inside_ = false;
    forcing_ = ++forced_written_ < stop_sentence_.size();
    return;
  }
  if (inside_) {
    if (token == close_)
      inside_ = false;
    else
      ++thinking_tokens_;
  } else if (token == open_) {
    inside_ = true;
  }
  // A second thinking block after the sentence gets no budget of its own: it is closed at once.
  if (inside_ && thinking_tokens_ >= limit_) {
    forcing_ = true;
    forced_written_ = 0;
  }
}

std::optional<int32_t> ThinkingBudget::forced() const {
  if (!forcing_) return std::nullopt;
  return stop_sentence_[forced_written_];
}

}  // namespace inkstone
