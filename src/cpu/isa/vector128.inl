// The vector type of Arm's Advanced SIMD (NEON), part of every AArch64: 4 floats, tails through a small copy.
struct F32 {
  static constexpr int kLanes = 4;
  static constexpr int kRegisters = 32;
  float32x4_t v;

  static F32 zero() { return {vdupq_n_f32(0)}; }
  static F32 all(float x) { return {vdupq_n_f32(x)}; }
  static F32 load(const float* p) { return {vld1q_f32(p)}; }
  // The first n of the vector, zeros beyond.
  static F32 load(const float* p, int64_t n) {
    if (n >= kLanes) return load(p);
    float lanes[kLanes] = {};
    if (n > 0) memcpy(lanes, p, static_cast<size_t>(n) * sizeof(float));
    return load(lanes);
  }
  void store(float* p) const { vst1q_f32(p, v); }
  void store(float* p, int64_t n) const {
    if (n >= kLanes) return store(p);
    float lanes[kLanes];
    store(lanes);
    if (n > 0) memcpy(p, lanes, static_cast<size_t>(n) * sizeof(float));
  }
};

F32 operator+(F32 a, F32 b) { return {vaddq_f32(a.v, b.v)}; }
F32 operator-(F32 a, F32 b) { return {vsubq_f32(a.v, b.v)}; }
F32 operator*(F32 a, F32 b) { return {vmulq_f32(a.v, b.v)}; }
F32 operator/(F32 a, F32 b) { return {vdivq_f32(a.v, b.v)}; }
F32 fma(F32 a, F32 b, F32 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
F32 fnma(F32 a, F32 b, F32 c) { return {vfmsq_f32(c.v, a.v, b.v)}; }  // c - a * b
F32 sqrt(F32 a) { return {vsqrtq_f32(a.v)}; }
F32 max(F32 a, F32 b) { return {vmaxq_f32(a.v, b.v)}; }  // NaN where either is
F32 min(F32 a, F32 b) { return {vminq_f32(a.v, b.v)}; }
F32 round(F32 a) { return {vrndnq_f32(a.v)}; }
// a * 2^n for whole n in [-127, 128]: 0 and infinity at the ends.
F32 scale_by_power(F32 a, F32 n) {
  const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n.v), vdupq_n_s32(127));
  const int32x4_t bounded = vminq_s32(vmaxq_s32(exponent, vdupq_n_s32(0)), vdupq_n_s32(255));
  return {vmulq_f32(a.v, vreinterpretq_f32_s32(vshlq_n_s32(bounded, 23)))};
}
// a in lanes below n, b beyond.
F32 first(F32 a, F32 b, int64_t n) {
  constexpr int32_t kIndex[4] = {0, 1, 2, 3};
  const int32_t count = static_cast<int32_t>(n < 0 ? 0 : n > F32::kLanes ? F32::kLanes : n);
  return {vbslq_f32(vcltq_s32(vld1q_s32(kIndex), vdupq_n_s32(count)), a.v, b.v)};
}
float reduce_add(F32 a) { return vaddvq_f32(a.v); }
float reduce_max(F32 a) { return vmaxvq_f32(a.v); }

uint16x4_t load_u16(const unsigned char* p, int64_t n) {
  uint64_t bytes = 0;
  if (n >= 4) {
    memcpy(&bytes, p, 8);
  } else if (n > 0) {
    memcpy(&bytes, p, static_cast<size_t>(2 * n));
  }
  return vcreate_u16(bytes);
}
uint32x4_t load_u8(const unsigned char* p, int64_t n) {
  uint32_t bytes = 0;
  if (n >= 4) {
    memcpy(&bytes, p, 4);
  } else if (n > 0) {
    memcpy(&bytes, p, static_cast<size_t>(n));
  }
  return vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(bytes))));
}
F32 load_bf16(const unsigned char* p, int64_t n) { return {vreinterpretq_f32_u32(vshll_n_u16(load_u16(p, n), 16))}; }
F32 from_f16(uint16x4_t bits) { return {vcvt_f32_f16(vreinterpret_f16_u16(bits))}; }
F32 load_f16(const unsigned char* p, int64_t n) { return from_f16(load_u16(p, n)); }
F32 load_f32(const unsigned char* p, int64_t n) {
  unsigned char bytes[16] = {};
  if (n >= 4) return {vreinterpretq_f32_u8(vld1q_u8(p))};
  if (n > 0) memcpy(bytes, p, static_cast<size_t>(4 * n));
  return {vreinterpretq_f32_u8(vld1q_u8(bytes))};
}
F32 load_u8_as_f32(const unsigned char* p) { return {vcvtq_f32_u32(load_u8(p, 4))}; }
// e4m3 as float16: its exponent and mantissa fit, 2^8 too small; all ones is NaN in both once set.
F32 load_e4m3(const unsigned char* p, int64_t n) {
  const uint16x4_t code = vmovn_u32(load_u8(p, n));
  const uint16x4_t magnitude = vand_u16(code, vdup_n_u16(0x7f));
  const uint16x4_t sign = vshl_n_u16(vand_u16(code, vdup_n_u16(0x80)), 8);
  const uint16x4_t nan = vceq_u16(magnitude, vdup_n_u16(0x7f));
  return from_f16(vorr_u16(vorr_u16(vshl_n_u16(magnitude, 7), sign), nan)) * F32::all(256.0f);
}
F32 load_e8m0(const unsigned char* p, int64_t n) {  // 2^(code - 127); 2^-127 is a subnormal
  const uint32x4_t bits = vshlq_n_u32(load_u8(p, n), 23);
  return {vreinterpretq_f32_u32(vmaxq_u32(bits, vdupq_n_u32(0x00400000)))};
}

uint16x4_t to_bf16_bits(F32 x) {  // to nearest even; NaN stays NaN
  const uint32x4_t bits = vreinterpretq_u32_f32(x.v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  return vshrn_n_u32(vbslq_u32(vceqq_f32(x.v, x.v), rounded, quiet), 16);
}
void store_bf16(F32 x, uint16_t* p, int64_t n) {
  const uint16x4_t bits = to_bf16_bits(x);
  if (n >= 4) return vst1_u16(p, bits);
  uint16_t values[4];
  vst1_u16(values, bits);
  if (n > 0) memcpy(p, values, static_cast<size_t>(2 * n));
}

// Two vectors whose elements alternate in memory: bf16, or q4 that share bytes. n lanes of each.
void load_bf16_pairs(const unsigned char* p, int64_t n, F32& even, F32& odd) {
  const uint32x4_t words = vreinterpretq_u32_f32(load_f32(p, n).v);
  even.v = vreinterpretq_f32_u32(vshlq_n_u32(words, 16));
  odd.v = vreinterpretq_f32_u32(vandq_u32(words, vdupq_n_u32(0xffff0000)));
}
void store_bf16_pairs(F32 even, F32 odd, unsigned char* p, int64_t n) {
  const uint16x4x2_t pairs = vzip_u16(to_bf16_bits(even), to_bf16_bits(odd));
  const uint16x8_t words = vcombine_u16(pairs.val[0], pairs.val[1]);
  F32{vreinterpretq_f32_u16(words)}.store(reinterpret_cast<float*>(p), n);
}
void load_u4_pairs(const unsigned char* p, F32& even, F32& odd) {
  const uint32x4_t words = load_u8(p, 4);
  even.v = vcvtq_f32_u32(vandq_u32(words, vdupq_n_u32(15)));
  odd.v = vcvtq_f32_u32(vshrq_n_u32(words, 4));
}

// Integers: words of codes, and permutations.
struct U32 {
  uint32x4_t v;
  static U32 load(const unsigned char* p) { return {vreinterpretq_u32_u8(vld1q_u8(p))}; }
  static U32 load(const unsigned char* p, int64_t n) {
    if (n >= 4) return load(p);
    unsigned char bytes[16] = {};
    if (n > 0) memcpy(bytes, p, static_cast<size_t>(4 * n));
    return load(bytes);
  }
  static U32 load(const int32_t* p) { return {vreinterpretq_u32_s32(vld1q_s32(p))}; }
};
// Keeps a load in its register: the compiler would otherwise repeat it for each use, across cache lines.
U32 in_register(U32 a) {
  asm("" : "+w"(a.v));
  return a;
}
// Lane i of the result is p[index[i]]. 4 lanes see two groups at most, so the first four of the 8 are enough.
F32 pick8(const float* p, U32 index) {
  const uint8x16_t at = vreinterpretq_u8_u32(vmlaq_n_u32(vdupq_n_u32(0x03020100), index.v, 0x04040404));
  return {vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(vld1q_f32(p)), at))};
}
F32 gather(const float* p, U32 index, int64_t n) {
  uint32_t at[4];
  float lanes[4] = {};
  vst1q_u32(at, index.v);
  for (int i = 0; i < 4 && i < n; ++i) lanes[i] = p[at[i]];
  return F32::load(lanes);
}

// Code j of each 32-bit lane. (The compiler's own >> becomes an immediate; a shift intrinsic would hold 8 registers.)
template <int kWidth>
struct LaneUint {
  static constexpr int kBits = kWidth;
  F32 get(U32 words, int shift) const {
    return {vcvtq_f32_u32(vandq_u32(words.v >> shift, vdupq_n_u32((1u << kWidth) - 1)))};
  }
};
using Lane2 = LaneUint<2>;
using Lane4 = LaneUint<4>;
constexpr int8_t kE2m1Twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
// The code goes to the highest byte, is looked up there as twice its value, and converted with 25 bits of fraction; the
// other bytes look up 0.
struct LaneE2m1 {
  static constexpr int kBits = 4;
  int8x16_t table = vld1q_s8(kE2m1Twice);
  F32 get(U32 words, int shift) const {
    const uint32x4_t placed = shift <= 24 ? words.v << (24 - shift) : words.v >> (shift - 24);
    const uint8x16_t code = vreinterpretq_u8_u32(vandq_u32(placed, vdupq_n_u32(0x0f000000)));
    return {vcvtq_n_f32_s32(vreinterpretq_s32_s8(vqtbl1q_s8(table, code)), 25)};
  }
};

// 8 codes of a bit stream have kBits bytes; a shuffle gives each of 4 codes its two bytes.
template <int kBits>
struct StreamTable {
  alignas(16) unsigned char bytes[32] = {};
  alignas(16) int32_t shifts[8] = {};
  constexpr StreamTable() {
    for (int i = 0; i < 8; ++i) {
      const int at = i * kBits / 8;
      bytes[4 * i] = static_cast<unsigned char>(at);
      bytes[4 * i + 1] = static_cast<unsigned char>(at + 1 < 8 ? at + 1 : 0x80);
      bytes[4 * i + 2] = bytes[4 * i + 3] = 0x80;
      shifts[i] = -(i * kBits % 8);
    }
  }
};
template <int kBits>
constexpr StreamTable<kBits> kStream{};

// A unit of 32 codes has 4 * kBits bytes; the last loads stay within it.
template <int kBits>
F32 stream_codes(const unsigned char* unit, int v) {
  const int at = v / 2 * kBits, from = at < 4 * kBits - 8 ? at : 4 * kBits - 8, half = v % 2;
  uint64_t word;
  memcpy(&word, unit + from, 8);
  const uint8x16_t bytes = vreinterpretq_u8_u64(vdupq_n_u64(word >> (8 * (at - from))));
  const uint8x16_t pairs = vqtbl1q_u8(bytes, vld1q_u8(kStream<kBits>.bytes + 16 * half));
  const uint32x4_t codes = vshlq_u32(vreinterpretq_u32_u8(pairs), vld1q_s32(kStream<kBits>.shifts + 4 * half));
  return {vcvtq_f32_u32(vandq_u32(codes, vdupq_n_u32((1u << kBits) - 1)))};
}

// Activations and codes in 16 bits, their sums of products in 32: of the lower four lanes and of the upper four.
struct I32 {
  int32x4_t low, high;
  static I32 zero() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
};
struct I16 {
  static constexpr int kLanes = 8;
  int16x8_t v;
  static I16 load(const int16_t* p) { return {vld1q_s16(p)}; }
};
I32 dot_add(I16 a, I16 b, I32 sum) {
  return {vmlal_s16(sum.low, vget_low_s16(a.v), vget_low_s16(b.v)), vmlal_high_s16(sum.high, a.v, b.v)};
}
// Lane i of the result is of the 16-bit lanes 2 i and 2 i + 1.
F32 to_f32(I32 a) { return {vcvtq_f32_s32(vpaddq_s32(a.low, a.high))}; }
void store_rounded(F32 x, int16_t* p) { vst1_s16(p, vqmovn_s32(vcvtnq_s32_f32(x.v))); }  // of at most 32767

// 16 bytes of codes, seen as 16-bit lanes: codes[j] holds code j of every lane.
template <int kWidth>
struct Lane16 {
  static constexpr int kBits = kWidth;
  static constexpr int kVectors = 16 / kWidth;
  static void unpack(U32 words, I16* codes) {
    const uint16x8_t all = vreinterpretq_u16_u32(words.v);
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      const uint16x8_t low = all >> (j * kWidth);
      codes[j].v = vreinterpretq_s16_u16(j + 1 == kVectors ? low : vandq_u16(low, vdupq_n_u16((1 << kWidth) - 1)));
    }
  }
};
// Twice the values of e2m1, which are whole and signed.
struct Lane16E2m1 {
  static constexpr int kBits = 4;
  static constexpr int kVectors = 4;
  static void unpack(U32 words, I16* codes) {
    const uint8x16_t bytes = vreinterpretq_u8_u32(words.v);
    const int8x16_t table = vld1q_s8(kE2m1Twice);
    const int16x8_t even = vreinterpretq_s16_s8(vqtbl1q_s8(table, vandq_u8(bytes, vdupq_n_u8(15))));
    const int16x8_t odd = vreinterpretq_s16_s8(vqtbl1q_s8(table, vshrq_n_u8(bytes, 4)));
    codes[0].v = vshrq_n_s16(vshlq_n_s16(even, 8), 8);
    codes[1].v = vshrq_n_s16(vshlq_n_s16(odd, 8), 8);
    codes[2].v = vshrq_n_s16(even, 8);
    codes[3].v = vshrq_n_s16(odd, 8);
  }
};

// 8 codes of a bit stream: a shuffle gives each its two bytes.
template <int kBits>
struct StreamTable16 {
  alignas(16) unsigned char bytes[16] = {};
  alignas(16) int16_t shifts[8] = {};
  constexpr StreamTable16() {
    for (int i = 0; i < 8; ++i) {
      bytes[2 * i] = static_cast<unsigned char>(i * kBits / 8);
      bytes[2 * i + 1] = static_cast<unsigned char>(i * kBits / 8 + 1);
      shifts[i] = static_cast<int16_t>(-(i * kBits % 8));
    }
  }
};
template <int kBits>
constexpr StreamTable16<kBits> kStream16{};

// A unit of 32 codes has 4 * kBits bytes; the last loads stay within it.
template <int kBits>
void stream_unit16(const unsigned char* unit, I16* codes) {
  const uint8x16_t table = vld1q_u8(kStream16<kBits>.bytes);
  const int16x8_t shifts = vld1q_s16(kStream16<kBits>.shifts);
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const int at = v * kBits, from = at < 4 * kBits - 8 ? at : 4 * kBits - 8;
    uint64_t word;
    memcpy(&word, unit + from, 8);
    const uint8x16_t bytes = vreinterpretq_u8_u64(vdupq_n_u64(word >> (8 * (at - from))));
    const uint16x8_t pairs = vshlq_u16(vreinterpretq_u16_u8(vqtbl1q_u8(bytes, table)), shifts);
    codes[v].v = vreinterpretq_s16_u16(vandq_u16(pairs, vdupq_n_u16((1 << kBits) - 1)));
  }
}
template <>
void stream_unit16<8>(const unsigned char* unit, I16* codes) {
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) codes[v].v = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(unit + 8 * v)));
}

// Lane i of the result is the sum of a[i]'s lanes.
F32 reduce_each(const F32* a) { return {vpaddq_f32(vpaddq_f32(a[0].v, a[1].v), vpaddq_f32(a[2].v, a[3].v))}; }

// Consecutive weights that one load brings to a register tile: an FMA takes lane e.
constexpr int kElements = 4;
F32 load_elements(const float* p) { return F32::load(p); }
F32 fma_element(F32 w, int e, F32 x, F32 sum) {
  switch (e) {
    case 0: return {vfmaq_laneq_f32(sum.v, x.v, w.v, 0)};
    case 1: return {vfmaq_laneq_f32(sum.v, x.v, w.v, 1)};
    case 2: return {vfmaq_laneq_f32(sum.v, x.v, w.v, 2)};
    default: return {vfmaq_laneq_f32(sum.v, x.v, w.v, 3)};
  }
}

void transpose(F32* r) {
  const auto pairs = [](float32x4_t a) { return vreinterpretq_f64_f32(a); };
  const float64x2_t a = pairs(vtrn1q_f32(r[0].v, r[1].v)), b = pairs(vtrn2q_f32(r[0].v, r[1].v));
  const float64x2_t c = pairs(vtrn1q_f32(r[2].v, r[3].v)), d = pairs(vtrn2q_f32(r[2].v, r[3].v));
  r[0].v = vreinterpretq_f32_f64(vzip1q_f64(a, c));
  r[1].v = vreinterpretq_f32_f64(vzip1q_f64(b, d));
  r[2].v = vreinterpretq_f32_f64(vzip2q_f64(a, c));
  r[3].v = vreinterpretq_f32_f64(vzip2q_f64(b, d));
}
