// Batches of a data set. A pure function: the same arguments give the same batches everywhere.
//
// mlx_lm puts examples of the same length together, since it pads. Nothing is padded here, so a batch is as mixed as
// the data: of nano's seven tasks, which differ in length, a batch would otherwise hold one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace inkstone {

enum class Rest { dropped, last_batch };

// Shuffles the examples and makes a batch of each `batch_size` consecutive ones; what is left over is in no batch of
// this epoch, or in a last, smaller one. `epoch` shuffles anew: the trainer counts them.
//
// The generator is train/random.h's, from seed + epoch * 0xd1b54a32d192ed03 (mod 2^64). The shuffle is Fisher's and
// Yates' from the end: example i is exchanged with example j = below(i + 1).
//
// Throws Error(usage) where there are fewer examples than `batch_size`, as mlx_lm does.
std::vector<std::vector<size_t>> make_batches(size_t examples, int batch_size, uint64_t seed, uint64_t epoch = 0,
                                              Rest rest = Rest::dropped);

}  // namespace inkstone
