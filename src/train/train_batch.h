// TrainBatch: whole sequences of one step, one behind the other without padding, and the tokens to be predicted.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/batch.h"

namespace inkstone {

struct TrainBatch {
  Batch batch;                   // every sequence without its last token; logit_rows are the rows that predict
  std::vector<int32_t> targets;  // [R] what row logit_rows[r] should predict

  int64_t target_count() const { return static_cast<int64_t>(targets.size()); }

  // Adds a sequence of at least two tokens. Targets are its tokens from max(1, first_target) on.
  void add(std::span<const int32_t> tokens, int first_target);
};

}  // namespace inkstone
