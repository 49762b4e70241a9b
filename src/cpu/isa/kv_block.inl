// Reading a KV block (its layout: kernels.h).
constexpr bool is_quantized(KvType type) { return type == KvType::q8 || type == KvType::q4; }

int64_t kv_code_bytes(KvType type, int d) { return static_cast<int64_t>(d) * kKvTokens / (type == KvType::q4 ? 2 : 1); }

// Cache lines of K, and of V.
int64_t kv_lines(const AttendArgs& a) {
  const int64_t codes = kv_code_bytes(a.type, a.d);
  if (is_quantized(a.type)) return (codes + a.d / a.group * kKvTokens * 8 + 63) / 64;
  return (codes * (a.type == KvType::f32 ? 4 : 2) + 63) / 64;
}

// A group's scales and biases for all tokens of a quantised block.
struct KvScales {
  const float* scales;  // [groups, kKvTokens]
  const float* biases;
};
KvScales kv_scales(const AttendArgs& a, const unsigned char* block) {
  const float* scales = reinterpret_cast<const float*>(block + kv_code_bytes(a.type, a.d));
  return {scales, scales + static_cast<int64_t>(a.d / a.group) * kKvTokens};
}

// Rows `row` and row + 1 (row is even) of a block's matrix, n columns from `column` on.
template <KvType kType>
void load_rows(const unsigned char* m, int64_t width, int64_t row, int64_t column, int64_t n, F32& even, F32& odd) {
  const int64_t at = row * width + column;
  if constexpr (kType == KvType::f32) {
    even = load_f32(m + 4 * at, n);
    odd = load_f32(m + 4 * (at + width), n);
  } else if constexpr (kType == KvType::bf16) {
    load_bf16_pairs(m + 2 * (row * width + 2 * column), n, even, odd);
  } else if constexpr (kType == KvType::q8) {
    even = load_u8_as_f32(m + at);
    odd = load_u8_as_f32(m + at + width);
  } else {
    load_u4_pairs(m + row / 2 * width + column, even, odd);
  }
}

// K of dimensions `dim` and dim + 1 (dim is even) for kLanes tokens from `token` on.
template <KvType kType>
void load_k(const AttendArgs& a, const unsigned char* block, int dim, int token, F32& even, F32& odd) {
  load_rows<kType>(block, kKvTokens, dim, token, kLanes, even, odd);
  if constexpr (is_quantized(kType)) {
    const KvScales s = kv_scales(a, block);
    const F32 scale = F32::load(s.scales + dim / a.group * kKvTokens + token);
    const F32 bias = F32::load(s.biases + dim / a.group * kKvTokens + token);
    even = fma(even, scale, bias);
    odd = fma(odd, scale, bias);
  }
}

// V of tokens `token` and token + 1 (token is even) for kLanes dimensions from `dim` on, zeros beyond d.
template <KvType kType>
void load_v(const AttendArgs& a, const unsigned char* block, int token, int dim, F32& even, F32& odd) {
  load_rows<kType>(block, a.d, token, dim, a.d - dim, even, odd);
  if constexpr (is_quantized(kType)) {
    const KvScales s = kv_scales(a, block);
    const int at = dim / a.group * kKvTokens + token;
    even = fma(even, F32::all(s.scales[at]), F32::all(s.biases[at]));
    odd = fma(odd, F32::all(s.scales[at + 1]), F32::all(s.biases[at + 1]));
  }
}
