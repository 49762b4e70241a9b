// Kernels: one table of plain functions for each instruction set; no state, no allocation, no exceptions.
// The files under isa/ may include only this, intrinsics, <stdint.h> and <string.h>: an inline function compiled
// there with AVX-512 could be the copy that the linker keeps for everybody.
//
// Order of columns. A kernel may read the columns of a weight in an order that its unpacking finds cheap. With L =
// lanes and c = codes_per_lane(w), position p of a block of L * c positions holds column
//     block * L * c + (p % L) * c + p / L        (p within the block; c = 1 is the natural order)
// prepare(), pack() and dequantize() all speak in positions, so products agree. Positions beyond `in` are zeros.
#pragma once

#include <stdint.h>

namespace inkstone {

enum class WeightFormat : uint8_t { f32, f16, bf16, affine, e2m1, e4m3 };
enum class ScaleFormat : uint8_t { none, f32, f16, bf16, e8m0, e4m3 };

// Positions are padded to a multiple of this; K chunks are multiples of it (2 bits: 16 lanes of 16 codes).
constexpr int64_t kPositionBlock = 256;
// Rows that gemv takes at once; more go through pack() and gemm().
constexpr int kGemvRows = 8;
// A group of activations whose largest is below this counts as zeros in multiply16: its inverse would overflow.
constexpr float kSmallest16 = 1e-30f;

// A matrix in the file's own layout: rows of codes, scales and biases, none of them aligned.
struct Matrix {
  const unsigned char* weight;  // [out] rows of row_bytes
  const unsigned char* scales;  // [out, groups] in scale_format
  const unsigned char* biases;  // as scales; affine only, else null
  int64_t out;
  int64_t in;
  int64_t row_bytes;
  int64_t groups;  // in / group; 0 for plain formats
  int group;
  int bits;
  WeightFormat format;
  ScaleFormat scale_format;
};

struct GemvArgs {
  const Matrix* w;
  const float* x;  // [rows] rows as prepare() writes them, x_stride floats apart
  int64_t x_stride;
  int rows;       // 1 .. kGemvRows; any number for multiply16
  int64_t begin;  // rows of the weight: [begin, end)
  int64_t end;
  float* y;  // y[r * y_stride + o]
  int64_t y_stride;
  bool add;        // y += instead of y =
  float* scratch;  // of this thread: 8 * (groups + 320) floats
};

// Positions [begin, end), multiples of kPositionBlock, of some rows of a weight: out[r * stride + p - begin].
struct DequantizeArgs {
  const Matrix* w;
  int64_t row, rows;
  int64_t begin, end;
  float* out;
  int64_t stride;
  float* scratch;  // of this thread: 2 * (groups + 64) floats
};

// A KV block: kKvTokens tokens of one head, K and V apart, each a matrix whose rows are summed over by one of the two
// products of attention: K [d, kKvTokens] (scores = q K), V [kKvTokens, d] (out = p V). So tokens lie along the lanes
// of K and head dimensions along those of V: nothing is transposed and no vector is summed across.
//   f32, q8: rows follow each other;
//   bf16:    rows 2 r and 2 r + 1 are interleaved element by element (what a matrix unit takes as its operand B);
//   q4:      rows 2 r and 2 r + 1 share bytes, the even row in the low half.
// q8, q4: value = scale * code + bias, one pair for each token and group of `group` dimensions; behind the codes
// follow scales f32 [d / group, kKvTokens], then biases likewise. d is even; of q8 and q4 a multiple of 32.
// Tokens that were never written may hold anything.
enum class KvType : uint8_t { f32, bf16, q8, q4 };
constexpr int kKvTokens = 32;
constexpr int kKvMaxGroup = 128;

// Writes tokens [first, first + tokens) of one block.
struct StoreKvArgs {
  const float* k;  // [tokens] rows of d floats, `stride` apart
  const float* v;
  int64_t stride;
  int d;
  int first, tokens;
  KvType type;
  int group;
  const float* k_scales;  // null, or [tokens] rows of d / group pairs of a scale and a bias, `scales_stride` floats
  const float* v_scales;  // apart, that the values were quantised with before: their codes are found again
  int64_t scales_stride;
  unsigned char* k_block;
  unsigned char* v_block;
};

// Attention of some queries over one range of one KV head's tokens, as a partial softmax.
struct AttendArgs {
  const float* q;         // [queries, d]
  const int32_t* limits;  // [queries] tokens that each may see, ascending
  int queries;
  int d;
  const unsigned char* k;  // this head's K of block 0
  const unsigned char* v;  // and its V
  KvType type;
  int group;
  int64_t block_stride;   // bytes between blocks
  const int32_t* blocks;  // block table
  int begin;              // tokens [begin, end); begin is a multiple of kKvTokens
  int end;
  float scale;
  float* out;      // [queries, d] sum of exp(s - max) v
  float* max;      // [queries] -infinity where a query sees nothing of the range
  float* sum;      // [queries] sum of exp(s - max)
  float* scratch;  // of this thread: attend_scratch_floats() of attention.cpp, 64-byte aligned
};

// Products in a matrix unit: bf16 operands, f32 sums. Weights become bf16 tiles, activations are packed once a call.
// Layouts, with a step of 32 positions of the input dimension:
//   panel   [row tile][step][tile] bf16: weights; rows beyond the last are zeros
//   sliver  [step][2 token tiles][tile] bf16: activations of 32 tokens; tokens beyond the last are zeros, a second tile
//           of none may be undefined
//   sums    [sliver][row tile][2 token tiles][16 rows][16 tokens] f32
// A tile holds 16 rows or tokens x 32 positions as the unit wants them. AMX: weights [16 rows][32 positions],
// activations [16 pairs of positions][16 tokens][2]. BFMMLA: both [8 quads of positions][16 rows or tokens][4].
// The order of columns is that of `kernels.h` above with L = 32 and c = codes_per_lane() of this table.
constexpr int kTileEdge = 16;           // rows or tokens of a tile
constexpr int64_t kStep = 32;           // positions of a tile
constexpr int64_t kTileElements = 512;  // of bf16: 1 KiB
constexpr int64_t kSliverStep = 2 * kTileElements;
constexpr int kSliverTokens = 32;
constexpr int64_t kMaxTileChunk = 1024;  // positions that dequantize takes at once

struct TilePackArgs {
  const Matrix* w;        // whose order of positions is wanted
  const float* const* x;  // [rows] activations
  int rows;               // 1 .. kSliverTokens
  int64_t begin, end;     // positions, multiples of kPositionBlock
  uint16_t* out;          // sliver, at step begin / kStep
};

struct TileDequantizeArgs {
  const Matrix* w;
  int64_t row, rows;   // of the weight; padded with zeros to whole tiles
  int64_t begin, end;  // positions, multiples of kPositionBlock; at most kMaxTileChunk
  uint16_t* out;       // panel of (end - begin) / kStep steps
};

// Rows of bytes that will be dequantised soon: fetched meanwhile. rows 0: none.
struct TileNext {
  const unsigned char* bytes;
  int64_t stride;
  int64_t rows;
  int64_t width;
};

struct TileMultiplyArgs {
  const uint16_t* panel;
  int row_tiles;
  int64_t steps;
  const uint16_t* x;      // slivers, at the panel's first step
  int64_t sliver_stride;  // elements
  int tokens;
  float* sums;
  bool accumulate;
  TileNext next[2];
};

struct TileStoreArgs {
  const float* sums;
  int rows, tokens;
  float* y;  // y[t * y_stride + row]
  int64_t y_stride;
  bool add;
};

// silu(gate) * up, packed as the activations of `down`. sums: first gate's row tiles, then as many of up.
struct TileGateArgs {
  const float* sums;
  int rows, tokens;  // rows of gate: a multiple of down's block of positions, or the last ones
  const Matrix* down;
  int64_t first;  // column of down that row 0 is
  uint16_t* out;  // slivers of down's input
  int64_t sliver_stride;
};

// y[t, o] (+)= sum_i w[o, i] x[t, i] for rows [begin, end) of w and at most kSliverTokens tokens: weights stream once.
struct TileStreamArgs {
  const Matrix* w;
  int64_t begin, end;
  int64_t next;       // the row that this thread will most likely begin with next: fetched ahead
  const uint16_t* x;  // one sliver of all steps
  int tokens;
  float* y;
  int64_t y_stride;
  bool add;
  float* scratch;  // of this thread: 32 * (groups + 16) floats
};

struct TileKernels {
  int (*codes_per_lane)(const Matrix& w);
  void (*pack)(const TilePackArgs& args);
  void (*dequantize)(const TileDequantizeArgs& args);
  void (*multiply)(const TileMultiplyArgs& args);
  void (*store)(const TileStoreArgs& args);
  void (*gate)(const TileGateArgs& args);
  void (*stream)(const TileStreamArgs& args);
  // Kernels::attend with q and the softmax's weights in bf16, for d a multiple of 32 and a cache that is not f32. Null:
  // vectors are as good.
  void (*attend)(const AttendArgs& args);
};

// A step of Adam (Kingma and Ba 2015, algorithm 1; decoupled decay: Loshchilov and Hutter 2019):
//     g = gradient_scale gradient; mean = beta1 mean + (1 - beta1) g; square = beta2 square + (1 - beta2) g^2;
//     value = keep value - rate mean / (root_scale sqrt(square) + eps)
struct AdamArgs {
  float* value;
  const float* gradient;
  float* mean;
  float* square;
  int64_t n;
  float gradient_scale, beta1, beta2, keep, rate, root_scale, eps;
};

struct Kernels {
  const char* name;
  const TileKernels* tiles;  // null: this machine has no matrix unit
  int lanes;                 // L
  int panel;                 // columns of a packed panel of activations
  int tile_rows;             // rows of a register tile of gemm: panels of weights are multiples of it

  // y = x / sqrt(mean(x^2) + eps) * weight. y may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, float* y, int64_t n);
  // Each of `heads` heads of d floats: RMS norm, then element i rotates with i + d/2. table: d/2 cosines, d/2 sines.
  void (*norm_rope)(float* x, int heads, int d, const float* weight, float eps, const float* table);
  // out = gate / (1 + exp(-gate)) * up. out may be gate.
  void (*swiglu)(const float* gate, const float* up, float* out, int64_t n);
  // x = exp(x - max(x)) / sum. In place.
  void (*softmax)(float* x, int64_t n);
  // y += scale * x
  void (*add_scaled)(const float* x, float scale, float* y, int64_t n);
  // y *= x
  void (*multiply)(const float* x, float* y, int64_t n);
  // Round to nearest even.
  void (*to_bf16)(const float* x, uint16_t* y, int64_t n);

  // c of this format, above.
  int (*codes_per_lane)(const Matrix& w);
  // One row of activations for gemv: `in` rounded up to kPositionBlock positions, then sums that the kernel wants:
  // at most half as many floats again, or as many again where groups have 16.
  void (*prepare)(const Matrix& w, const float* x, float* prepared);
  void (*gemv)(const GemvArgs& args);
  // The same for affine and e2m1 weights and any number of rows, from integers of 16 bits: x is q * max|x| / 32767 with
  // one maximum for each of the weight's groups, and y is the exact product with that but for float32's rounding: an
  // error of at most sum |w| max|x| / 65534. Groups that hold an infinity or a NaN make y NaN. Room as for prepare().
  void (*prepare16)(const Matrix& w, const float* x, float* prepared);
  void (*multiply16)(const GemvArgs& args);
  void (*dequantize)(const DequantizeArgs& args);
  // out[(p - begin) * panel + t] = position p of row t; zeros for t in [rows, panel).
  void (*pack)(const Matrix& w, const float* const* x, int rows, int64_t begin, int64_t end, float* out);
  // c [m, n] (+)= a [m, k] b [k, n], strides in floats. n <= panel; columns of b and c up to the next multiple of
  // `lanes` are read and written.
  void (*gemm)(int64_t m, int n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c,
               int64_t ldc, bool accumulate);
  // y[t * y_stride + o] (+)= c[o * ldc + t], o < m, t < n
  void (*store_transposed)(const float* c, int64_t ldc, int m, int n, float* y, int64_t y_stride, bool add);

  void (*store_kv)(const StoreKvArgs& args);
  void (*attend)(const AttendArgs& args);

  // Gradients, of one row. rms_norm's: dx += , returns 1 / sqrt(mean(x^2) + eps), for the weight's own.
  float (*rms_norm_backward)(const float* x, const float* weight, float eps, const float* dy, float* dx, int64_t n);
  // The gradient before norm_rope's rotation from that behind it. In place; table as there.
  void (*rotate_back)(float* x, int heads, int d, const float* table);
  // dgate and dup may be gate and up.
  void (*swiglu_backward)(const float* gate, const float* up, const float* dy, float* dgate, float* dup, int64_t n);
  // out += scale * x * y
  void (*add_product)(const float* x, const float* y, float scale, float* out, int64_t n);
  void (*adam)(const AdamArgs& args);
};

// One arithmetic unit at its best: chains of one instruction from register to register, nothing else.
struct Peak {
  const char* name;     // "f32", "vnni_int8", "amx_bf16"
  const char* isa;      // the first table whose kernels may use the unit
  const char* feature;  // what the system calls it; "" where the table asks for no more
  double operations;    // of a round; a multiplication and an addition are two
  void (*run)(int64_t rounds);
};
struct PeakTable {
  const Peak* peaks;
  int count;
};
extern const PeakTable kPeaks;

extern const Kernels kScalarKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kNeonKernels;
extern const TileKernels kAmxTiles;
extern const TileKernels kNeonBf16Tiles;

}  // namespace inkstone
