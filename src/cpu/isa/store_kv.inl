// Writing tokens into a KV block (its layout: kernels.h). A vector's worth of tokens of K is transposed in registers
// once, here, so that attention never transposes; what does not fill a vector or a pair goes element by element.
// kLanes tokens of K from `token` on, a multiple of kLanes.
void store_k_square(const StoreKvArgs& a, const float* k, int token) {
  for (int i = 0; i < a.d; i += kLanes) {
    F32 square[kLanes];
    for (int r = 0; r < kLanes; ++r) square[r] = F32::load(k + r * a.stride + i, a.d - i);
    transpose(square);
    for (int r = 0; r < kLanes && i + r < a.d; r += 2) {
      unsigned char* to = a.k_block + 4 * ((i + r) / (a.type == KvType::bf16 ? 2 : 1) * kKvTokens + token);
      if (a.type == KvType::bf16) {
        store_bf16_pairs(square[r], square[r + 1], to, kLanes);
      } else {
        square[r].store(reinterpret_cast<float*>(to));
        square[r + 1].store(reinterpret_cast<float*>(to + 4 * kKvTokens));
      }
    }
  }
}

// One token: its dimensions lie in rows (pairs of rows) of the block.
void store_k_token(const StoreKvArgs& a, const float* k, int token) {
  for (int i = 0; i < a.d; i += kLanes) {
    uint16_t halves[kLanes];
    store_bf16(F32::load(k + i, a.d - i), halves, kLanes);
    for (int r = 0; r < kLanes && i + r < a.d; ++r) {
      const int dim = i + r;
      if (a.type == KvType::bf16) {
        memcpy(a.k_block + 2 * ((dim / 2 * kKvTokens + token) * 2 + dim % 2), &halves[r], 2);
      } else {
        memcpy(a.k_block + 4 * (dim * kKvTokens + token), k + dim, 4);
      }
    }
  }
}

void store_v_pair(const StoreKvArgs& a, const float* v, int token) {
  unsigned char* to = a.v_block + 4 * (token / 2 * a.d);
  for (int i = 0; i < a.d; i += kLanes)
    store_bf16_pairs(F32::load(v + i, a.d - i), F32::load(v + a.stride + i, a.d - i), to + 4 * i, a.d - i);
}

void store_v_token(const StoreKvArgs& a, const float* v, int token) {
  if (a.type == KvType::f32) {
    memcpy(a.v_block + 4 * (token * a.d), v, static_cast<size_t>(4 * a.d));
    return;
  }
  unsigned char* to = a.v_block + 4 * (token / 2 * a.d) + 2 * (token % 2);
  for (int i = 0; i < a.d; i += kLanes) {
    uint16_t halves[kLanes];
    store_bf16(F32::load(v + i, a.d - i), halves, kLanes);
    for (int r = 0; r < kLanes && i + r < a.d; ++r) memcpy(to + 4 * (i + r), &halves[r], 2);
  }
}

// Scale and bias of one group of one token as the reference computes them: the larger end of the range is met exactly.
void quantize_range(const float* x, int group, int bins, float& scale, float& bias) {
  F32 lows = F32::load(x), highs = lows;
  for (int i = kLanes; i < group; i += kLanes) {
    lows = min(lows, F32::load(x + i));
    highs = max(highs, F32::load(x + i));
  }
  const float low = -reduce_max(F32::zero() - lows), high = reduce_max(highs);
  const bool from_low = -low > high;
  const float edge = from_low ? low : high, width = (high - low) / static_cast<float>(bins);
  scale = (width > 1e-7f ? width : 1e-7f) * (from_low ? 1.0f : -1.0f);
  const float steps = __builtin_nearbyintf(edge / scale);
  bias = steps != 0 ? edge : 0;
  if (steps != 0) scale = edge / steps;
}

void quantize_codes(const float* x, int group, int bins, float scale, float bias, unsigned char* codes) {
  for (int i = 0; i < group; i += kLanes) {
    const F32 code = round((F32::load(x + i) - F32::all(bias)) / F32::all(scale));
    float lanes[kLanes];
    min(max(code, F32::zero()), F32::all(static_cast<float>(bins))).store(lanes);
    for (int r = 0; r < kLanes; ++r) codes[i + r] = static_cast<unsigned char>(lanes[r]);
  }
}

// One token. Codes of K lie a row apart, in q4 two dimensions share a byte; those of V follow each other, in q4 two
// tokens share a byte.
void store_quantized(const StoreKvArgs& a, const float* x, const float* known, int token, bool is_k,
                     unsigned char* block) {
  unsigned char codes[kKvMaxGroup];
  const int groups = a.d / a.group, bins = a.type == KvType::q8 ? 255 : 15;
  float* scales = reinterpret_cast<float*>(block + kv_code_bytes(a.type, a.d)) + token;
  for (int g = 0; g < groups; ++g) {
    float scale, bias;
    if (known != nullptr) {
      scale = known[2 * g];
      bias = known[2 * g + 1];
    } else {
      quantize_range(x + g * a.group, a.group, bins, scale, bias);
    }
    quantize_codes(x + g * a.group, a.group, bins, scale, bias, codes);
    scales[g * kKvTokens] = scale;
    scales[(groups + g) * kKvTokens] = bias;
    const int first = g * a.group;
    if (a.type == KvType::q8 && is_k) {
      for (int i = 0; i < a.group; ++i) block[(first + i) * kKvTokens + token] = codes[i];
    } else if (a.type == KvType::q8) {
      memcpy(block + token * a.d + first, codes, static_cast<size_t>(a.group));
    } else if (is_k) {
      for (int i = 0; i < a.group; i += 2)
        block[(first + i) / 2 * kKvTokens + token] = static_cast<unsigned char>(codes[i] | codes[i + 1] << 4);
    } else {
      unsigned char* to = block + token / 2 * a.d + first;
      const int shift = token % 2 * 4, kept = 0xf0 >> shift;
      for (int i = 0; i < a.group; ++i) to[i] = static_cast<unsigned char>((to[i] & kept) | codes[i] << shift);
    }
  }
}

void store_kv(const StoreKvArgs& a) {
  const bool quantized = a.type == KvType::q8 || a.type == KvType::q4;
  const auto known = [&](const float* scales, int t) {
    return scales == nullptr ? nullptr : scales + t * a.scales_stride;
  };
  for (int t = 0; t < a.tokens;) {
    const float* k = a.k + t * a.stride;
    const int token = a.first + t;
    if (quantized) {
      store_quantized(a, k, known(a.k_scales, t), token, true, a.k_block);
      ++t;
    } else if (token % kLanes == 0 && t + kLanes <= a.tokens) {
      store_k_square(a, k, token);
      t += kLanes;
    } else {
      store_k_token(a, k, token);
      ++t;
    }
  }
  for (int t = 0; t < a.tokens;) {
    const float* v = a.v + t * a.stride;
    const int token = a.first + t;
    if (quantized) {
      store_quantized(a, v, known(a.v_scales, t), token, false, a.v_block);
      ++t;
    } else if (a.type == KvType::bf16 && token % 2 == 0 && t + 2 <= a.tokens) {
      store_v_pair(a, v, token);
      t += 2;
    } else {
      store_v_token(a, v, token);
      ++t;
    }
  }
}
