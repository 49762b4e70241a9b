// Batch: all tokens of one step, from all conversations, as flat arrays. Whoever schedules fills it; a forward pass
// only reads it. A row is one token; the rows of one conversation are consecutive and in the order of their positions.
#pragma once

#include <cstdint>
#include <vector>

namespace inkstone {

// Tokens a KV block holds: 8 KiB of K for one head of 128 in bf16, two pages' worth of one stream.
inline constexpr int kKvBlockTokens = 32;

// The rows of one conversation in this step and where its past is.
struct Span {
  int first_row = 0;    // into Batch::tokens
  int rows = 0;         // tokens of this step
  int kv_length = 0;    // tokens in the cache once this step's are written: row i attends to the first
                        // kv_length - rows + i + 1
  int first_block = 0;  // into Batch::blocks; ceil(kv_length / kKvBlockTokens) entries
};

struct Batch {
  std::vector<int32_t> tokens;      // [T]
  std::vector<int32_t> positions;   // [T] for RoPE
  std::vector<int32_t> slots;       // [T] where K and V go: block * kKvBlockTokens + offset
  std::vector<Span> spans;          // one a conversation, covering all rows in order
  std::vector<int32_t> blocks;      // block tables of all spans, concatenated
  std::vector<int32_t> logit_rows;  // [R] rows whose logits are wanted, ascending

  int size() const { return static_cast<int>(tokens.size()); }
};

}  // namespace inkstone
