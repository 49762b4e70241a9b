// Dataset: the examples of a .jsonl file, rendered and encoded, as mlx_lm reads {train,valid,test}.jsonl. One JSON
// object a line:
//   {"prompt": text, "completion": text}      a chat of user and assistant
//   {"messages": [...], "tools": [...]?}      a chat; its last message is what is trained on with mask_prompt
//   {"text": text}                            as it is, with the end-of-sequence token behind
// and in each of the first two "chat_template_kwargs": {...}?, more variables for the template (enable_thinking, ...),
// an extension that other trainers have, too. Keys are looked for in this order, in each line anew; other keys are
// ignored, as mlx_lm ignores them. Blank lines are skipped. A plain value: no shared state.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace inkstone {

struct Example {
  std::vector<int32_t> tokens;  // at least two
  int prompt_tokens = 0;        // the first ones, which are not trained on; 0 without mask_prompt
};

struct Dataset {
  std::vector<Example> examples;  // in file order
  int64_t truncated = 0;          // examples that were longer than max_seq_length and were cut
  int64_t longest = 0;            // tokens of the longest one before it was truncated
  int64_t left_out = 0;           // examples whose prompt alone fills max_seq_length: nothing of them is trained on
};

struct DatasetOptions {
  int max_seq_length = 2048;  // tokens
  bool mask_prompt = false;   // fill Example::prompt_tokens
};

// What turns a line into tokens. `chat_template` may be null where the model has none: then only "text" is read.
struct DatasetText {
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat_template = nullptr;
  int32_t eos_token = -1;          // behind "text"
  int64_t vocab_size = INT32_MAX;  // the model's: tokens must be below it
};

// Reads a file line by line; of the file no more than a line is in memory. Throws Error(not_found) for a missing file,
// Error(bad_file) with file and line for everything that is not as above, and for a file without examples;
// Error(unsupported) for "text" with mask_prompt, which has no prompt to mask.
//
// With mask_prompt the prompt is the rendering of all messages but the last, with the generation prompt where the last
// one is the assistant's; so with enable_thinking false the empty thinking block belongs to the prompt. Its tokens are
// counted as far as they are those of the whole: a tokenizer may join what stands on both sides of the border.
Dataset load_dataset(const std::filesystem::path& file, const DatasetText& text, const DatasetOptions& options);

// What mlx_lm adds behind "text": eos_token of tokenizer_config.json (a string, or an object with "content"); nothing
// if there is none. Throws Error(bad_file) where it is no token of the tokenizer.
std::optional<int32_t> load_eos_token(const std::filesystem::path& model_folder, const Tokenizer& tokenizer);

}  // namespace inkstone
