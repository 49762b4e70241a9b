// What the parts of the CPU device multiply: descriptions of products, made anew for each call.
#pragma once

#include <cstdint>

#include "cpu/kernels.h"
#include "device/linear.h"

namespace inkstone {

// Rows of activations: row r is x + (order ? order[r] : r) * stride.
struct Activations {
  const float* x;
  int64_t stride;
  const int32_t* order;
  int rows;

  const float* row(int r) const { return x + (order != nullptr ? order[r] : r) * stride; }
  friend bool operator==(const Activations&, const Activations&) = default;
};

// y[r] (+)= x[r] W^T
struct Product {
  Matrix w;
  Activations x;
  float* y;
  int64_t y_stride;
  bool add;  // y +=
};

// y[r] (+)= down(silu(gate x[r]) * up x[r])
struct GatedProduct {
  Matrix gate, up, down;
  Activations x;
  float* y;
  int64_t y_stride;
  bool add;
};

// Whether a weight has more precision than bf16: f16, f32, or scales in these.
inline bool is_beyond_bf16(const Matrix& w) {
  return w.format == WeightFormat::f16 || w.format == WeightFormat::f32 || w.scale_format == ScaleFormat::f16 ||
         w.scale_format == ScaleFormat::f32;
}

// The kernels' description of a weight, or of one expert of a stack (-1: no stack).
Matrix matrix_of(const WeightView& weight, int64_t expert);

}  // namespace inkstone
