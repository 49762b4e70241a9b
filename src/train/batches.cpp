#include "train/batches.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "train/random.h"

namespace inkstone {

std::vector<std::vector<size_t>> make_batches(size_t examples, int batch_size, uint64_t seed, uint64_t epoch,
                                              Rest rest) {
  CHECK(batch_size > 0);
  const size_t size = static_cast<size_t>(batch_size);
  if (examples < size)
    fail(Errc::usage, "data: found {} examples, expected at least one batch: {} (--batch-size)", examples, batch_size);
  std::vector<size_t> order(examples);
  std::iota(order.begin(), order.end(), size_t{0});
  SplitMix64 random(seed + epoch * 0xd1b54a32d192ed03u);
  for (size_t i = examples; i-- > 1;) std::swap(order[i], order[random.below(i + 1)]);
  std::vector<std::vector<size_t>> batches;
  for (size_t begin = 0; begin < examples; begin += size) {
    const size_t end = std::min(begin + size, examples);
    if (end - begin == size || rest == Rest::last_batch)
      batches.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(begin),
                           order.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return batches;
}

}  // namespace inkstone
