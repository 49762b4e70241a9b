// The tokenizer.json that Qwen publishes (byte-level BPE, NFC, Qwen's expression that splits words), around a
// vocabulary and merges from elsewhere. Private to the format room.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace inkstone {

struct QwenAddedToken {
  std::string content;
  int id = 0;
  bool special = false;
};

// `vocab`: a JSON object, spellings to ids; `merges`: a JSON array of pairs or of strings with a blank.
std::string qwen_tokenizer_json(std::span<const QwenAddedToken> added, std::string_view vocab, std::string_view merges);

}  // namespace inkstone
