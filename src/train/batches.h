// Batches of a data set, as mlx_lm makes them. A pure function: the same arguments give the same batches everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace inkstone {

// Sorts the examples by length (equal ones in their order), makes a batch of each `batch_size` consecutive ones (what
// is left over, the longest, is in no batch, as in mlx_lm), and shuffles the batches. `epoch` shuffles anew: the
// trainer counts them.
//
// The generator is splitmix64 (Steele, Lea, Flood 2014): state = seed + epoch * 0xd1b54a32d192ed03 (mod 2^64); a word
// adds 0x9e3779b97f4a7c15 to the state and mixes it by z ^= z >> 30, z *= 0xbf58476d1ce4e5b9, z ^= z >> 27,
// z *= 0x94d049bb133111eb, z ^= z >> 31. The shuffle is Fisher's and Yates' from the end: batch i is exchanged with
// batch j = word mod (i + 1), words of the incomplete last interval being drawn again.
//
// Throws Error(usage) where there are fewer examples than `batch_size`, as mlx_lm does.
std::vector<std::vector<size_t>> make_batches(std::span<const int> lengths, int batch_size, uint64_t seed,
                                              uint64_t epoch = 0);

}  // namespace inkstone
