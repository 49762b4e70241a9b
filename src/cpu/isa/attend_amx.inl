// Attention in the matrix unit: bf16 operands, f32 sums. d is a multiple of 32, the KV type not f32.
//
// 32 queries (a strip) times 128 tokens (a step) at a time. K and V lie in the cache as the unit's right operand
// (kernels.h), queries and softmax weights are rows of bf16, its left one:
//   S [32, 128] = Q K        d / 32 steps of 4 products for each 32 tokens, stored to a buffer in L1
//   P = 2^(S - max)          rows; log2(e) is part of Q's scale
//   O [32, d] += P V         sums are loaded and stored once a step, rescaled only in rows whose maximum moved
// While the unit computes S of the next strip or step, the vector units turn the S before it into P: two rows of
// softmax follow each 4 products. A step at d = 128 costs the unit 2 x 64 products, 2048 cycles.
constexpr int kStripQueries = 32;
constexpr int kTileStep = 128;  // tokens
constexpr int kStepBlocks = kTileStep / kKvTokens;

// 2^x for x <= 0, to 8e-5: bf16 keeps 2e-3. The polynomial is the best of degree 3 on [-1/2, 1/2].
F32 exp2_bf16(F32 x) {
  const F32 n = round(x), f = x - n;
  F32 p = fma(F32::all(0.055171669f), f, F32::all(0.242611122f));
  p = fma(p, f, F32::all(0.693260985f));
  p = fma(p, f, F32::all(0.999928074f));
  return scale_by_power(p, n);
}

void fetch_lines(const unsigned char* p, int64_t lines) {  // into L2
  for (int64_t i = 0; i < lines; ++i) _mm_prefetch(reinterpret_cast<const char*>(p + 64 * i), _MM_HINT_T1);
}

struct TileAttention {
  // A strip at a step: what S, P and O are computed for.
  struct Item {
    int token;   // first of the step
    int strip;   // of queries
    int blocks;  // of the step that some query of the strip sees
  };

  const AttendArgs& a;
  const int64_t lines;  // of a block's K or V
  uint16_t* q;          // [strips, 32, d] bf16
  float* out;           // [strips, 32, d]
  float* sums;          // [queries, 16] lanes of the sums
  float* scores[2];     // [32, kTileStep]
  uint16_t* weights;    // [32, kTileStep] bf16
  uint16_t* keys;       // [kStepBlocks, d / 2, 32, 2]: K of a step that the cache does not hold in bf16
  uint16_t* values;     // [kStepBlocks, 16, d, 2]: V likewise, and of a block that is not full
  const unsigned char* k[kStepBlocks] = {};
  const unsigned char* v[kStepBlocks] = {};
  int k_token = -1, v_token = -1;  // the steps that k and v are of

  explicit TileAttention(const AttendArgs& args) : a(args), lines(kv_lines(args)) {
    const int64_t rows = (a.queries + kStripQueries - 1) / kStripQueries * kStripQueries, d = a.d;
    float* next = a.scratch;
    const auto take = [&](int64_t floats) {
      float* taken = next;
      next += floats;
      return taken;
    };
    scores[0] = take(kStripQueries * kTileStep);
    scores[1] = take(kStripQueries * kTileStep);
    weights = reinterpret_cast<uint16_t*>(take(kStripQueries * kTileStep / 2));
    q = reinterpret_cast<uint16_t*>(take(rows * d / 2));
    out = take(rows * d);
    sums = take(rows * kLanes);
    keys = reinterpret_cast<uint16_t*>(take(kTileStep * d / 2));
    values = reinterpret_cast<uint16_t*>(take(kTileStep * d / 2));
    memset(out, 0, static_cast<size_t>(rows * d) * sizeof(float));
    memset(sums, 0, static_cast<size_t>(rows * kLanes) * sizeof(float));
    memset(weights, 0, kStripQueries * kTileStep * sizeof(uint16_t));  // of rows beyond the queries
    const F32 scale = F32::all(a.scale * 1.44269504f);
    for (int64_t j = 0; j < rows; ++j) {
      for (int64_t i = 0; i < d; i += 2 * kLanes) {
        const float* from = a.q + j * d + i;
        const bool there = j < a.queries;
        const F32 low = there ? F32::load(from) * scale : F32::zero();
        const F32 high = there ? F32::load(from + kLanes) * scale : F32::zero();
        _mm512_storeu_si512(q + j * d + i, bf16_pair(low, high));
      }
    }
    for (int j = 0; j < a.queries; ++j) a.max[j] = -__builtin_inff();
  }

  int strip_end(int strip) const {
    const int end = (strip + 1) * kStripQueries;
    return end < a.queries ? end : a.queries;
  }
  bool valid(const Item& item) const { return item.token < a.end; }
  // `item`, or the next one that sees something.
  Item find(Item item) const {
    for (; item.token < a.end; item.token += kTileStep, item.strip = 0) {
      for (; item.strip * kStripQueries < a.queries; ++item.strip) {
        const int limit = a.limits[strip_end(item.strip) - 1], end = limit < a.end ? limit : a.end;
        if (end <= item.token) continue;
        const int tokens = end - item.token < kTileStep ? end - item.token : kTileStep;
        item.blocks = (tokens + kKvTokens - 1) / kKvTokens;
        return item;
      }
    }
    return item;
  }

  const unsigned char* block(const unsigned char* cache, int token) const {
    return cache + a.blocks[token / kKvTokens] * a.block_stride;
  }
  int step_blocks(int token) const {
    const int left = (a.end - token + kKvTokens - 1) / kKvTokens;
    return left < kStepBlocks ? left : kStepBlocks;
  }

  template <KvType kType>
  void widen_keys(const unsigned char* from, unsigned char* to) const {
    for (int dim = 0; dim < a.d; dim += 2) {
      for (int t = 0; t < kKvTokens; t += kLanes) {
        F32 even, odd;
        load_k<kType>(a, from, dim, t, even, odd);
        store_bf16_pairs(even, odd, to + 2 * (dim * kKvTokens + 2 * t), kLanes);
      }
    }
  }
  // Tokens that were never written become zeros: even 0 times what lies there could be NaN.
  template <KvType kType>
  void widen_values(const unsigned char* from, int tokens, unsigned char* to) const {
    for (int t = 0; t < kKvTokens; t += 2) {
      for (int dim = 0; dim < a.d; dim += kLanes) {
        F32 even, odd;
        load_v<kType>(a, from, t, dim, even, odd);
        store_bf16_pairs(t < tokens ? even : F32::zero(), t + 1 < tokens ? odd : F32::zero(),
                         to + 2 * (t * a.d + 2 * dim), kLanes);
      }
    }
  }

  void prepare_keys(int token) {
    if (k_token == token) return;
    k_token = token;
    for (int b = 0; b < step_blocks(token); ++b) {
      k[b] = block(a.k, token + b * kKvTokens);
      if (a.type == KvType::bf16) continue;
      unsigned char* to = reinterpret_cast<unsigned char*>(keys + static_cast<int64_t>(b) * kKvTokens * a.d);
      a.type == KvType::q8 ? widen_keys<KvType::q8>(k[b], to) : widen_keys<KvType::q4>(k[b], to);
      k[b] = to;
    }
  }
  void prepare_values(int token) {
    if (v_token == token) return;
    v_token = token;
    for (int b = 0; b < step_blocks(token); ++b) {
      const int first = token + b * kKvTokens, tokens = a.end - first;
      v[b] = block(a.v, first);
      if (a.type == KvType::bf16 && tokens >= kKvTokens) continue;
      unsigned char* to = reinterpret_cast<unsigned char*>(values + static_cast<int64_t>(b) * kKvTokens * a.d);
      switch (a.type) {
        case KvType::bf16: widen_values<KvType::bf16>(v[b], tokens, to); break;
        case KvType::q8: widen_values<KvType::q8>(v[b], tokens, to); break;
        default: widen_values<KvType::q4>(v[b], tokens, to);
      }
      v[b] = to;
    }
  }

  // One query's row of S becomes its row of P.
  void softmax_row(const Item& item, const float* s, int row) {
    const int query = item.strip * kStripQueries + row;
    if (query >= a.queries) return;
    uint16_t* p = weights + row * kTileStep;
    const int tokens = item.blocks * kKvTokens;
    const int limit = a.limits[query] < a.end ? a.limits[query] : a.end, visible = limit - item.token;
    if (visible <= 0) {
      memset(p, 0, static_cast<size_t>(tokens) * sizeof(uint16_t));
      return;
    }
    s += row * kTileStep;
    const bool whole = visible >= tokens;
    const F32 none = F32::all(-__builtin_inff());
    F32 best = none;
    for (int t = 0; t < tokens; t += kLanes) {
      const F32 x = F32::load(s + t);
      best = max(whole ? x : first(x, none, visible - t), best);
    }
    const float top = reduce_max(best), old_max = a.max[query];
    const F32 new_max = F32::all(top > old_max ? top : old_max);
    F32 total = F32::load(sums + query * kLanes);
    if (top > old_max) {
      a.max[query] = top;
      const F32 correction = old_max < -3e38f ? F32::zero() : exp2_bf16(F32::all(old_max) - new_max);
      total = total * correction;
      float* o = out + static_cast<int64_t>(query) * a.d;
      for (int i = 0; i < a.d; i += kLanes) (F32::load(o + i) * correction).store(o + i);
    }
    for (int t = 0; t < tokens; t += 2 * kLanes) {
      F32 low = exp2_bf16(F32::load(s + t) - new_max), high = exp2_bf16(F32::load(s + t + kLanes) - new_max);
      if (!whole) {
        low = first(low, F32::zero(), visible - t);
        high = first(high, F32::zero(), visible - t - kLanes);
      }
      total = total + (low + high);
      _mm512_storeu_si512(p + t, bf16_pair(low, high));
    }
    total.store(sums + query * kLanes);
  }

  // S of `item`; between its products the rows of the S before it go through the softmax.
  void multiply_keys(const Item& item, float* s, const Item* before, const float* before_scores) {
    prepare_keys(item.token);
    finish_stores();
    const bool two = strip_end(item.strip) - item.strip * kStripQueries > 16;
    const uint16_t* left = q + static_cast<int64_t>(item.strip) * kStripQueries * a.d;
    const int slots = item.blocks * a.d / 32, rows = (kStripQueries + slots - 1) / slots;
    const int next = item.strip == 0 ? item.token + kTileStep : a.end;  // fetched meanwhile, once a step
    const int next_blocks = next < a.end ? step_blocks(next) : 0,
              per_slot = (next_blocks * static_cast<int>(lines) + slots - 1) / slots;
    int row = 0, fetched = 0;
    for (int b = 0; b < item.blocks; ++b) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
      for (int i = 0; i < a.d; i += 32) {
        const unsigned char* right = k[b] + static_cast<int64_t>(i) * kKvTokens * 2;
        _tile_loadd(6, right, 128);
        _tile_loadd(4, left + i, 2 * a.d);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, right + 64, 128);
        _tile_dpbf16ps(1, 4, 7);
        if (two) {
          _tile_loadd(5, left + 16 * a.d + i, 2 * a.d);
          _tile_dpbf16ps(2, 5, 6);
          _tile_dpbf16ps(3, 5, 7);
        }
        fetched = fetch_step(a.k, next, next_blocks, fetched, per_slot);
        for (int end = row + rows; before != nullptr && row < end && row < kStripQueries; ++row)
          softmax_row(*before, before_scores, row);
      }
      float* to = s + b * kKvTokens;
      _tile_stored(0, to, 4 * kTileStep);
      _tile_stored(1, to + 16, 4 * kTileStep);
      if (two) {
        _tile_stored(2, to + 16 * kTileStep, 4 * kTileStep);
        _tile_stored(3, to + 16 * kTileStep + 16, 4 * kTileStep);
      }
    }
  }

  // `count` more lines of a step's blocks after the first `fetched`.
  int fetch_step(const unsigned char* cache, int token, int blocks, int fetched, int count) const {
    const int size = static_cast<int>(lines);
    for (int end = fetched + count; fetched < end && fetched < blocks * size;) {
      const int b = fetched / size, line = fetched % size;
      const int n = end - fetched < size - line ? end - fetched : size - line;
      fetch_lines(block(cache, token + b * kKvTokens) + 64 * static_cast<int64_t>(line), n);
      fetched += n;
    }
    return fetched;
  }

  // O += P V
  void multiply_values(const Item& item) {
    prepare_values(item.token);
    finish_stores();
    const bool two = strip_end(item.strip) - item.strip * kStripQueries > 16;
    float* o = out + static_cast<int64_t>(item.strip) * kStripQueries * a.d;
    const int slots = item.blocks * a.d / 32;
    const int next = item.strip == 0 ? item.token + kTileStep : a.end;
    const int next_blocks = next < a.end ? step_blocks(next) : 0,
              per_slot = (next_blocks * static_cast<int>(lines) + slots - 1) / slots;
    int fetched = 0;
    for (int i = 0; i < a.d; i += 32, o += 32) {
      _tile_loadd(0, o, 4 * a.d);
      _tile_loadd(1, o + 16, 4 * a.d);
      if (two) {
        _tile_loadd(2, o + 16 * a.d, 4 * a.d);
        _tile_loadd(3, o + 16 * a.d + 16, 4 * a.d);
      }
      for (int b = 0; b < item.blocks; ++b) {
        _tile_loadd(6, v[b] + 4 * static_cast<int64_t>(i), 4 * a.d);
        _tile_loadd(4, weights + b * kKvTokens, 2 * kTileStep);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, v[b] + 4 * static_cast<int64_t>(i + 16), 4 * a.d);
        _tile_dpbf16ps(1, 4, 7);
        if (two) {
          _tile_loadd(5, weights + 16 * kTileStep + b * kKvTokens, 2 * kTileStep);
          _tile_dpbf16ps(2, 5, 6);
          _tile_dpbf16ps(3, 5, 7);
        }
        fetched = fetch_step(a.v, next, next_blocks, fetched, per_slot);
      }
      _tile_stored(0, o, 4 * a.d);
      _tile_stored(1, o + 16, 4 * a.d);
      if (two) {
        _tile_stored(2, o + 16 * a.d, 4 * a.d);
        _tile_stored(3, o + 16 * a.d + 16, 4 * a.d);
      }
    }
  }

  void run() {
    Item item = find({a.begin, 0, 0});
    if (valid(item)) {
      fetch_step(a.v, item.token, step_blocks(item.token), 0, kStepBlocks * static_cast<int>(lines));
      multiply_keys(item, scores[0], nullptr, nullptr);
    }
    for (int at = 0; valid(item); at ^= 1) {
      const Item next = find({item.token, item.strip + 1, 0});
      if (valid(next)) {
        multiply_keys(next, scores[at ^ 1], &item, scores[at]);
      } else {
        for (int row = 0; row < kStripQueries; ++row) softmax_row(item, scores[at], row);
      }
      multiply_values(item);
      item = next;
    }
    for (int j = 0; j < a.queries; ++j) {
      a.max[j] *= 0.693147181f;
      a.sum[j] = reduce_add(F32::load(sums + j * kLanes));
      for (int i = 0; i < a.d; i += kLanes)
        F32::load(out + static_cast<int64_t>(j) * a.d + i).store(a.out + static_cast<int64_t>(j) * a.d + i);
    }
  }
};

void tile_attend(const AttendArgs& a) {
  const Tiles tiles;
  TileAttention(a).run();
}
