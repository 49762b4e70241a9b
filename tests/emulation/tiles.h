// AMX: eight tiles of up to 16 rows of 64 bytes, as a thread configures them. What would raise an exception on a
// machine that has them ends the process here.
#pragma once

namespace inkstone {
namespace {
namespace lanes {

constexpr int kTiles = 8, kMaxRows = 16, kMaxBytes = 64;

struct Tile {
  int rows = 0;
  int bytes = 0;  // of a row; 0: not configured
  alignas(64) uint8_t at[kMaxRows][kMaxBytes] = {};
};
struct TileFile {
  bool configured = false;
  Tile tiles[kTiles];
};
inline thread_local TileFile tile_file;

inline Tile& tile(int number) {
  if (number < 0 || number >= kTiles) emulation_failed("a tile beyond the eighth");
  if (!tile_file.configured) emulation_failed("a tile while this thread has no configuration");
  Tile& t = tile_file.tiles[number];
  if (t.bytes == 0) emulation_failed("a tile without rows in the configuration");
  return t;
}

// What a product writes has zeros in the rows and columns beyond its shape, as what a load writes.
struct Product {
  Tile& to;
  const Tile& a;
  const Tile& b;

  Product(int to_number, int a_number, int b_number) : to(tile(to_number)), a(tile(a_number)), b(tile(b_number)) {
    if (to_number == a_number || to_number == b_number || a_number == b_number)
      emulation_failed("a product of tiles that are not three");
    if (to.bytes % 4 != 0 || a.bytes % 4 != 0 || b.bytes % 4 != 0) emulation_failed("a product of tiles of odd bytes");
    if (to.rows != a.rows || to.bytes != b.bytes || a.bytes / 4 != b.rows)
      emulation_failed("a product of tiles whose shapes disagree");
  }
  int columns() const { return to.bytes / 4; }
  int depth() const { return a.bytes / 4; }
};
template <class T>
inline T element(const Tile& t, int row, int index) {
  T x;
  memcpy(&x, &t.at[row][index * static_cast<int>(sizeof(T))], sizeof x);
  return x;
}

// 4 bytes of a's row m with 4 of b's row k, summed into wrapping 32 bits.
template <class A, class B>
EMULATED_CALL void multiply_bytes(int to_number, int a_number, int b_number) {
  const Product p(to_number, a_number, b_number);
  for (int m = 0; m < p.to.rows; ++m) {
    for (int n = 0; n < p.columns(); ++n) {
      int64_t sum = element<int32_t>(p.to, m, n);
      for (int k = 0; k < p.depth(); ++k)
        for (int i = 0; i < 4; ++i)
          sum += static_cast<int64_t>(element<A>(p.a, m, 4 * k + i)) * element<B>(p.b, k, 4 * n + i);
      const int32_t low = wrapped(sum);
      memcpy(&p.to.at[m][4 * n], &low, 4);
    }
  }
}

// Even and odd neighbours are summed apart over the whole depth, then together, then onto what was there.
EMULATED_CALL void multiply_bf16(const Product& p) {
  for (int m = 0; m < p.to.rows; ++m) {
    for (int half = 0; half < kMaxBytes; half += 32) {
      __m256 even = _mm256_setzero_ps(), odd = even;
      for (int k = 0; k < p.depth(); ++k) {
        const __m256i x = _mm256_set1_epi32(element<int32_t>(p.a, m, k)), y = load<__m256i>(&p.b.at[k][half]);
        even = _mm256_fmadd_ps(bf16_even(x), bf16_even(y), even);
        odd = _mm256_fmadd_ps(bf16_odd(x), bf16_odd(y), odd);
      }
      const __m256 sum = _mm256_add_ps(load<__m256>(&p.to.at[m][half]), _mm256_add_ps(even, odd));
      memcpy(&p.to.at[m][half], &sum, sizeof sum);
    }
    memset(&p.to.at[m][p.to.bytes], 0, static_cast<size_t>(kMaxBytes - p.to.bytes));  // infinity * 0 is not 0
  }
}

EMULATED_CALL void load_tile(int number, const void* base, int64_t stride) {
  Tile& t = tile(number);
  memset(t.at, 0, sizeof t.at);
  for (int m = 0; m < t.rows; ++m)
    memcpy(t.at[m], static_cast<const uint8_t*>(base) + m * stride, static_cast<size_t>(t.bytes));
}

}  // namespace lanes

inline void _tile_release() { lanes::tile_file = {}; }

// 64 bytes: palette, first row, 14 zeros, bytes of a row for each of 16 tiles (16 bits), rows of each (8 bits).
inline void _tile_loadconfig(const void* config) {
  uint8_t c[64];
  memcpy(c, config, sizeof c);
  lanes::tile_file = {};
  if (c[0] == 0) return;
  if (c[0] != 1) emulation_failed("a tile configuration of a palette that is neither 0 nor 1");
  if (c[1] != 0) emulation_failed("a tile configuration that goes on within an interrupted instruction");
  for (int i = 2; i < 16; ++i)
    if (c[i] != 0) emulation_failed("a tile configuration with reserved bytes that are not zero");
  for (int i = 0; i < 16; ++i) {
    const int bytes = c[16 + 2 * i] | c[17 + 2 * i] << 8, rows = c[48 + i];
    if (i >= lanes::kTiles && (bytes != 0 || rows != 0))
      emulation_failed("a tile configuration of more than eight tiles");
    if (bytes > lanes::kMaxBytes || rows > lanes::kMaxRows)
      emulation_failed("a tile configuration beyond 16 rows of 64 bytes");
    if ((bytes == 0) != (rows == 0))
      emulation_failed("a tile configuration of a tile with rows but no bytes, or bytes but no rows");
    if (i >= lanes::kTiles) continue;
    lanes::tile_file.tiles[i].rows = rows;
    lanes::tile_file.tiles[i].bytes = bytes;
  }
  lanes::tile_file.configured = true;
}

inline void _tile_zero(int number) { memset(lanes::tile(number).at, 0, sizeof lanes::tile(number).at); }
inline void _tile_loadd(int number, const void* base, int64_t stride) { lanes::load_tile(number, base, stride); }
inline void _tile_stream_loadd(int number, const void* base, int64_t stride) { lanes::load_tile(number, base, stride); }
inline void _tile_stored(int number, void* base, int64_t stride) {
  const lanes::Tile& t = lanes::tile(number);
  for (int m = 0; m < t.rows; ++m)
    memcpy(static_cast<uint8_t*>(base) + m * stride, t.at[m], static_cast<size_t>(t.bytes));
}

inline void _tile_dpbssd(int to, int a, int b) { lanes::multiply_bytes<int8_t, int8_t>(to, a, b); }
inline void _tile_dpbsud(int to, int a, int b) { lanes::multiply_bytes<int8_t, uint8_t>(to, a, b); }
inline void _tile_dpbusd(int to, int a, int b) { lanes::multiply_bytes<uint8_t, int8_t>(to, a, b); }
inline void _tile_dpbuud(int to, int a, int b) { lanes::multiply_bytes<uint8_t, uint8_t>(to, a, b); }

// Under Bf16Rules.
inline void _tile_dpbf16ps(int to, int a, int b) {
  const lanes::Product product(to, a, b);
  const lanes::Bf16Rules rules;
  lanes::multiply_bf16(product);
}

}  // namespace
}  // namespace inkstone
