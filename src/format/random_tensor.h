// Random weights as bytes, from a counter: the same seed, tensor and position give the same bytes whatever the order.
// Private to the format room.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "tensor/quantized.h"

namespace inkstone {

using ByteSink = std::function<void(std::span<const std::byte>)>;

// What a matrix of standard deviation `deviation` consists of.
struct RandomMatrix {
  int64_t rows = 0;     // experts included
  int64_t columns = 0;  // unpacked
  double deviation = 1;
  Quantization quantization;
  DType dtype = DType::bf16;
  uint64_t seed = 0;  // of this matrix
};

// Each calls the sink with a piece of up to some megabytes at a time.
void random_weight(const RandomMatrix& matrix, const ByteSink& sink);
void random_scales(const RandomMatrix& matrix, const ByteSink& sink);
void random_biases(const RandomMatrix& matrix, const ByteSink& sink);
void constant_ones(int64_t count, DType dtype, const ByteSink& sink);

}  // namespace inkstone
