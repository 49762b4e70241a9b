#include "format/gguf_blocks.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/float16.h"

namespace inkstone {
namespace {

constexpr int kSuper = 256;  // elements of a superblock

constexpr Quantization affine(int bits, int group) { return {QuantMode::affine, bits, group}; }

// Q2_K has codes of 2 bits. They take 3 here: kernels read groups of 16 only in the formats of whole units of codes.
constexpr GgmlType kTypes[] = {
    {GgmlId::f32, "F32", 1, 4, {}, DType::f32},
    {GgmlId::f16, "F16", 1, 2, {}, DType::f16},
    {GgmlId::bf16, "BF16", 1, 2, {}, DType::bf16},
    {GgmlId::q4_0, "Q4_0", 32, 18, affine(4, 32), DType::f16},
    {GgmlId::q4_1, "Q4_1", 32, 20, affine(4, 32), DType::f16},
    {GgmlId::q5_0, "Q5_0", 32, 22, affine(5, 32), DType::f16},
    {GgmlId::q5_1, "Q5_1", 32, 24, affine(5, 32), DType::f16},
    {GgmlId::q8_0, "Q8_0", 32, 34, affine(8, 32), DType::f16},
    {GgmlId::q2_k, "Q2_K", kSuper, 84, affine(3, 16), DType::f32},
    {GgmlId::q3_k, "Q3_K", kSuper, 110, affine(3, 16), DType::f32},
    {GgmlId::q4_k, "Q4_K", kSuper, 144, affine(4, 32), DType::f32},
    {GgmlId::q5_k, "Q5_K", kSuper, 176, affine(5, 32), DType::f32},
    {GgmlId::q6_k, "Q6_K", kSuper, 210, affine(6, 16), DType::f32},
};

float f16_at(const uint8_t* p) { return f16_to_f32(static_cast<uint16_t>(p[0] | p[1] << 8)); }

// A block, unpacked: a code for each element, a scale and a bias for each group.
struct Block {
  uint8_t codes[kSuper];
  float scales[kSuper / 16];
  float biases[kSuper / 16];
};

// 16 bytes of two codes: the low halves come first.
void unpack_nibbles(const uint8_t* from, int count, uint8_t* codes) {
  for (int i = 0; i < count; ++i) codes[i] = from[i] & 15;
  for (int i = 0; i < count; ++i) codes[count + i] = from[i] >> 4;
}

// The fifth bits of 32 codes, bit i of a word for code i.
void add_fifth_bits(const uint8_t* from, uint8_t* codes) {
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(codes[i] | (from[i / 8] >> (i % 8) & 1) << 4);
}

// w = d (q - 2^(bits - 1)), or w = d q + m.
void unpack_small(GgmlId id, const uint8_t* p, Block& block) {
  block.scales[0] = f16_at(p);
  const auto centred = [&](float zero) { block.biases[0] = -zero * block.scales[0]; };
  switch (id) {
    case GgmlId::q4_0: centred(8); return unpack_nibbles(p + 2, 16, block.codes);
    case GgmlId::q4_1: block.biases[0] = f16_at(p + 2); return unpack_nibbles(p + 4, 16, block.codes);
    case GgmlId::q5_0:
      centred(16);
      unpack_nibbles(p + 6, 16, block.codes);
      return add_fifth_bits(p + 2, block.codes);
    case GgmlId::q5_1:
      block.biases[0] = f16_at(p + 2);
      unpack_nibbles(p + 8, 16, block.codes);
      return add_fifth_bits(p + 4, block.codes);
    default:  // Q8_0: signed bytes; flipping the highest bit adds 128
      centred(128);
      for (int i = 0; i < 32; ++i) block.codes[i] = p[2 + i] ^ 0x80;
  }
}

// 64 bytes of four codes of 2 bits: byte l of each half holds elements l, 32 + l, 64 + l and 96 + l of its 128.
void unpack_pairs(const uint8_t* from, uint8_t* codes) {
  for (int half = 0; half < 2; ++half, from += 32)
    for (int j = 0; j < 4; ++j)
      for (int l = 0; l < 32; ++l) *codes++ = from[l] >> (2 * j) & 3;
}

// w = d sc q - dmin m: sc and m are the halves of a byte for each group of 16.
void unpack_q2_k(const uint8_t* p, Block& block) {
  const float d = f16_at(p + 80), dmin = f16_at(p + 82);
  for (int g = 0; g < 16; ++g) {
    block.scales[g] = d * static_cast<float>(p[g] & 15);
    block.biases[g] = -(dmin * static_cast<float>(p[g] >> 4));
  }
  unpack_pairs(p + 16, block.codes);
}

// w = d (sc - 32) (q - 4): the third bits of codes lie in 32 bytes, bit e / 32 of byte e % 32; scales have 6 bits.
void unpack_q3_k(const uint8_t* p, Block& block) {
  const uint8_t *third = p, *low = p + 96, *high = p + 104;
  const float d = f16_at(p + 108);
  for (int g = 0; g < 16; ++g) {
    const int nibble = g < 8 ? low[g] & 15 : low[g - 8] >> 4;
    const int scale = (nibble | (high[g % 4] >> (2 * (g / 4)) & 3) << 4) - 32;
    block.scales[g] = d * static_cast<float>(scale);
    block.biases[g] = -4 * block.scales[g];
  }
  unpack_pairs(p + 32, block.codes);
  for (int e = 0; e < kSuper; ++e)
    block.codes[e] = static_cast<uint8_t>(block.codes[e] | (third[e % 32] >> (e / 32) & 1) << 2);
}

// The scales and minima of Q4_K and Q5_K, 6 bits each, of 8 groups of 32 in 12 bytes: w = d sc q - dmin m.
void unpack_scales_6(float d, float dmin, const uint8_t* p, Block& block) {
  for (int g = 0; g < 8; ++g) {
    const int scale = g < 4 ? p[g] & 63 : (p[g + 4] & 15) | (p[g - 4] >> 6) << 4;
    const int least = g < 4 ? p[g + 4] & 63 : p[g + 4] >> 4 | (p[g] >> 6) << 4;
    block.scales[g] = d * static_cast<float>(scale);
    block.biases[g] = -(dmin * static_cast<float>(least));
  }
}

void unpack_q4_k(const uint8_t* p, Block& block) {
  unpack_scales_6(f16_at(p), f16_at(p + 2), p + 4, block);
  for (int part = 0; part < 4; ++part) unpack_nibbles(p + 16 + 32 * part, 32, block.codes + 64 * part);
}

void unpack_q5_k(const uint8_t* p, Block& block) {
  unpack_scales_6(f16_at(p), f16_at(p + 2), p + 4, block);
  for (int part = 0; part < 4; ++part) unpack_nibbles(p + 48 + 32 * part, 32, block.codes + 64 * part);
  for (int e = 0; e < kSuper; ++e)
    block.codes[e] = static_cast<uint8_t>(block.codes[e] | (p[16 + e % 32] >> (e / 32) & 1) << 4);
}

// w = d sc (q - 32), sc a signed byte for each group of 16. Of each 128 elements the low 4 bits lie in 64 bytes, the
// high 2 in 32: byte l of those for elements l, 32 + l, 64 + l and 96 + l.
void unpack_q6_k(const uint8_t* p, Block& block) {
  const float d = f16_at(p + 208);
  for (int g = 0; g < 16; ++g) {
    block.scales[g] = d * static_cast<float>(static_cast<int8_t>(p[192 + g]));
    block.biases[g] = -32 * block.scales[g];
  }
  uint8_t* codes = block.codes;
  for (int half = 0; half < 2; ++half, codes += 128) {
    const uint8_t *low = p + 64 * half, *high = p + 128 + 32 * half;
    unpack_nibbles(low, 64, codes);
    for (int j = 0; j < 4; ++j)
      for (int l = 0; l < 32; ++l)
        codes[32 * j + l] = static_cast<uint8_t>(codes[32 * j + l] | (high[l] >> (2 * j) & 3) << 4);
  }
}

void unpack(GgmlId id, const uint8_t* p, Block& block) {
  switch (id) {
    case GgmlId::q2_k: return unpack_q2_k(p, block);
    case GgmlId::q3_k: return unpack_q3_k(p, block);
    case GgmlId::q4_k: return unpack_q4_k(p, block);
    case GgmlId::q5_k: return unpack_q5_k(p, block);
    case GgmlId::q6_k: return unpack_q6_k(p, block);
    default: return unpack_small(id, p, block);
  }
}

// Codes, a byte each, as a little-endian bit stream: neighbours are joined to pairs, pairs to fours, fours to eights.
void pack_codes(const uint8_t* codes, int count, int bits, std::byte* out) {
  constexpr uint64_t kBytes = 0x00ff00ff00ff00ff, kPairs = 0x0000ffff0000ffff;
  for (int i = 0; i < count; i += 8, out += bits) {
    uint64_t x;
    std::memcpy(&x, codes + i, 8);
    x = (x & kBytes) | (x >> 8 & kBytes) << bits;
    x = (x & kPairs) | (x >> 16 & kPairs) << (2 * bits);
    x = (x & 0xffffffff) | (x >> 32) << (4 * bits);
    std::memcpy(out, &x, static_cast<size_t>(bits));
  }
}

// The first `count` values in dtype; what they are is exact there. False if one is not finite.
bool put_floats(const float* values, int count, DType dtype, std::byte*& out) {
  bool finite = true;
  for (int i = 0; i < count; ++i) {
    if (dtype == DType::f32) {
      std::memcpy(out, &values[i], 4);
      finite = finite && std::isfinite(values[i]);
    } else {
      const uint16_t half = f32_to_f16(values[i]);
      std::memcpy(out, &half, 2);
      finite = finite && (half & 0x7c00) != 0x7c00;
    }
    out += dtype_size(dtype);
  }
  return finite;
}

}  // namespace

const GgmlType* find_ggml_type(uint32_t id) {
  for (const GgmlType& type : kTypes)
    if (static_cast<uint32_t>(type.id) == id) return &type;
  return nullptr;
}

std::string ggml_type_name(uint32_t id) {
  struct Other {
    uint32_t id;
    const char* name;
  };
  static constexpr Other kOthers[] = {
      {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"},
      {21, "IQ3_S"}, {22, "IQ2_S"}, {23, "IQ4_XS"},  {24, "I8"},     {25, "I16"},     {26, "I32"},   {27, "I64"},
      {28, "F64"},   {29, "IQ1_M"}, {34, "TQ1_0"},   {35, "TQ2_0"},  {39, "MXFP4"},   {40, "NVFP4"},
  };
  if (const GgmlType* type = find_ggml_type(id)) return type->name;
  for (const Other& other : kOthers)
    if (other.id == id) return other.name;
  return fmt::format("type {}", id);
}

bool repack_blocks(const GgmlType& type, const std::byte* from, int64_t blocks, std::byte* codes, std::byte* scales,
                   std::byte* biases) {
  CHECK(type.is_quantized() && type.block % type.mlx.group_size == 0);
  const int groups = type.block / type.mlx.group_size;
  const auto* p = reinterpret_cast<const uint8_t*>(from);
  bool finite = true;
  Block block;
  for (int64_t i = 0; i < blocks; ++i, p += type.bytes, codes += type.block * type.mlx.bits / 8) {
    unpack(type.id, p, block);
    pack_codes(block.codes, type.block, type.mlx.bits, codes);
    finite &= put_floats(block.scales, groups, type.dtype, scales);
    finite &= put_floats(block.biases, groups, type.dtype, biases);
  }
  return finite;
}

}  // namespace inkstone
