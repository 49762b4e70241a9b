// Detokenizer: ids -> text as they come, never half a character. The concatenation of all pieces and finish() is
// Tokenizer::decode of all ids. One stream, one thread.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace inkstone {

class Detokenizer {
 public:
  // The tokenizer must outlive this.
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = false);

  // The text that is certain now; empty while a character is incomplete.
  std::string add(int32_t id);
  // What is left: U+FFFD for an incomplete character.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::string pending_;  // bytes of an incomplete character
};

}  // namespace inkstone
