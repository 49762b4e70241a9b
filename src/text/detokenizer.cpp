#include "text/detokenizer.h"

#include "text/unicode.h"

namespace inkstone {

Detokenizer::Detokenizer(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(tokenizer), skip_special_(skip_special) {}

// An added token is bytes like any other: its first byte ends an incomplete character before it, as in decode().
std::string Detokenizer::add(int32_t id) {
  if (skip_special_ && tokenizer_.is_special(id)) return {};
  pending_ += tokenizer_.bytes_of(id);
  const size_t rest = incomplete_suffix(pending_);
  const std::string_view certain = std::string_view(pending_).substr(0, pending_.size() - rest);
  std::string text = to_valid_utf8(certain);
  pending_.erase(0, certain.size());
  return text;
}

std::string Detokenizer::finish() {
  std::string text = to_valid_utf8(pending_);
  pending_.clear();
  return text;
}

}  // namespace inkstone
