// The scalar kernels: the oracle that every other table is tested against. Straightforward, never optimised.
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cpu/kernels.h"

namespace inkstone {
namespace {

constexpr int kPanel = 8;

float f32_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

uint32_t bits_from_f32(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

uint16_t load_u16(const unsigned char* p) {
  uint16_t value;
  memcpy(&value, p, sizeof value);
  return value;
}

float load_f32(const unsigned char* p) {
  float value;
  memcpy(&value, p, sizeof value);
  return value;
}

float from_bf16(uint16_t bits) { return f32_from_bits(static_cast<uint32_t>(bits) << 16); }

float from_f16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) return f32_from_bits(bits_from_f32(static_cast<float>(mantissa) * 0x1p-24f) | sign);
  if (exponent == 31) return f32_from_bits(sign | 0x7f800000u | (mantissa << 13));
  return f32_from_bits(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

float from_e2m1(uint32_t code) {
  static const float kValues[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  return kValues[code & 15];
}

float from_e4m3(uint32_t code) {  // bias 7, no infinities; all ones is NaN
  const uint32_t exponent = (code >> 3) & 15u;
  const uint32_t mantissa = code & 7u;
  if ((code & 0x7fu) == 0x7fu) return f32_from_bits(0x7fc00000u);
  const float magnitude = exponent == 0 ? static_cast<float>(mantissa) * 0x1p-9f
                                        : f32_from_bits(((exponent + 120u) << 23) | (mantissa << 20));
  return (code & 0x80u) != 0 ? -magnitude : magnitude;
}

float from_e8m0(uint32_t code) { return code == 0 ? 0x1p-127f : f32_from_bits(code << 23); }

// Code i of a little-endian bit stream. Reads no byte beyond the code's last.
uint32_t code_at(const unsigned char* row, int64_t i, int bits) {
  const int64_t bit = i * bits;
  const int shift = static_cast<int>(bit & 7);
  uint32_t value = row[bit >> 3];
  if (shift + bits > 8) value |= static_cast<uint32_t>(row[(bit >> 3) + 1]) << 8;
  return (value >> shift) & ((1u << bits) - 1u);
}

float scale_at(ScaleFormat format, const unsigned char* scales, int64_t i) {
  switch (format) {
    case ScaleFormat::f32: return load_f32(scales + 4 * i);
    case ScaleFormat::f16: return from_f16(load_u16(scales + 2 * i));
    case ScaleFormat::bf16: return from_bf16(load_u16(scales + 2 * i));
    case ScaleFormat::e8m0: return from_e8m0(scales[i]);
    case ScaleFormat::e4m3: return from_e4m3(scales[i]);
    case ScaleFormat::none: break;
  }
  return 1.0f;
}

float weight_at(const Matrix& w, int64_t row, int64_t column) {
  const unsigned char* codes = w.weight + row * w.row_bytes;
  if (w.format == WeightFormat::f32) return load_f32(codes + 4 * column);
  if (w.format == WeightFormat::f16) return from_f16(load_u16(codes + 2 * column));
  if (w.format == WeightFormat::bf16) return from_bf16(load_u16(codes + 2 * column));
  const uint32_t code = code_at(codes, column, w.bits);
  const int64_t group = row * w.groups + column / w.group;
  const float scale = scale_at(w.scale_format, w.scales, group);
  if (w.format == WeightFormat::e2m1) return scale * from_e2m1(code);
  if (w.format == WeightFormat::e4m3) return scale * from_e4m3(code);
  return scale * static_cast<float>(code) + scale_at(w.scale_format, w.biases, group);
}

void rms_norm(const float* x, const float* weight, float eps, float* y, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const float scale = 1.0f / sqrtf(sum / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * scale * weight[i];
}

void norm_rope(float* x, int heads, int d, const float* weight, float eps, const float* table) {
  const int half = d / 2;
  for (int h = 0; h < heads; ++h, x += d) {
    rms_norm(x, weight, eps, x, d);
    for (int i = 0; i < half; ++i) {
      const float a = x[i], b = x[i + half], cosine = table[i], sine = table[i + half];
      x[i] = a * cosine - b * sine;
      x[i + half] = b * cosine + a * sine;
    }
  }
}

void swiglu(const float* gate, const float* up, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

void softmax(float* x, int64_t n) {
  float max = x[0];
  for (int64_t i = 1; i < n; ++i) max = x[i] > max ? x[i] : max;
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] = expf(x[i] - max);
  for (int64_t i = 0; i < n; ++i) x[i] /= sum;
}

void add_scaled(const float* x, float scale, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += scale * x[i];
}

void multiply(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] *= x[i];
}

void to_bf16(const float* x, uint16_t* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = bits_from_f32(x[i]);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
      y[i] = static_cast<uint16_t>((bits >> 16) | 0x40u);  // NaN stays NaN
    } else {
      y[i] = static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
    }
  }
}

int codes_per_lane(const Matrix&) { return 1; }

void prepare(const Matrix& w, const float* x, float* prepared) {
  const int64_t padded = (w.in + kPositionBlock - 1) / kPositionBlock * kPositionBlock;
  for (int64_t i = 0; i < padded; ++i) prepared[i] = i < w.in ? x[i] : 0.0f;
}

void gemv(const GemvArgs& a) {
  for (int64_t o = a.begin; o < a.end; ++o) {
    for (int r = 0; r < a.rows; ++r) {
      const float* x = a.x + r * a.x_stride;
      float sums[4] = {};
      for (int64_t i = 0; i < a.w->in; ++i) sums[i & 3] += weight_at(*a.w, o, i) * x[i];
      float& y = a.y[r * a.y_stride + o];
      y = (a.add ? y : 0.0f) + ((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
  }
}

// A row of integers in natural order, then a scale and a sum for each group.
void prepare16(const Matrix& w, const float* x, float* prepared) {
  int16_t* codes = reinterpret_cast<int16_t*>(prepared);
  float* scales = prepared + w.in / 2;
  float* sums = scales + w.groups;
  for (int64_t g = 0; g < w.groups; ++g, x += w.group, codes += w.group) {
    float max = 0, odd = 0;
    for (int i = 0; i < w.group; ++i) {
      max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
      odd += 0.0f * x[i];  // NaN if any is infinite or NaN
    }
    const float inverse = max > kSmallest16 ? 32767.0f / max : 0.0f;
    int32_t sum = 0;
    for (int i = 0; i < w.group; ++i) {
      codes[i] = odd == 0.0f ? static_cast<int16_t>(lrintf(x[i] * inverse)) : int16_t{0};
      sum += codes[i];
    }
    scales[g] = (max > kSmallest16 ? max / 32767.0f : 0.0f) + odd;
    sums[g] = scales[g] * static_cast<float>(sum);
  }
}

void multiply16(const GemvArgs& a) {
  const Matrix& w = *a.w;
  for (int64_t o = a.begin; o < a.end; ++o) {
    for (int r = 0; r < a.rows; ++r) {
      const float* x = a.x + r * a.x_stride;
      const int16_t* codes = reinterpret_cast<const int16_t*>(x);
      const float* scales = x + w.in / 2;
      const float* sums = scales + w.groups;
      float total = 0;
      for (int64_t g = 0; g < w.groups; ++g) {
        int32_t dot = 0;
        for (int64_t i = g * w.group; i < (g + 1) * w.group; ++i) {
          const uint32_t code = code_at(w.weight + o * w.row_bytes, i, w.bits);
          const float value = w.format == WeightFormat::e2m1 ? 2 * from_e2m1(code) : static_cast<float>(code);
          dot += static_cast<int32_t>(value) * codes[i];
        }
        const float scale = scale_at(w.scale_format, w.scales, o * w.groups + g);
        total += static_cast<float>(dot) * (scale * scales[g]) * (w.format == WeightFormat::e2m1 ? 0.5f : 1.0f);
        if (w.biases != nullptr) total += scale_at(w.scale_format, w.biases, o * w.groups + g) * sums[g];
      }
      float& y = a.y[r * a.y_stride + o];
      y = (a.add ? y : 0.0f) + total;
    }
  }
}

void dequantize(const DequantizeArgs& a) {
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t i = a.begin; i < a.end; ++i)
      a.out[r * a.stride + i - a.begin] = i < a.w->in ? weight_at(*a.w, a.row + r, i) : 0.0f;
}

void pack(const Matrix& w, const float* const* x, int rows, int64_t begin, int64_t end, float* out) {
  for (int64_t i = begin; i < end; ++i)
    for (int t = 0; t < kPanel; ++t) out[(i - begin) * kPanel + t] = t < rows && i < w.in ? x[t][i] : 0.0f;
}

void gemm(int64_t m, int n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc,
          bool accumulate) {
  for (int64_t i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += a[i * lda + l] * b[l * ldb + j];
      c[i * ldc + j] = (accumulate ? c[i * ldc + j] : 0.0f) + sum;
    }
  }
}

void store_transposed(const float* c, int64_t ldc, int m, int n, float* y, int64_t y_stride, bool add) {
  for (int t = 0; t < n; ++t)
    for (int o = 0; o < m; ++o) y[t * y_stride + o] = (add ? y[t * y_stride + o] : 0.0f) + c[o * ldc + t];
}

float rms_norm_backward(const float* x, const float* weight, float eps, const float* dy, float* dx, int64_t n) {
  float squares = 0, sum = 0;
  for (int64_t i = 0; i < n; ++i) squares += x[i] * x[i];
  for (int64_t i = 0; i < n; ++i) sum += weight[i] * dy[i] * x[i];
  const float scale = 1.0f / sqrtf(squares / static_cast<float>(n) + eps);
  const float shrink = scale * scale * sum / static_cast<float>(n);
  for (int64_t i = 0; i < n; ++i) dx[i] += scale * (weight[i] * dy[i] - x[i] * shrink);
  return scale;
}

void rotate_back(float* x, int heads, int d, const float* table) {
  const int half = d / 2;
  for (int h = 0; h < heads; ++h, x += d) {
    for (int i = 0; i < half; ++i) {
      const float a = x[i], b = x[i + half], cosine = table[i], sine = table[i + half];
      x[i] = a * cosine + b * sine;
      x[i + half] = b * cosine - a * sine;
    }
  }
}

void swiglu_backward(const float* gate, const float* up, const float* dy, float* dgate, float* dup, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate[i], u = up[i], s = 1.0f / (1.0f + expf(-g));
    dup[i] = dy[i] * g * s;
    dgate[i] = dy[i] * u * s * (1.0f + g * (1.0f - s));
  }
}

void add_product(const float* x, const float* y, float scale, float* out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] += scale * x[i] * y[i];
}

void adam(const AdamArgs& a) {
  for (int64_t i = 0; i < a.n; ++i) {
    const float g = a.gradient[i] * a.gradient_scale;
    a.mean[i] = a.beta1 * a.mean[i] + (1.0f - a.beta1) * g;
    a.square[i] = a.beta2 * a.square[i] + (1.0f - a.beta2) * g * g;
    a.value[i] = a.keep * a.value[i] - a.rate * a.mean[i] / (a.root_scale * sqrtf(a.square[i]) + a.eps);
  }
}

// Where a KV block keeps element (row, column) of its matrix [., width]: in elements of its type, q4 in bytes.
int64_t kv_index(KvType type, int width, int row, int column) {
  if (type == KvType::bf16) return (row / 2 * width + column) * 2 + row % 2;
  if (type == KvType::q4) return row / 2 * width + column;
  return row * width + column;
}

int64_t kv_code_bytes(KvType type, int d) { return type == KvType::q4 ? d * kKvTokens / 2 : d * kKvTokens; }

// Scale and bias of one group of one token as the reference computes them: the larger end of the range is met exactly.
void quantize_range(const float* x, int group, int bins, float& scale, float& bias) {
  float low = x[0], high = x[0];
  for (int i = 0; i < group; ++i) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  const bool from_low = fabsf(low) > fabsf(high);
  const float edge = from_low ? low : high;
  scale = fmaxf((high - low) / static_cast<float>(bins), 1e-7f) * (from_low ? 1.0f : -1.0f);
  const float steps = nearbyintf(edge / scale);
  bias = steps != 0 ? edge : 0;
  if (steps != 0) scale = edge / steps;
}

void quantize_codes(const float* x, int group, int bins, float scale, float bias, unsigned char* codes) {
  for (int i = 0; i < group; ++i)
    codes[i] =
        static_cast<unsigned char>(fminf(fmaxf(nearbyintf((x[i] - bias) / scale), 0.0f), static_cast<float>(bins)));
}

void store_kv_value(KvType type, unsigned char* block, int width, int row, int column, float value) {
  const int64_t at = kv_index(type, width, row, column);
  if (type == KvType::f32) {
    memcpy(block + 4 * at, &value, 4);
  } else {
    uint16_t half;
    to_bf16(&value, &half, 1);
    memcpy(block + 2 * at, &half, 2);
  }
}

void store_kv_code(KvType type, unsigned char* block, int width, int row, int column, unsigned char code) {
  unsigned char& byte = block[kv_index(type, width, row, column)];
  if (type == KvType::q8) {
    byte = code;
  } else {
    byte = static_cast<unsigned char>(row % 2 == 0 ? (byte & 0xf0) | code : (byte & 0x0f) | code << 4);
  }
}

// One token of K (dimensions are rows) or V (tokens are rows).
void store_kv_row(const StoreKvArgs& a, const float* x, const float* known, int token, bool is_k,
                  unsigned char* block) {
  const int width = is_k ? kKvTokens : a.d;
  if (a.type == KvType::f32 || a.type == KvType::bf16) {
    for (int i = 0; i < a.d; ++i) store_kv_value(a.type, block, width, is_k ? i : token, is_k ? token : i, x[i]);
    return;
  }
  unsigned char codes[kKvMaxGroup];
  for (int g = 0; g < a.d / a.group; ++g) {
    float pair[2];
    const int bins = a.type == KvType::q8 ? 255 : 15;
    if (known == nullptr) {
      quantize_range(x + g * a.group, a.group, bins, pair[0], pair[1]);
    } else {
      memcpy(pair, known + 2 * g, sizeof pair);
    }
    quantize_codes(x + g * a.group, a.group, bins, pair[0], pair[1], codes);
    for (int i = 0; i < a.group; ++i) {
      const int dim = g * a.group + i;
      store_kv_code(a.type, block, width, is_k ? dim : token, is_k ? token : dim, codes[i]);
    }
    unsigned char* scales = block + kv_code_bytes(a.type, a.d) + 4 * (g * kKvTokens + token);
    memcpy(scales, &pair[0], 4);
    memcpy(scales + 4 * (a.d / a.group * kKvTokens), &pair[1], 4);
  }
}

void store_kv(const StoreKvArgs& a) {
  for (int t = 0; t < a.tokens; ++t) {
    const float* k_scales = a.k_scales == nullptr ? nullptr : a.k_scales + t * a.scales_stride;
    const float* v_scales = a.v_scales == nullptr ? nullptr : a.v_scales + t * a.scales_stride;
    store_kv_row(a, a.k + t * a.stride, k_scales, a.first + t, true, a.k_block);
    store_kv_row(a, a.v + t * a.stride, v_scales, a.first + t, false, a.v_block);
  }
}

float kv_at(const AttendArgs& a, bool is_k, int token, int i) {
  const unsigned char* block = (is_k ? a.k : a.v) + a.blocks[token / kKvTokens] * a.block_stride;
  const int t = token % kKvTokens, row = is_k ? i : t, column = is_k ? t : i;
  const int64_t at = kv_index(a.type, is_k ? kKvTokens : a.d, row, column);
  if (a.type == KvType::f32) return load_f32(block + 4 * at);
  if (a.type == KvType::bf16) return from_bf16(load_u16(block + 2 * at));
  const int code = a.type == KvType::q8 ? block[at] : (block[at] >> row % 2 * 4) & 15;
  const unsigned char* scale = block + kv_code_bytes(a.type, a.d) + 4 * (i / a.group * kKvTokens + t);
  return load_f32(scale) * static_cast<float>(code) + load_f32(scale + 4 * (a.d / a.group * kKvTokens));
}

float score(const AttendArgs& a, const float* q, int token) {
  float sum = 0;
  for (int i = 0; i < a.d; ++i) sum += q[i] * kv_at(a, true, token, i);
  return sum * a.scale;
}

void attend(const AttendArgs& a) {
  for (int j = 0; j < a.queries; ++j) {
    const float* q = a.q + static_cast<int64_t>(j) * a.d;
    float* out = a.out + static_cast<int64_t>(j) * a.d;
    const int end = a.end < a.limits[j] ? a.end : a.limits[j];
    float max = -INFINITY, sum = 0;
    for (int token = a.begin; token < end; ++token) {
      const float s = score(a, q, token);
      max = s > max ? s : max;
    }
    memset(out, 0, static_cast<size_t>(a.d) * sizeof(float));
    for (int token = a.begin; token < end; ++token) {
      const float p = expf(score(a, q, token) - max);
      sum += p;
      for (int i = 0; i < a.d; ++i) out[i] += p * kv_at(a, false, token, i);
    }
    a.max[j] = max;
    a.sum[j] = sum;
  }
}

}  // namespace

extern const Kernels kScalarKernels = {
    .name = "scalar",
    .tiles = nullptr,
    .lanes = 1,
    .panel = kPanel,
    .tile_rows = 4,
#include "cpu/isa/table.inl"
};

}  // namespace inkstone
