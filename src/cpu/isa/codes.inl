// How each weight format is read. Three families:
//   Lane:  2 and 4 bits. Each 32-bit lane of a load holds c = 32 / bits codes; shift j gives code j of every lane, so
//          columns come in the order that kernels.h describes, and one load serves L * c columns.
//   Group: 3, 5, 6 and 8 bits, in natural order, in units of 32 codes that share a scale; of 3 and 6 bits also with a
//          scale for each half of a unit (groups of 16, which repacked K-quants have).
//   Plain: bf16, f16, f32, in natural order, with partial vectors.
constexpr int64_t kUnit = 32;
constexpr int kHalfVectors = static_cast<int>(kUnit) / 2 / kLanes;  // of floats in half a unit

void prefetch(const unsigned char* p) { __builtin_prefetch(p); }

struct GroupU8 {
  static constexpr int kBits = 8;
  static F32 get(const unsigned char* unit, int v) { return load_u8_as_f32(unit + v * kLanes); }
};
struct GroupE4m3 {
  static constexpr int kBits = 8;
  static F32 get(const unsigned char* unit, int v) { return load_e4m3(unit + v * kLanes, kLanes); }
};
template <int kWidth>
struct GroupStream {
  static constexpr int kBits = kWidth;
  static F32 get(const unsigned char* unit, int v) { return stream_codes<kWidth>(unit, v); }
};

struct PlainBf16 {
  static constexpr int kBytes = 2;
  static F32 get(const unsigned char* p, int64_t n) { return load_bf16(p, n); }
};
struct PlainF16 {
  static constexpr int kBytes = 2;
  static F32 get(const unsigned char* p, int64_t n) { return load_f16(p, n); }
};
struct PlainF32 {
  static constexpr int kBytes = 4;
  static F32 get(const unsigned char* p, int64_t n) { return load_f32(p, n); }
};

// `count` scales as floats, then zeros for at least kScalePad more: blocks load a whole vector from their first group.
constexpr int64_t kScalePad = kLanes;

template <class Load>
void widen(const unsigned char* from, int bytes, int64_t count, float* to, Load load) {
  int64_t i = 0;
  for (; i < count; i += kLanes) load(from + i * bytes, count - i).store(to + i);
  for (const int64_t end = count + kScalePad; i < end; i += kLanes) F32::zero().store(to + i);
}

int scale_bytes(ScaleFormat format) {
  switch (format) {
    case ScaleFormat::f32: return 4;
    case ScaleFormat::f16:
    case ScaleFormat::bf16: return 2;
    default: return 1;
  }
}

void widen_scales(ScaleFormat format, const unsigned char* from, int64_t count, float* to) {
  switch (format) {
    case ScaleFormat::f32: return widen(from, 4, count, to, load_f32);
    case ScaleFormat::f16: return widen(from, 2, count, to, load_f16);
    case ScaleFormat::bf16: return widen(from, 2, count, to, load_bf16);
    case ScaleFormat::e8m0: {
      widen(from, 1, count, to, load_e8m0);
      for (int64_t i = count; i < count + kScalePad; ++i) to[i] = 0;  // code 0 is not zero
      return;
    }
    case ScaleFormat::e4m3: return widen(from, 1, count, to, load_e4m3);
    case ScaleFormat::none: return;
  }
}

// Scales and biases of groups [begin, end) of a row, widened into `scratch`.
struct RowScales {
  const float* scales;
  const float* biases;  // null: none
};

// Rows whose scales are widened together, so that short rows do not pay for the call: theirs follow one another. Not
// where a row's last block is partial: it reads the zeros behind.
int64_t rows_together(const Matrix& w, int64_t block) {
  constexpr int64_t kScales = 512;
  return w.in % block == 0 && w.groups < kScales ? kScales / w.groups : 1;
}

RowScales widen_row(const Matrix& w, int64_t row, int64_t begin, int64_t end, float* scratch) {
  const int64_t at = (row * w.groups + begin) * scale_bytes(w.scale_format);
  float* biases = scratch + (end - begin) + kScalePad + 2 * kLanes;
  widen_scales(w.scale_format, w.scales + at, end - begin, scratch);
  prefetch(w.scales + at + 1024);
  if (w.biases == nullptr) return {scratch, nullptr};
  widen_scales(w.scale_format, w.biases + at, end - begin, biases);
  prefetch(w.biases + at + 1024);
  return {scratch, biases};
}

// Which of the scales from a block's first on (at most 8) belongs to each lane of a Lane format.
template <class Lane>
struct LaneScales {
  static constexpr int kCodes = 32 / Lane::kBits;
  static constexpr int64_t kBlock = static_cast<int64_t>(kLanes) * kCodes;
  U32 index;
  int shift;  // groups are powers of two: a division here would cost more than the block's arithmetic

  explicit LaneScales(int group) : shift(__builtin_ctz(static_cast<unsigned>(group))) {
    int32_t lanes[kLanes];
    for (int i = 0; i < kLanes; ++i) lanes[i] = group >= kBlock ? 0 : i * kCodes / group;
    index = U32::load(lanes);
  }
  // Of the block that starts at `column`.
  F32 get(const float* values, int64_t column) const { return pick8(values + (column >> shift), index); }
};

// Calls use(Format{}) with the type that reads w. `use` has one overload a family.
template <class Use>
void with_format(const Matrix& w, const Use& use) {
  switch (w.format) {
    case WeightFormat::f32: return use.plain(PlainF32{});
    case WeightFormat::f16: return use.plain(PlainF16{});
    case WeightFormat::bf16: return use.plain(PlainBf16{});
    case WeightFormat::e2m1: return use.lane(LaneE2m1{});
    case WeightFormat::e4m3: return use.group(GroupE4m3{});
    case WeightFormat::affine: break;
  }
  switch (w.bits) {
    case 2: return use.lane(Lane2{});
    case 3: return use.group(GroupStream<3>{});
    case 4: return use.lane(Lane4{});
    case 5: return use.group(GroupStream<5>{});
    case 6: return use.group(GroupStream<6>{});
    default: return use.group(GroupU8{});
  }
}

int codes_per_lane(const Matrix& w) {
  if (w.format == WeightFormat::e2m1) return 8;
  if (w.format != WeightFormat::affine) return 1;
  return w.bits == 4 ? 8 : w.bits == 2 ? 16 : 1;
}
