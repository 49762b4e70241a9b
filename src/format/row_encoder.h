// RowEncoder: the rows of one matrix (or stack of experts) in another format, each as mlx_lm computes it in the dtype
// of the format. A view of the checkpoint, which must outlive it. Const, so any threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "format/quantize.h"
#include "tensor/quantized.h"

namespace inkstone {

// How a matrix is stored.
struct StoredFormat {
  DType dtype = DType::bf16;  // of plain values, and of affine scales and biases; arithmetic is done in it
  Quantization quantization;  // mode none: plain
  // The source is decoded in float32, and each value rounded once: where it is none that MLX decodes, in dtype, itself.
  bool decode_exactly = false;

  friend bool operator==(const StoredFormat&, const StoredFormat&) = default;
};

// Where rows are written to, one behind the other; scales and biases only where the format has them.
struct RowTarget {
  std::byte* weight = nullptr;
  std::byte* scales = nullptr;
  std::byte* biases = nullptr;
};

class RowEncoder {
 public:
  // The columns must be whole groups (CHECKed).
  RowEncoder(const WeightView& weight, const StoredFormat& format);

  const QuantizedRowBytes& row_bytes() const { return bytes_; }  // plain rows: `codes` alone
  RowTarget at(const RowTarget& target, int64_t row) const;      // `row` rows further

  // Row `row` of expert e (0 where there are none), in the dtype of the format.
  void read(int64_t e, int64_t row, std::span<float> values) const;
  // A row of values that the dtype of the format can hold.
  void write(std::span<const float> values, const RowTarget& target) const;
  // What write() wrote, as a reader gets it.
  void read_back(const RowTarget& target, std::span<float> values) const;
  // Rows [begin, end) of expert e: only their format changes.
  void encode(int64_t e, int64_t begin, int64_t end, const RowTarget& target) const;

 private:
  void read(const WeightView& matrix, int64_t row, std::span<float> values) const;

  const WeightView& weight_;
  StoredFormat format_;
  QuantizedRowBytes bytes_;
};

}  // namespace inkstone
