// ModuleFuser: the rows of one matrix (or stack of experts) with its adapter added, in the checkpoint's own format, and
// what of the tuning is left in them. A view of the checkpoint and of the adapter, which must outlive it. One thread
// calls it; it uses a pool's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "format/adapter.h"
#include "tensor/quantized.h"

namespace inkstone {

// What becomes of a change D of weights that is written as R, the difference of the stored matrices after and before:
// with R = p D + N, where N is at right angles to D, p is the part that survives and |N| / |D| the noise that came with
// it. Rounding that does nothing has p = 1 and no noise; a change far below the step of the codes has p near 0, because
// all codes stay, or noise far above 1, because the group's scale moved and took them along. Sums of squares over all
// weights; modules add up.
struct TuningLoss {
  double wanted = 0;   // <D, D>
  double along = 0;    // <R, D>
  double written = 0;  // <R, R>

  void add(const TuningLoss& other);
  bool is_empty() const { return wanted == 0; }
  double survival() const;  // p
  double noise() const;     // |N| / |D|
  double error() const;     // |R - D| / |D|
};

// How the matrix is stored afterwards.
struct FusedFormat {
  DType dtype = DType::bf16;  // of plain values, and of affine scales and biases; arithmetic is done in it
  Quantization quantization;  // mode none: plain
};

struct EncodedRows {
  std::vector<std::byte> weight;          // of the rows of the last call
  std::vector<std::byte> scales, biases;  // of all rows so far
};

class ModuleFuser {
 public:
  // `adapter` null: nothing is added, only the format changes. Sizes must fit (CHECKed).
  ModuleFuser(const WeightView& weight, const AdapterModule* adapter, const AdapterConfig& config,
              const FusedFormat& format);

  // Rows [begin, end) of expert e (0 where there are none).
  //   LoRA: W + round(scale b a), rounded, as mlx_lm.fuse computes it in the checkpoint's dtype.
  //   DoRA: that times m / its norm.
  void encode(int64_t e, int64_t begin, int64_t end, ThreadPool& pool, EncodedRows& out, TuningLoss& loss) const;

 private:
  struct Scratch;
  TuningLoss encode_row(const WeightView& matrix, int64_t e, int64_t row, Scratch& scratch, std::byte* weight,
                        std::byte* scales, std::byte* biases) const;
  void add_adapter(int64_t e, int64_t row, Scratch& scratch) const;

  const WeightView& weight_;
  FusedFormat format_;
  bool has_adapter_ = false;
  float scale_ = 1;
  int64_t rank_ = 0;
  AdapterRows rows_;
};

}  // namespace inkstone
