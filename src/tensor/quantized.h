// A matrix as a checkpoint holds it, plain or quantised. docs/formats.md gives the layouts; format/quantization.h
// decodes and encodes them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace inkstone {

enum class QuantMode : uint8_t {
  none,    // plain bf16, f16 or f32
  affine,  // w = scale * code + bias; scales and biases in the model's dtype; bits 2, 3, 4, 5, 6, 8
  mxfp4,   // e2m1 codes, scale 2^(s - 127), groups of 32
  mxfp8,   // e4m3 codes, scale 2^(s - 127), groups of 32
  nvfp4,   // e2m1 codes, scale e4m3, groups of 16
};

struct Quantization {
  QuantMode mode = QuantMode::none;
  int bits = 0;        // of a code
  int group_size = 0;  // codes along the input dimension that share a scale

  friend bool operator==(const Quantization&, const Quantization&) = default;
};

// One linear's (or embedding's, or stack of experts') weight as the file holds it; shapes checked by whoever made it.
struct WeightView {
  std::string name;           // module path: "model.layers.0.self_attn.q_proj"
  int64_t out = 0;            // rows
  int64_t in = 0;             // columns (unpacked)
  int64_t experts = 0;        // 0: one matrix [out, in]; else a stack [experts, out, in]
  Quantization quantization;  // mode none: `weight` is [.., out, in] in bf16, f16 or f32
  ConstTensor weight;         // quantised: u32 [.., out, in * bits / 32], each row one little-endian bit stream
  ConstTensor scales;         // [.., out, in / group_size]
  ConstTensor biases;         // affine only, as scales
  std::vector<WeightView>
      parts;  // experts that stand apart in the file (Hugging Face layout): one each, `weight` empty

  // The matrix of expert e, a view without experts. The name is left empty.
  WeightView expert(int64_t e) const;
  // Bytes in the file: weight, scales and biases, of all experts.
  size_t bytes() const;
};

}  // namespace inkstone
