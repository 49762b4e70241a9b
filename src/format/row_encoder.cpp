#include "format/row_encoder.h"

#include <vector>

#include "format/quantization.h"

namespace inkstone {

RowEncoder::RowEncoder(const WeightView& weight, const StoredFormat& format) : weight_(weight), format_(format) {
  if (format.quantization.mode == QuantMode::none)
    bytes_ = {static_cast<size_t>(weight.in) * static_cast<size_t>(dtype_size(format.dtype)), 0, 0};
  else
    bytes_ = quantized_row_bytes(format.quantization, weight.in, format.dtype);
}

RowTarget RowEncoder::at(const RowTarget& target, int64_t row) const {
  const size_t n = static_cast<size_t>(row);
  return {target.weight + n * bytes_.codes, target.scales + n * bytes_.scales, target.biases + n * bytes_.biases};
}

void RowEncoder::read(int64_t e, int64_t row, std::span<float> values) const {
  read(weight_.experts > 0 ? weight_.expert(e) : weight_, row, values);
}

void RowEncoder::read(const WeightView& matrix, int64_t row, std::span<float> values) const {
  if (!format_.decode_exactly) return dequantize_row_in(matrix, row, format_.dtype, values);
  dequantize_row(matrix, row, values);
  for (float& value : values) value = rounded_to(value, format_.dtype);
}

void RowEncoder::write(std::span<const float> values, const RowTarget& target) const {
  if (format_.quantization.mode == QuantMode::none)
    narrow(values, format_.dtype, {target.weight, bytes_.codes});
  else
    quantize_row(values, format_.quantization, format_.dtype, {target.weight, bytes_.codes},
                 {target.scales, bytes_.scales}, {target.biases, bytes_.biases});
}

void RowEncoder::read_back(const RowTarget& target, std::span<float> values) const {
  const Quantization& q = format_.quantization;
  WeightView row{"", 1, weight_.in, 0, q, {}, {}, {}, {}};
  if (q.mode == QuantMode::none) {
    row.weight = {target.weight, format_.dtype, Shape{1, weight_.in}};
  } else {
    const bool affine = q.mode == QuantMode::affine;
    const int64_t groups = weight_.in / q.group_size;
    row.weight = {target.weight, DType::u32, Shape{1, weight_.in * q.bits / 32}};
    row.scales = {target.scales, affine ? format_.dtype : DType::u8, Shape{1, groups}};
    if (affine) row.biases = {target.biases, format_.dtype, Shape{1, groups}};
  }
  dequantize_row_in(row, 0, format_.dtype, values);
}

void RowEncoder::encode(int64_t e, int64_t begin, int64_t end, const RowTarget& target) const {
  const WeightView matrix = weight_.experts > 0 ? weight_.expert(e) : weight_;
  std::vector<float> values(static_cast<size_t>(weight_.in));
  for (int64_t row = begin; row < end; ++row) {
    read(matrix, row, values);
    write(values, at(target, row - begin));
  }
}

}  // namespace inkstone
