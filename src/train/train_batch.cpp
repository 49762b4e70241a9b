#include "train/train_batch.h"

#include <algorithm>

#include "base/error.h"

namespace inkstone {

void TrainBatch::add(std::span<const int32_t> tokens, int first_target) {
  CHECK(tokens.size() >= 2);
  const int rows = static_cast<int>(tokens.size()) - 1, first_row = batch.size();
  const int first_block = static_cast<int>(batch.blocks.size());
  batch.spans.push_back({first_row, rows, rows, first_block});
  for (int i = 0; i < (rows + kKvBlockTokens - 1) / kKvBlockTokens; ++i) batch.blocks.push_back(first_block + i);
  for (int i = 0; i < rows; ++i) {
    batch.tokens.push_back(tokens[static_cast<size_t>(i)]);
    batch.positions.push_back(i);
    batch.slots.push_back(first_block * kKvBlockTokens + i);
    if (i + 1 < first_target) continue;
    batch.logit_rows.push_back(first_row + i);
    targets.push_back(tokens[static_cast<size_t>(i) + 1]);
  }
}

}  // namespace inkstone
