// ggml's tensor types: their blocks, and how each becomes a matrix in MLX's form. Pure functions, any thread.
//
// Every quantised type that is read here is affine by groups of its row (w = scale * code + bias), so nothing is
// decoded: codes are packed anew as MLX has them, and the products that ggml forms of block and superblock scales
// become the groups' scales and biases, in a type that holds them exactly. docs/gguf.md has the table and the proofs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "tensor/quantized.h"

namespace inkstone {

enum class GgmlId : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30,
};

struct GgmlType {
  GgmlId id;
  const char* name;
  int block;         // elements; a row is whole blocks
  int bytes;         // of a block
  Quantization mlx;  // what it becomes; mode none: elements that stay as they are
  DType dtype;       // of the elements, or of scales and biases

  bool is_quantized() const { return mlx.mode != QuantMode::none; }
};

// The type of this number, or nullptr for one that is not read here.
const GgmlType* find_ggml_type(uint32_t id);
// For errors: "IQ4_XS", "type 77".
std::string ggml_type_name(uint32_t id);

// What `blocks` blocks of a quantised type become: codes of blocks * block * mlx.bits / 8 bytes, and a scale and a bias
// for each mlx.group_size elements. False where a scale is not finite, or a bias larger than its dtype holds: no sound
// file has either.
bool repack_blocks(const GgmlType& type, const std::byte* from, int64_t blocks, std::byte* codes, std::byte* scales,
                   std::byte* biases);

}  // namespace inkstone
