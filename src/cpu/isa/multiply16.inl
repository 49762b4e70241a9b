// y[r, o] = sum_i w[o, i] x[r, i] in integers, for any number of rows x.
//
// x is quantised to 16 bits with a scale for each group of the weight: x = scale_x q. Codes become 16-bit lanes, pairs
// of products add up in 32 bits, and a block of codes is converted once:
//     y = sum_g scale_g scale_x,g (codes_g . q_g) + bias_g (scale_x,g sum(q_g))
// The bias takes the sum of the quantised x, not of x: so y is the product of the exact weight with the quantised x,
// and the large terms that cancel between scale and bias carry no error of their own.
//
// Range: a code is at most 255, q at most 32768 in size, a group at most 256: below 2^31 even for the group's whole
// sum.
//
// Formats, by blocks of columns that are unpacked at once:
//   Lanes16:   2 and 4 bits: a load seen as 16-bit lanes; columns in the order of kernels.h with L = 16-bit lanes.
//   Natural16: 3, 5, 6 and 8 bits in units of 32 codes.
template <class Format>
struct Lanes16 {
  static constexpr int kVectors = Format::kVectors;
  static constexpr int64_t kColumns = kVectors * I16::kLanes;
  static constexpr int64_t kBytes = 4 * kLanes;
  static constexpr int kHalf = 0;
  static constexpr bool kWholeRows = false;
  static void unpack(const unsigned char* p, I16* codes) { Format::unpack(in_register(U32::load(p)), codes); }
  static void unpack_first(const unsigned char* p, int64_t columns, I16* codes) {
    Format::unpack(in_register(U32::load(p, columns * Format::kBits / 32)), codes);
  }
};
template <int kBits, int kUnits>
struct Natural16 {
  static constexpr int kVectors = kUnits * static_cast<int>(kUnit) / I16::kLanes;
  static constexpr int64_t kColumns = kUnits * kUnit;
  static constexpr int64_t kBytes = kColumns * kBits / 8;
  static constexpr int kHalf = kVectors / 2;  // of half a unit, which may have its own scale; 0: one vector holds both
  static constexpr bool kWholeRows = true;    // rows are whole blocks
  static void unpack(const unsigned char* p, I16* codes) {
#pragma GCC unroll 2
    for (int u = 0; u < kUnits; ++u) stream_unit16<kBits>(p + u * kUnit * kBits / 8, codes + u * kVectors / kUnits);
  }
};

// What prepare16() writes: integers in the order of positions; for each group a scale, then for each group scale times
// the sum of its integers, both padded with zeros so that whole vectors may be read from any group on.
int64_t padded_groups(const Matrix& w) { return (w.groups + kLanes - 1) / kLanes * kLanes + kLanes; }
int64_t scales_at(const Matrix& w) { return padded(w.in) / 2; }
int64_t sums_at(const Matrix& w) { return scales_at(w) + padded_groups(w); }

int codes_per_lane16(const Matrix& w) {
  if (w.format == WeightFormat::e2m1) return 4;
  return w.bits == 4 ? 4 : w.bits == 2 ? 8 : 1;
}

void prepare16(const Matrix& w, const float* x, float* prepared) {
  int16_t* codes = reinterpret_cast<int16_t*>(prepared);
  float* scales = prepared + scales_at(w);
  float* sums = prepared + sums_at(w);
  const int c = codes_per_lane16(w);
  const int64_t block = static_cast<int64_t>(I16::kLanes) * c;
  int16_t natural[kPositionBlock];
  for (int64_t i = 0; i < w.in; i += kPositionBlock) {
    const int64_t count = w.in - i < kPositionBlock ? w.in - i : kPositionBlock;
    for (int64_t at = 0; at < count; at += w.group) {
      const float* from = x + i + at;
      F32 most = F32::zero(), odd = F32::zero();
      for (int j = 0; j < w.group; j += kLanes) {
        const F32 v = F32::load(from + j);
        most = max(max(v, F32::zero() - v), most);
        odd = fma(v, F32::zero(), odd);  // NaN if any is infinite or NaN
      }
      const float largest = reduce_max(most), not_finite = reduce_add(odd);
      const bool zeros = !(largest > kSmallest16) || not_finite != 0.0f;
      const F32 inverse = F32::all(zeros ? 0.0f : 32767.0f / largest);
      for (int j = 0; j < w.group; j += kLanes)
        store_rounded(zeros ? F32::zero() : F32::load(from + j) * inverse, natural + at + j);
      int32_t sum = 0;
      for (int j = 0; j < w.group; ++j) sum += natural[at + j];
      const int64_t g = (i + at) / w.group;
      scales[g] = (zeros ? 0.0f : largest / 32767.0f) + not_finite;
      sums[g] = scales[g] * static_cast<float>(sum);
    }
    for (int64_t at = count; at < kPositionBlock; ++at) natural[at] = 0;
    int16_t* to = codes + i;
    for (int64_t at = 0; at < kPositionBlock; at += block)
      for (int64_t lane = 0; lane < I16::kLanes; ++lane)
        for (int j = 0; j < c; ++j) to[at + j * I16::kLanes + lane] = natural[at + lane * c + j];
  }
  for (int64_t g = w.groups; g < padded_groups(w); ++g) scales[g] = sums[g] = 0;
}

// One weight row, some rows of x, the columns [begin, end).
struct Part16 {
  int64_t o;
  int row;  // the first of x
  int64_t begin, end;
  int64_t ahead;  // bytes from the codes to those that are prefetched meanwhile
  bool add;       // y +=
};

// Scales of the weight row times those of each row of x, by group, into `scales` (padded_groups() floats a row), and
// the part of y that the biases make.
template <int kR, class Load>
__attribute__((always_inline)) inline void combine(const GemvArgs& a, const Part16& part, int bytes, float* scales,
                                                   F32* totals, Load load) {
  const Matrix& w = *a.w;
  const int64_t stride = padded_groups(w), first_group = part.begin / w.group, end = part.end / w.group;
  const F32 factor = F32::all(w.format == WeightFormat::e2m1 ? 0.5f : 1.0f);
  const float* x = a.x + part.row * a.x_stride;
  const float* x_scales = x + scales_at(w);
  const float* x_sums = x + sums_at(w);
  const int64_t at = part.o * w.groups;
  int64_t to = 0;
  for (int64_t g = first_group; g < end; g += kLanes, to += kLanes) {
    // The next row's lie behind: only the matrix' last need a partial load, which is slow.
    const int64_t left = end - g, readable = w.out * w.groups - at - g;
    F32 s = load(w.scales + (at + g) * bytes, readable) * factor;
    F32 b = w.biases != nullptr ? load(w.biases + (at + g) * bytes, readable) : F32::zero();
    if (left < kLanes) {
      s = first(s, F32::zero(), left);
      b = first(b, F32::zero(), left);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) {
      (s * F32::load(x_scales + r * a.x_stride + g)).store(scales + r * stride + to);
      totals[r] = fma(b, F32::load(x_sums + r * a.x_stride + g), totals[r]);
    }
  }
  for (int r = 0; r < kR; ++r) F32::zero().store(scales + r * stride + to);
  prefetch(w.scales + (at + first_group) * bytes + 1024);
  if (w.biases != nullptr) prefetch(w.biases + (at + first_group) * bytes + 1024);
}

// Lambdas, not the functions: their types are their own, so that the loads are inlined.
template <int kR>
__attribute__((noinline)) void combine_rare(const GemvArgs& a, const Part16& part, float* scales, F32* totals) {
  const auto with = [&](int bytes, auto load) { combine<kR>(a, part, bytes, scales, totals, load); };
  using Bytes = const unsigned char*;
  switch (a.w->scale_format) {
    case ScaleFormat::f32: return with(4, [](Bytes p, int64_t n) { return load_f32(p, n); });
    case ScaleFormat::f16: return with(2, [](Bytes p, int64_t n) { return load_f16(p, n); });
    case ScaleFormat::e8m0: return with(1, [](Bytes p, int64_t n) { return load_e8m0(p, n); });
    case ScaleFormat::e4m3: return with(1, [](Bytes p, int64_t n) { return load_e4m3(p, n); });
    case ScaleFormat::bf16:
    case ScaleFormat::none: return;
  }
}
// A row of 1024 columns has 16 groups: a call for them would cost a tenth of the row.
template <int kR>
__attribute__((always_inline)) inline void combine(const GemvArgs& a, const Part16& part, float* scales, F32* totals) {
  if (a.w->scale_format != ScaleFormat::bf16) return combine_rare<kR>(a, part, scales, totals);
  combine<kR>(a, part, 2, scales, totals, [](const unsigned char* p, int64_t n) { return load_bf16(p, n); });
}

template <int kR>
__attribute__((always_inline)) inline void put16(const GemvArgs& a, const Part16& part, const F32* totals) {
  float sums[(kR + kLanes - 1) / kLanes * kLanes];
  if constexpr (kR == 1) {
    sums[0] = reduce_add(totals[0]);
  } else {
    for (int first_row = 0; first_row < kR; first_row += kLanes) {
      F32 all[kLanes];
      for (int r = 0; r < kLanes; ++r) all[r] = first_row + r < kR ? totals[first_row + r] : F32::zero();
      reduce_each(all).store(sums + first_row);
    }
  }
  for (int r = 0; r < kR; ++r) {
    float* y = a.y + (part.row + r) * a.y_stride + part.o;
    *y = part.add ? *y + sums[r] : sums[r];
  }
}

// kOne: a block lies within one group. Else `index` says which of its groups each lane of a sum belongs to.
template <class Block, int kR, bool kOne>
void integer_rows(const GemvArgs& a, const Part16& part, U32 index) {
  const Matrix& w = *a.w;
  const int shift = __builtin_ctz(static_cast<unsigned>(w.group));
  const int64_t stride = padded_groups(w);
  F32 totals[kR];
  for (int r = 0; r < kR; ++r) totals[r] = F32::zero();
  combine<kR>(a, part, a.scratch, totals);
  const int16_t* x[kR];
  for (int r = 0; r < kR; ++r) x[r] = reinterpret_cast<const int16_t*>(a.x + (part.row + r) * a.x_stride) + part.begin;
  const auto add = [&](const I16* codes, int64_t i) __attribute__((always_inline)) {
    const float* scales = a.scratch + (i >> shift);
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) {
      if constexpr (!kOne && Block::kHalf > 0) {  // groups of 16: not one vector lies in both
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
          I32 dot = I32::zero();
#pragma GCC unroll 4
          for (int v = h * Block::kHalf; v < (h + 1) * Block::kHalf; ++v)
            dot = dot_add(codes[v], I16::load(x[r] + i + v * I16::kLanes), dot);
          totals[r] = fma(to_f32(dot), F32::all(scales[r * stride + h]), totals[r]);
        }
        continue;
      }
      I32 dot = I32::zero();
#pragma GCC unroll 8
      for (int v = 0; v < Block::kVectors; ++v) dot = dot_add(codes[v], I16::load(x[r] + i + v * I16::kLanes), dot);
      const F32 scale = kOne ? F32::all(scales[r * stride]) : pick8(scales + r * stride, index);
      totals[r] = fma(to_f32(dot), scale, totals[r]);
    }
  };
  const unsigned char* from = w.weight + part.o * w.row_bytes + part.begin / Block::kColumns * Block::kBytes;
  const int64_t columns = part.end - part.begin;
  I16 codes[Block::kVectors];
  int64_t i = 0;
  for (; i + Block::kColumns <= columns; i += Block::kColumns, from += Block::kBytes) {
    prefetch(from + part.ahead);
    Block::unpack(from, codes);
    add(codes, i);
  }
  if constexpr (!kOne && !Block::kWholeRows) {
    if (i < columns) {
      Block::unpack_first(from, columns - i, codes);
      add(codes, i);
    }
  }
  put16<kR>(a, part, totals);
}

template <class Block, bool kOne>
void integer_part(const GemvArgs& a, const Part16& part, int rows, U32 index) {
  switch (rows) {
    case 1: return integer_rows<Block, 1, kOne>(a, part, index);
    case 2: return integer_rows<Block, 2, kOne>(a, part, index);
    case 3: return integer_rows<Block, 3, kOne>(a, part, index);
    case 4: return integer_rows<Block, 4, kOne>(a, part, index);
    case 5: return integer_rows<Block, 5, kOne>(a, part, index);
    case 6: return integer_rows<Block, 6, kOne>(a, part, index);
    case 7: return integer_rows<Block, 7, kOne>(a, part, index);
    default: return integer_rows<Block, 8, kOne>(a, part, index);
  }
}

// Up to kGemvRows rows of x: whole weight rows, one after the other, as they lie in memory. More: chunk by chunk, so
// that kGemvRows rows of a chunk of x stay in L1 for a panel of weight rows; the panel's next chunk is prefetched
// meanwhile.
constexpr int64_t kChunk16 = 4 * kPositionBlock;
constexpr int64_t kPanel16 = 32;

template <class Block, bool kOne>
void integer_range(const GemvArgs& a) {
  const Matrix& w = *a.w;
  int32_t lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i * static_cast<int>(Block::kColumns / kLanes) / w.group;
  const U32 index = U32::load(lanes);
  const int parts = (a.rows + kGemvRows - 1) / kGemvRows;
  if (parts == 1) {
    for (int64_t o = a.begin; o < a.end; ++o) {
      const Part16 part{o, 0, 0, w.in, kAhead, a.add};
      a.rows == 1 ? integer_rows<Block, 1, kOne>(a, part, index) : integer_part<Block, kOne>(a, part, a.rows, index);
    }
    return;
  }
  for (int64_t panel = a.begin; panel < a.end; panel += kPanel16) {
    const int64_t panel_end = panel + kPanel16 < a.end ? panel + kPanel16 : a.end;
    for (int64_t begin = 0; begin < w.in; begin += kChunk16) {
      const int64_t end = begin + kChunk16 < w.in ? begin + kChunk16 : w.in;
      const int64_t chunk_bytes = kChunk16 / Block::kColumns * Block::kBytes;
      const int64_t next = end < w.in ? chunk_bytes : kPanel16 * w.row_bytes - begin / kChunk16 * chunk_bytes;
      for (int p = 0, row = 0; p < parts; ++p) {
        const int rows = (a.rows - row + parts - p - 1) / (parts - p);
        for (int64_t o = panel; o < panel_end; ++o)
          integer_part<Block, kOne>(a, {o, row, begin, end, p == 0 ? next : 0, a.add || begin > 0}, rows, index);
        row += rows;
      }
    }
  }
}

template <class Format>
void lane_range(const GemvArgs& a) {
  using Block = Lanes16<Format>;
  a.w->group >= Block::kColumns ? integer_range<Block, true>(a) : integer_range<Block, false>(a);
}
template <int kBits>
void natural_range(const GemvArgs& a) {
  if constexpr (kBits == 3 || kBits == 6)
    if (a.w->group < kUnit) return integer_range<Natural16<kBits, 1>, false>(a);
  a.w->group >= 2 * kUnit ? integer_range<Natural16<kBits, 2>, true>(a) : integer_range<Natural16<kBits, 1>, true>(a);
}

void multiply16(const GemvArgs& a) {
  if (a.w->format == WeightFormat::e2m1) return lane_range<Lane16E2m1>(a);
  switch (a.w->bits) {
    case 2: return lane_range<Lane16<2>>(a);
    case 3: return natural_range<3>(a);
    case 4: return lane_range<Lane16<4>>(a);
    case 5: return natural_range<5>(a);
    case 6: return natural_range<6>(a);
    default: return natural_range<8>(a);
  }
}
