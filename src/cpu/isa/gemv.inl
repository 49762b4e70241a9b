// y[r, o] = sum_i w[o, i] x[r, i] for 1 to 8 rows x: each weight is read and unpacked once for all rows.
//
// Weights stream row by row; a prefetch runs kAhead bytes ahead, across rows. One row of x: the codes themselves are
// multiplied, and scale and bias enter once a group: y = sum_g scale_g dot(q_g, x_g) + bias_g sum(x_g); prepare()
// leaves the sums behind x. More rows: each code is first made a weight, two rows of weights at a time so that each
// load of x serves twice.
constexpr int64_t kAhead = 3072;
// Plain weights take so few instructions that loads themselves run 3 KiB ahead of the sums.
constexpr int64_t kPlainAhead = 8192;

int64_t padded(int64_t in) { return (in + kPositionBlock - 1) / kPositionBlock * kPositionBlock; }

void prepare(const Matrix& w, const float* x, float* out) {
  const int c = codes_per_lane(w);
  const int64_t block = static_cast<int64_t>(kLanes) * c, end = padded(w.in);
  float* sums = out + end;
  if (c == 1) {
    for (int64_t i = 0; i < end; i += kLanes) F32::load(x + (i < w.in ? i : 0), w.in - i).store(out + i);
    for (int64_t i = 0; w.group > 0 && i < w.in; i += w.group, sums += kLanes) {
      F32 sum = F32::zero();
      for (int64_t j = 0; j < w.group; j += kLanes) sum = sum + F32::load(x + i + j);
      sum.store(sums);
    }
    return;
  }
  int32_t lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i * c;
  const U32 index = U32::load(lanes);
  for (int64_t i = 0; i < end; i += block, sums += kLanes) {
    F32 sum = F32::zero();
    const int64_t valid = i < w.in ? (w.in - i) / c : 0;
    for (int j = 0; j < c; ++j) {
      const F32 v = valid > 0 ? gather(x + i + j, index, valid) : F32::zero();
      v.store(out + i + static_cast<int64_t>(j) * kLanes);
      sum = sum + v;
    }
    sum.store(sums);
  }
}

void put(const GemvArgs& a, int64_t o, int r, float value) {
  float* y = a.y + r * a.y_stride + o;
  *y = a.add ? *y + value : value;
}

// One weight row, one row of x.
template <class Lane>
float lane_dot(const GemvArgs& a, const Lane& lane, const LaneScales<Lane>& at, int64_t o, const RowScales& row) {
  using At = LaneScales<Lane>;
  const Matrix& w = *a.w;
  const unsigned char* codes = w.weight + o * w.row_bytes;
  const float* sums = a.x + padded(w.in);
  F32 total = F32::zero(), bias_total = F32::zero();
  const auto block = [&](U32 words, int64_t i) __attribute__((always_inline)) {
    const float* x = a.x + i;
    F32 dot0 = F32::zero(), dot1 = F32::zero();
#pragma GCC unroll 16
    for (int j = 0; j < At::kCodes; j += 2) {
      dot0 = fma(lane.get(words, j * Lane::kBits), F32::load(x + j * kLanes), dot0);
      dot1 = fma(lane.get(words, (j + 1) * Lane::kBits), F32::load(x + (j + 1) * kLanes), dot1);
    }
    total = fma(dot0 + dot1, at.get(row.scales, i), total);
    if (row.biases != nullptr) bias_total = fma(at.get(row.biases, i), F32::load(sums + i / At::kCodes), bias_total);
  };
  int64_t i = 0;
  for (; i + At::kBlock <= w.in; i += At::kBlock, codes += 4 * kLanes) {
    prefetch(codes + kAhead);
    block(in_register(U32::load(codes)), i);
  }
  if (i < w.in) block(U32::load(codes, (w.in - i) / At::kCodes), i);
  return reduce_add(total + bias_total);
}

template <class Lane, int kN, int kR>
void lane_rows(const GemvArgs& a, const Lane& lane, const LaneScales<Lane>& at, int64_t o) {
  using At = LaneScales<Lane>;
  const Matrix& w = *a.w;
  const int64_t scratch = 2 * (w.groups + kScalePad + 2 * kLanes);
  RowScales rows[kN];
  for (int n = 0; n < kN; ++n) rows[n] = widen_row(w, o + n, 0, w.groups, a.scratch + n * scratch);
  F32 sums[kN][kR];
  for (int n = 0; n < kN; ++n)
    for (int r = 0; r < kR; ++r) sums[n][r] = F32::zero();
  for (int64_t i = 0; i < w.in; i += At::kBlock) {
    U32 words[kN];
    F32 scale[kN], bias[kN];
#pragma GCC unroll 2
    for (int n = 0; n < kN; ++n) {
      const unsigned char* codes = w.weight + (o + n) * w.row_bytes + i / At::kCodes * 4;
      prefetch(codes + kAhead);
      words[n] = in_register(i + At::kBlock <= w.in ? U32::load(codes) : U32::load(codes, (w.in - i) / At::kCodes));
      scale[n] = at.get(rows[n].scales, i);
      bias[n] = rows[n].biases != nullptr ? at.get(rows[n].biases, i) : F32::zero();
    }
#pragma GCC unroll 16
    for (int j = 0; j < At::kCodes; ++j) {
      F32 v[kN];
#pragma GCC unroll 2
      for (int n = 0; n < kN; ++n) v[n] = fma(lane.get(words[n], j * Lane::kBits), scale[n], bias[n]);
#pragma GCC unroll 8
      for (int r = 0; r < kR; ++r) {
        const F32 x = F32::load(a.x + r * a.x_stride + i + j * kLanes);
#pragma GCC unroll 2
        for (int n = 0; n < kN; ++n) sums[n][r] = fma(v[n], x, sums[n][r]);
      }
    }
  }
  for (int n = 0; n < kN; ++n)
    for (int r = 0; r < kR; ++r) put(a, o + n, r, reduce_add(sums[n][r]));
}

template <class Group>
float group_dot(const GemvArgs& a, int64_t o, const RowScales& row) {
  const Matrix& w = *a.w;
  const unsigned char* codes = w.weight + o * w.row_bytes;
  const float* sums = a.x + padded(w.in);
  const float* x = a.x;
  F32 total = F32::zero(), bias_total = F32::zero();
  const int units = w.group / static_cast<int>(kUnit);
  for (int64_t g = 0; g < w.groups; ++g) {
    F32 dot0 = F32::zero(), dot1 = F32::zero();
    for (int u = 0; u < units; ++u, x += kUnit, codes += kUnit * Group::kBits / 8) {
      prefetch(codes + kAhead);
#pragma GCC unroll 4
      for (int v = 0; v < kUnit / kLanes; v += 2) {
        dot0 = fma(Group::get(codes, v), F32::load(x + v * kLanes), dot0);
        dot1 = fma(Group::get(codes, v + 1), F32::load(x + (v + 1) * kLanes), dot1);
      }
    }
    total = fma(dot0 + dot1, F32::all(row.scales[g]), total);
    if (row.biases != nullptr) bias_total = fma(F32::all(row.biases[g]), F32::load(sums + g * kLanes), bias_total);
  }
  return reduce_add(total + bias_total);
}

// Groups of 16: a scale for each half of a unit.
template <class Group>
float half_group_dot(const GemvArgs& a, int64_t o, const RowScales& row, const float* x) {
  const Matrix& w = *a.w;
  const unsigned char* codes = w.weight + o * w.row_bytes;
  const float* sums = x + padded(w.in);
  F32 total = F32::zero(), bias_total = F32::zero();
  for (int64_t g = 0; g < w.groups; g += 2, codes += kUnit * Group::kBits / 8) {
    prefetch(codes + kAhead);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      F32 dot = F32::zero();
#pragma GCC unroll 4
      for (int v = 0; v < kHalfVectors; ++v, x += kLanes)
        dot = fma(Group::get(codes, h * kHalfVectors + v), F32::load(x), dot);
      total = fma(dot, F32::all(row.scales[g + h]), total);
      if (row.biases != nullptr)
        bias_total = fma(F32::all(row.biases[g + h]), F32::load(sums + (g + h) * kLanes), bias_total);
    }
  }
  return reduce_add(total + bias_total);
}

template <class Group, int kN, int kR>
void group_rows(const GemvArgs& a, int64_t o) {
  const Matrix& w = *a.w;
  const int64_t scratch = 2 * (w.groups + kScalePad + 2 * kLanes);
  const int shift = __builtin_ctz(static_cast<unsigned>(w.group));
  RowScales rows[kN];
  for (int n = 0; n < kN; ++n) rows[n] = widen_row(w, o + n, 0, w.groups, a.scratch + n * scratch);
  F32 sums[kN][kR];
  for (int n = 0; n < kN; ++n)
    for (int r = 0; r < kR; ++r) sums[n][r] = F32::zero();
  for (int64_t i = 0; i < w.in; i += kUnit) {
    F32 scale[kN], bias[kN];
    const unsigned char* codes[kN];
#pragma GCC unroll 2
    for (int n = 0; n < kN; ++n) {
      codes[n] = w.weight + (o + n) * w.row_bytes + i * Group::kBits / 8;
      prefetch(codes[n] + kAhead);
      scale[n] = F32::all(rows[n].scales[i >> shift]);
      bias[n] = rows[n].biases != nullptr ? F32::all(rows[n].biases[i >> shift]) : F32::zero();
    }
#pragma GCC unroll 4
    for (int u = 0; u < kUnit / kLanes; ++u) {
      F32 v[kN];
#pragma GCC unroll 2
      for (int n = 0; n < kN; ++n) v[n] = fma(Group::get(codes[n], u), scale[n], bias[n]);
#pragma GCC unroll 8
      for (int r = 0; r < kR; ++r) {
        const F32 x = F32::load(a.x + r * a.x_stride + i + u * kLanes);
#pragma GCC unroll 2
        for (int n = 0; n < kN; ++n) sums[n][r] = fma(v[n], x, sums[n][r]);
      }
    }
  }
  for (int n = 0; n < kN; ++n)
    for (int r = 0; r < kR; ++r) put(a, o + n, r, reduce_add(sums[n][r]));
}

// The prepared x is padded with zeros, so only loads of weights need care at the end.
template <class Plain, int kN, int kR>
void plain_rows(const GemvArgs& a, int64_t o) {
  const Matrix& w = *a.w;
  constexpr int kChains = kN * kR == 1 ? 4 : 1;  // one sum alone would wait for its own last addition
  F32 sums[kChains][kN][kR];
  for (int c = 0; c < kChains; ++c)
    for (int n = 0; n < kN; ++n)
      for (int r = 0; r < kR; ++r) sums[c][n][r] = F32::zero();
  const auto step = [&](int64_t i, int64_t left, F32(&sum)[kN][kR]) __attribute__((always_inline)) {
    F32 v[kN];
#pragma GCC unroll 2
    for (int n = 0; n < kN; ++n) v[n] = Plain::get(w.weight + (o + n) * w.row_bytes + i * Plain::kBytes, left);
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) {
      const F32 x = F32::load(a.x + r * a.x_stride + i);
#pragma GCC unroll 2
      for (int n = 0; n < kN; ++n) sum[n][r] = fma(v[n], x, sum[n][r]);
    }
  };
  int64_t i = 0;
  for (; i + 4 * kLanes <= w.in; i += 4 * kLanes) {
#pragma GCC unroll 2
    for (int n = 0; n < kN; ++n)
#pragma GCC unroll 4
      for (int64_t line = 0; line < 4 * kLanes * Plain::kBytes; line += 64)
        prefetch(w.weight + (o + n) * w.row_bytes + i * Plain::kBytes + kPlainAhead + line);
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) step(i + c * kLanes, kLanes, sums[c % kChains]);
  }
  for (; i < w.in; i += kLanes) step(i, w.in - i, sums[0]);
  for (int n = 0; n < kN; ++n) {
    for (int r = 0; r < kR; ++r) {
      F32 sum = sums[0][n][r];
      for (int c = 1; c < kChains; ++c) sum = sum + sums[c][n][r];
      put(a, o + n, r, reduce_add(sum));
    }
  }
}

template <int kR>
struct GemvUse {
  static constexpr int kN = kR * 2 + 6 <= F32::kRegisters ? 2 : 1;
  const GemvArgs& a;

  // y[o] = dot(o, scales of row o)
  template <class Dot>
  void one_row(int64_t block, const Dot& dot) const {
    const int64_t together = rows_together(*a.w, block);
    for (int64_t first_row = a.begin; first_row < a.end; first_row += together) {
      const int64_t count = a.end - first_row < together ? a.end - first_row : together;
      RowScales row = widen_row(*a.w, first_row, 0, count * a.w->groups, a.scratch);
      for (int64_t i = 0; i < count; ++i) {
        put(a, first_row + i, 0, dot(first_row + i, row));
        row.scales += a.w->groups;
        if (row.biases != nullptr) row.biases += a.w->groups;
      }
    }
  }
  template <class Lane>
  void lane(const Lane& format) const {
    const LaneScales<Lane> at(a.w->group);
    [[maybe_unused]] int64_t o = a.begin;
    if constexpr (kR == 1) {
      one_row(LaneScales<Lane>::kBlock,
              [&](int64_t i, const RowScales& row) { return lane_dot(a, format, at, i, row); });
    } else {
      for (; o + kN <= a.end; o += kN) lane_rows<Lane, kN, kR>(a, format, at, o);
      for (; o < a.end; ++o) lane_rows<Lane, 1, kR>(a, format, at, o);
    }
  }
  template <class Group>
  void group(const Group&) const {
    [[maybe_unused]] int64_t o = a.begin;
    if (a.w->group < kUnit) {  // rare: one row of x after the other
      for (; o < a.end; ++o) {
        const RowScales row = widen_row(*a.w, o, 0, a.w->groups, a.scratch);
        for (int r = 0; r < kR; ++r) put(a, o, r, half_group_dot<Group>(a, o, row, a.x + r * a.x_stride));
      }
      return;
    }
    if constexpr (kR == 1) {
      one_row(kUnit, [&](int64_t i, const RowScales& row) { return group_dot<Group>(a, i, row); });
    } else {
      for (; o + kN <= a.end; o += kN) group_rows<Group, kN, kR>(a, o);
      for (; o < a.end; ++o) group_rows<Group, 1, kR>(a, o);
    }
  }
  template <class Plain>
  void plain(const Plain&) const {
    int64_t o = a.begin;
    if constexpr (kR > 1)
      for (; o + kN <= a.end; o += kN) plain_rows<Plain, kN, kR>(a, o);
    for (; o < a.end; ++o) plain_rows<Plain, 1, kR>(a, o);
  }
};

void gemv(const GemvArgs& a) {
  switch (a.rows) {
    case 1: return with_format(*a.w, GemvUse<1>{a});
    case 2: return with_format(*a.w, GemvUse<2>{a});
    case 3: return with_format(*a.w, GemvUse<3>{a});
    case 4: return with_format(*a.w, GemvUse<4>{a});
    case 5: return with_format(*a.w, GemvUse<5>{a});
    case 6: return with_format(*a.w, GemvUse<6>{a});
    case 7: return with_format(*a.w, GemvUse<7>{a});
    default: return with_format(*a.w, GemvUse<8>{a});
  }
}
