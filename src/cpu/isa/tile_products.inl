// bf16 products in tiles of 16 x 16: weights are the left operand as they lie, activations the right one in pairs.
//
// Many tokens (tile_multiply): blocks of 32 weights x 32 tokens, 4 tiles of sums, so that each load serves two
// products: a step costs 4 loads (32 cycles from L1) and 4 products (64 cycles). A sliver's chunk (32 tokens x 256
// positions, 16 KiB) stays in L1 while the panel streams past it from L2.
// Few tokens (tile_stream): 16 rows of weights at a time are made bf16 in L1 and multiplied at once; two rows are
// unpacked for each step of products, so that both units work at the same time.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// GCC 12's tile loads do not say that they read memory: what was stored before must not be put off until after them.
void finish_stores() { asm volatile("" : : : "memory"); }

// The tiles of this thread, for as long as it lives.
struct Tiles {
  Tiles() {
    const TileConfig config;
    // GCC 12 believes that _tile_loadconfig reads 8 bytes and would drop the stores to the rest.
    asm volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
};

// Columns of a block of positions, 16 tokens each, become the rows of a token tile: pairs of positions interleaved.
// cols[i] is column i of the block; c as codes_per_lane; out is the block's first step of the tile.
void store_block(const F32* cols, int c, uint16_t* out) {
  alignas(64) static constexpr uint16_t kInterleave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                           21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                           11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i interleave = _mm512_load_si512(kInterleave);
  for (int step = 0; step < c; ++step, out += kSliverStep)
    for (int pair = 0; pair < kTileEdge; ++pair)
      _mm512_storeu_si512(
          out + pair * kStep,
          _mm512_permutexvar_epi16(interleave, bf16_pair(cols[2 * pair * c + step], cols[(2 * pair + 1) * c + step])));
}

void tile_pack(const TilePackArgs& a) {
  const int c = tile_codes_per_lane(*a.w);
  const int64_t block = kStep * c;
  F32 cols[kPositionBlock];
  for (int first = 0; first < a.rows; first += kTileEdge) {
    uint16_t* out = a.out + first / kTileEdge * kTileElements;
    for (int64_t begin = a.begin; begin < a.end; begin += block, out += c * kSliverStep) {
      for (int64_t i = 0; i < block; i += kLanes) {
        for (int t = 0; t < kTileEdge; ++t) {
          const int64_t left = a.w->in - begin - i;
          cols[i + t] = first + t < a.rows && left > 0 ? F32::load(a.x[first + t] + begin + i, left) : F32::zero();
        }
        transpose(cols + i);
      }
      store_block(cols, c, out);
    }
  }
}

// kRows row tiles x kTokens token tiles over `steps` steps. Each step also fetches `ahead_bytes` from `ahead` on.
template <int kRows, int kTokens>
void tile_block(const uint16_t* a, int64_t a_stride, const uint16_t* b, int64_t steps, float* c, bool accumulate,
                const uint16_t* ahead, int64_t ahead_bytes) {
  const char* line = reinterpret_cast<const char*>(ahead);
  finish_stores();
  constexpr int kC = 256;  // floats of a tile
  if (accumulate) {
    _tile_loadd(0, c, 64);
    if (kTokens > 1) _tile_loadd(1, c + kC, 64);
    if (kRows > 1) _tile_loadd(2, c + 2 * kC, 64);
    if (kRows > 1 && kTokens > 1) _tile_loadd(3, c + 3 * kC, 64);
  } else {
    _tile_zero(0);
    if (kTokens > 1) _tile_zero(1);
    if (kRows > 1) _tile_zero(2);
    if (kRows > 1 && kTokens > 1) _tile_zero(3);
  }
  for (int64_t s = 0; s < steps; ++s, a += kTileElements, b += kSliverStep) {
    for (const char* end = line + ahead_bytes; line < end; line += 64) _mm_prefetch(line, _MM_HINT_T1);
    _tile_loadd(6, b, 64);
    _tile_loadd(4, a, 64);
    _tile_dpbf16ps(0, 4, 6);
    if (kTokens > 1) {
      _tile_loadd(7, b + kTileElements, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if (kRows > 1) {
      _tile_loadd(5, a + a_stride, 64);
      _tile_dpbf16ps(2, 5, 6);
      if (kTokens > 1) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, 64);
  if (kTokens > 1) _tile_stored(1, c + kC, 64);
  if (kRows > 1) _tile_stored(2, c + 2 * kC, 64);
  if (kRows > 1 && kTokens > 1) _tile_stored(3, c + 3 * kC, 64);
}

constexpr int64_t kSumsTile = 512;  // floats of a row tile of a sliver: two token tiles

// Walks the lines of what comes next, a few at a time.
struct NextRows {
  TileNext next[2];
  int which = 0;
  int64_t at = 0;

  int64_t lines() const {
    return next[0].rows * ((next[0].width + 126) / 64) + next[1].rows * ((next[1].width + 126) / 64);
  }
  void fetch(int64_t count) {
    while (count-- > 0) {
      if (next[which].rows == 0 && which == 0) which = 1;
      TileNext& n = next[which];
      if (n.rows == 0) return;
      _mm_prefetch(reinterpret_cast<const char*>(n.bytes + at), _MM_HINT_T1);
      at += 64;
      if (at < n.width + 63) continue;  // a row that is not aligned ends in one line more
      at = 0;
      n.bytes += n.stride;
      --n.rows;
    }
  }
};

void tile_multiply(const TileMultiplyArgs& a) {
  const Tiles tiles;
  const int slivers = (a.tokens + kSliverTokens - 1) / kSliverTokens;
  const int64_t panel_stride = a.steps * kTileElements;
  const int64_t blocks = static_cast<int64_t>(slivers) * ((a.row_tiles + 1) / 2);
  NextRows next{{a.next[0], a.next[1]}};
  const int64_t lines = (next.lines() + blocks - 1) / blocks;
  // Each sliver's chunk is used by all row blocks in turn; meanwhile the next sliver's is fetched, a part a block.
  const int64_t row_blocks = (a.row_tiles + 1) / 2;
  const int64_t ahead_bytes = (kSliverStep * 2 / 64 + row_blocks - 1) / row_blocks * 64;
  for (int s = 0; s < slivers; ++s) {
    const uint16_t* b = a.x + s * a.sliver_stride;
    const uint16_t* ahead = b + (s + 1 < slivers ? a.sliver_stride : 0);
    float* c = a.sums + static_cast<int64_t>(s) * a.row_tiles * kSumsTile;
    const bool wide = a.tokens - s * kSliverTokens > kTileEdge;
    for (int r = 0; r < a.row_tiles; r += 2, c += 2 * kSumsTile, ahead += a.steps * ahead_bytes / 2) {
      const uint16_t* panel = a.panel + r * panel_stride;
      next.fetch(lines);
      const auto block = [&](auto product) {
        product(panel, panel_stride, b, a.steps, c, a.accumulate, ahead, s + 1 < slivers ? ahead_bytes : 0);
      };
      if (r + 1 < a.row_tiles) {
        block(wide ? tile_block<2, 2> : tile_block<2, 1>);
      } else {
        block(wide ? tile_block<1, 2> : tile_block<1, 1>);
      }
    }
  }
}

// One tile of sums [16 rows][16 tokens] into y[token][row].
void store_tile(const float* sums, int rows, int tokens, float* y, int64_t y_stride, bool add) {
  F32 square[kTileEdge];
  for (int r = 0; r < kTileEdge; ++r) square[r] = F32::load(sums + r * kTileEdge);
  transpose(square);
  for (int t = 0; t < tokens && t < kTileEdge; ++t) {
    float* to = y + t * y_stride;
    (add ? F32::load(to, rows) + square[t] : square[t]).store(to, rows);
  }
}

// 16 tokens x up to 256 rows are gathered here first, so that each token's part of y is written as one run: its lines
// are pages apart from the next token's.
void tile_store(const TileStoreArgs& a) {
  constexpr int kRun = 256;
  alignas(64) float runs[kTileEdge * kRun];
  const int row_tiles = (a.rows + kTileEdge - 1) / kTileEdge;
  for (int t = 0; t < a.tokens; t += kTileEdge) {
    const float* sums = a.sums + t / kSliverTokens * row_tiles * kSumsTile + t % kSliverTokens / kTileEdge * 256;
    for (int r = 0; r < a.rows; r += kRun) {
      const int rows = a.rows - r < kRun ? a.rows - r : kRun;
      for (int i = 0; i < rows; i += kTileEdge, sums += kSumsTile)
        store_tile(sums, kTileEdge, kTileEdge, runs + i, kRun, false);
      for (int u = t; u < a.tokens && u < t + kTileEdge; ++u) {
        float* to = a.y + u * a.y_stride + r;
        const float* from = runs + (u - t) * kRun;
        for (int i = 0; i < rows; i += kLanes) {
          const F32 value = F32::load(from + i);
          (a.add ? F32::load(to + i, rows - i) + value : value).store(to + i, rows - i);
        }
      }
    }
  }
}

// gate / (1 + e^-gate) * up; the reciprocal from 14 bits by one step of Newton's, since a division takes 16 cycles.
F32 silu_times(F32 gate, F32 up) {
  const F32 denominator = F32::all(1.0f) + min(exp(F32::zero() - gate), F32::all(1e38f));
  const F32 guess{_mm512_rcp14_ps(denominator.v)};
  return gate * up * (guess * fnma(denominator, guess, F32::all(2.0f)));
}

void tile_gate(const TileGateArgs& a) {
  const int row_tiles = (a.rows + kTileEdge - 1) / kTileEdge;
  const int c = tile_codes_per_lane(*a.down);
  const int block = static_cast<int>(kStep) * c;
  const int64_t end = (a.down->in + kPositionBlock - 1) / kPositionBlock * kPositionBlock;
  const bool last = a.first + a.rows >= a.down->in;
  const int64_t padded = last ? end - a.first : a.rows;  // positions beyond the last column are zeros
  F32 cols[kPositionBlock];
  for (int t = 0; t < a.tokens; t += kTileEdge) {
    const int tile = t % kSliverTokens / kTileEdge;
    const float* gate = a.sums + static_cast<int64_t>(t / kSliverTokens) * 2 * row_tiles * kSumsTile + tile * 256;
    const float* up = gate + row_tiles * kSumsTile;
    uint16_t* out = a.out + t / kSliverTokens * a.sliver_stride + a.first / kStep * kSliverStep + tile * kTileElements;
    for (int64_t begin = 0; begin < padded; begin += block, out += c * kSliverStep) {
      for (int i = 0; i < block; ++i) {
        const int64_t row = begin + i, at = row / kTileEdge * kSumsTile + row % kTileEdge * kTileEdge;
        cols[i] = row < a.rows ? silu_times(F32::load(gate + at), F32::load(up + at)) : F32::zero();
      }
      store_block(cols, c, out);
    }
  }
}

// The next 16 rows of a matrix, fetched into L2 in the order of memory while these are computed: memory then sees one
// stream, whatever the order in which tiles want it.
struct NextBlock {
  struct Part {  // codes, scales, biases
    const unsigned char* line;
    const unsigned char* goal;
    int64_t bytes;  // a step
  } parts[3];

  NextBlock(const Matrix& w, int64_t row, int64_t steps) {
    const int64_t scales = w.groups * scale_bytes(w.scale_format);
    part(0, w.weight, row, w.row_bytes, steps);
    part(1, w.scales, row, scales, steps);
    part(2, w.biases, row, w.biases == nullptr ? 0 : scales, steps);
  }
  void part(int i, const unsigned char* from, int64_t row, int64_t row_bytes, int64_t steps) {
    const unsigned char* start = from + row * row_bytes;
    parts[i] = {start, start, kTileEdge * row_bytes / steps};
  }
  void fetch() {
    for (Part& p : parts)
      for (p.goal += p.bytes; p.line < p.goal; p.line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(p.line), _MM_HINT_T1);
  }
};

// Two steps. A product's result is there only after more than three others; but rows are unpacked between pairs of
// steps, so one chain of sums for even and one for odd steps are enough.
template <int kTokens>
void stream_steps(const uint16_t* panel, const uint16_t* x) {
  finish_stores();
  _tile_loadd(4, panel, 64);
  _tile_loadd(6, x, 64);
  _tile_dpbf16ps(0, 4, 6);
  if (kTokens > 1) {
    _tile_loadd(7, x + kTileElements, 64);
    _tile_dpbf16ps(2, 4, 7);
  }
  _tile_loadd(5, panel + kTileElements, 64);
  _tile_loadd(6, x + kSliverStep, 64);
  _tile_dpbf16ps(1, 5, 6);
  if (kTokens > 1) {
    _tile_loadd(7, x + kSliverStep + kTileElements, 64);
    _tile_dpbf16ps(3, 5, 7);
  }
}

constexpr int kRowsAtOnce = 4;  // rows that are unpacked between two pairs of steps

// The weights of a stream, unpacked in order: 16 rows x 256 positions (a unit) into one of two buffers, then the next.
template <class Format>
struct StreamUnits {
  const TileStreamArgs& a;
  const Matrix& w = *a.w;
  const int64_t count = (w.in + kPositionBlock - 1) / kPositionBlock;  // units of 16 rows
  const int64_t bytes = column_bytes(w, kPositionBlock), groups = w.groups > 0 ? kPositionBlock / w.group : 0;
  uint16_t* const buffers;
  float* const scales = a.scratch;
  float* const biases = scales + kTileEdge * w.groups + 2 * kScalePad;
  NextBlock ahead{w, a.begin, count* kTileEdge / kRowsAtOnce};
  int64_t first = 0, unit = 0;  // what is unpacked now
  int rows = 0, buffer = 0;

  StreamUnits(const TileStreamArgs& args, uint16_t* two_units) : a(args), buffers(two_units) { start(a.begin); }

  bool done() const { return first >= a.end; }
  uint16_t* unpacked() const { return buffers + buffer * kRowSteps * kTileElements; }
  void start(int64_t row) {
    first = row;
    if (done()) return;
    rows = static_cast<int>(a.end - first < kTileEdge ? a.end - first : kTileEdge);
    if (w.groups > 0) widen_groups(w, first * w.groups, rows * w.groups, scales, biases);
    ahead = NextBlock(w, first + kTileEdge < a.end ? first + kTileEdge : a.next, count * kTileEdge / kRowsAtOnce);
  }
  void next() {
    buffer ^= 1;
    if (++unit < count) return;
    unit = 0;
    start(first + kTileEdge);
  }
  // Rows [r, r + kRowsAtOnce) of the unit; zeros beyond the last.
  __attribute__((always_inline)) void unpack(int r) {
    ahead.fetch();
    const int64_t group = r * w.groups + unit * groups;
    RowPart part{w, w.weight + (first + r) * w.row_bytes + unit * bytes, scales + group, biases + group,
                 w.in - unit * kPositionBlock};
    uint16_t* out = unpacked() + r * kStep;
    for (int i = 0; i < kRowsAtOnce; ++i, out += kStep) {
      if (r + i >= rows) {
        for (int s = 0; s < kRowSteps; ++s) put_step(out, s, _mm512_setzero_si512());
        continue;
      }
      Format::positions(part, out);
      part.codes += w.row_bytes;
      part.scales += w.groups;
      part.biases += w.groups;
    }
  }
};

// While a unit is multiplied, the next one is unpacked, be it of the next 16 rows: no unit waits for another but the
// first.
template <int kTokens, class Format>
void stream_rows(const TileStreamArgs& a, uint16_t* buffers, float* sums) {
  StreamUnits<Format> units(a, buffers);
  for (int r = 0; r < kTileEdge; r += kRowsAtOnce) units.unpack(r);
  for (int64_t o = a.begin; o < a.end; o += kTileEdge) {
    const int rows = units.rows;
    const uint16_t* x = a.x;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t unit = 0; unit < units.count; ++unit) {
      const uint16_t* panel = units.unpacked();
      units.next();
      const bool more = !units.done();
      for (int s = 0; s < kRowSteps; s += 2, panel += 2 * kTileElements, x += 2 * kSliverStep) {
        if (more) units.unpack(2 * s);
        stream_steps<kTokens>(panel, x);
      }
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + 256, 64);
    _tile_stored(2, sums + 512, 64);
    _tile_stored(3, sums + 768, 64);
    for (int t = 0; t < kTokens; ++t) {
      float* tile = sums + t * 512;
      for (int i = 0; i < 256; i += kLanes) (F32::load(tile + i) + F32::load(tile + 256 + i)).store(tile + i);
      store_tile(tile, rows, a.tokens - t * kTileEdge, a.y + t * kTileEdge * a.y_stride + o, a.y_stride, a.add);
    }
  }
}

void tile_stream(const TileStreamArgs& a) {
  const Tiles tiles;
  alignas(64) uint16_t buffers[2 * kRowSteps * kTileElements];
  alignas(64) float sums[4 * 256];
  with_tile_format(*a.w, [&](auto format) {
    using Format = decltype(format);
    a.tokens > kTileEdge ? stream_rows<2, Format>(a, buffers, sums) : stream_rows<1, Format>(a, buffers, sums);
  });
}
