// Conversion of floating-point tensors in host memory to float32.
#pragma once

#include <span>

#include "tensor/tensor.h"

namespace inkstone {

// Widens f32, f16 or bf16 elements, which need not be aligned. out.size() == x.shape.elements().
void widen(const ConstTensor& x, std::span<float> out);

}  // namespace inkstone
