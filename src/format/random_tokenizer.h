// A byte-level tokenizer of our own for random checkpoints: every byte is a token, some common words have merges, and
// Qwen3's added tokens stand at their published ids if the vocabulary reaches there, else right after the bytes.
// The layout is Qwen's tokenizer.json, so the same tokenizer code reads it; the chat template speaks ChatML.
// Private to the format room.
#pragma once

#include <string>

namespace inkstone {

struct TokenizerIds {
  int end_of_text = 0;  // <|endoftext|>
  int im_start = 0;
  int im_end = 0;
};

// Throws Error(usage) where the vocabulary has no room for the bytes and the added tokens.
TokenizerIds tokenizer_ids(int vocab_size);

std::string random_tokenizer_json(int vocab_size);
std::string random_tokenizer_config_json(int vocab_size);

}  // namespace inkstone
