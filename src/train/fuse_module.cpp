#include "train/fuse_module.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "format/quantize.h"
#include "tensor/widen.h"

namespace inkstone {
namespace {

QuantizedRowBytes row_bytes(const FusedFormat& format, int64_t in) {
  if (format.quantization.mode == QuantMode::none)
    return {static_cast<size_t>(in) * static_cast<size_t>(dtype_size(format.dtype)), 0, 0};
  return quantized_row_bytes(format.quantization, in, format.dtype);
}

double norm_of(const std::vector<float>& row) {
  double squares = 0;
  for (const float value : row) squares += static_cast<double>(value) * value;
  return std::sqrt(squares);
}

}  // namespace

void TuningLoss::add(const TuningLoss& other) {
  wanted += other.wanted;
  along += other.along;
  written += other.written;
}

double TuningLoss::survival() const { return is_empty() ? 1 : along / wanted; }

double TuningLoss::noise() const {
  return is_empty() ? 0 : std::sqrt(std::max(0.0, written - along * along / wanted) / wanted);
}

double TuningLoss::error() const {
  return is_empty() ? 0 : std::sqrt(std::max(0.0, written - 2 * along + wanted) / wanted);
}

struct ModuleFuser::Scratch {
  std::vector<float> base;   // the row before, in dtype
  std::vector<float> exact;  // the row as it should be, float32
  std::vector<float> fused;  // the row as it is before it is encoded, in dtype
  std::vector<float> read;   // the row as a reader gets it

  explicit Scratch(int64_t in)
      : base(static_cast<size_t>(in)), exact(base.size()), fused(base.size()), read(base.size()) {}
};

ModuleFuser::ModuleFuser(const WeightView& weight, const AdapterModule* adapter, const AdapterConfig& config,
                         const FusedFormat& format)
    : weight_(weight), format_(format), has_adapter_(adapter != nullptr) {
  if (adapter == nullptr) return;
  CHECK(adapter->in() == weight.in && adapter->out() == weight.out && adapter->experts() == weight.experts);
  CHECK(adapter->m.empty() || !adapter->is_experts());
  scale_ = config.scale;
  rank_ = adapter->rank();
  rows_ = rows_of(*adapter);
}

// exact = base + scale b a in float32, fused the same in the dtype's steps; for DoRA both brought to the length m.
void ModuleFuser::add_adapter(int64_t e, int64_t row, Scratch& s) const {
  const size_t in = s.base.size();
  std::fill(s.exact.begin(), s.exact.end(), 0.0f);
  const float* b = rows_.b.data() + (e * weight_.out + row) * rank_;
  for (int64_t r = 0; r < rank_; ++r) {
    const float factor = scale_ * b[r];
    const float* a = rows_.a.data() + (e * rank_ + r) * weight_.in;
    for (size_t i = 0; i < in; ++i) s.exact[i] += factor * a[i];
  }
  for (size_t i = 0; i < in; ++i) {
    s.fused[i] = rounded_to(s.base[i] + rounded_to(s.exact[i], format_.dtype), format_.dtype);
    s.exact[i] += s.base[i];
  }
  if (rows_.m.empty()) return;
  // A row of zeros has no direction: it stays.
  const double m = rows_.m[static_cast<size_t>(row)], exact_norm = norm_of(s.exact), fused_norm = norm_of(s.fused);
  const float exact_factor = static_cast<float>(exact_norm > 0 ? m / exact_norm : 1);
  const float fused_factor = static_cast<float>(fused_norm > 0 ? m / fused_norm : 1);
  for (size_t i = 0; i < in; ++i) {
    s.exact[i] *= exact_factor;
    s.fused[i] = rounded_to(s.fused[i] * fused_factor, format_.dtype);
  }
}

TuningLoss ModuleFuser::encode_row(const WeightView& matrix, int64_t e, int64_t row, Scratch& s, std::byte* weight,
                                   std::byte* scales, std::byte* biases) const {
  const QuantizedRowBytes bytes = row_bytes(format_, weight_.in);
  dequantize_row_in(matrix, row, format_.dtype, s.base);
  if (has_adapter_)
    add_adapter(e, row, s);
  else
    s.fused = s.base;
  if (format_.quantization.mode == QuantMode::none) {
    narrow(s.fused, format_.dtype, {weight, bytes.codes});
    s.read = s.fused;
  } else {
    quantize_row(s.fused, format_.quantization, format_.dtype, {weight, bytes.codes}, {scales, bytes.scales},
                 {biases, bytes.biases});
    WeightView again{"", 1, weight_.in, 0, format_.quantization, {}, {}, {}, {}};
    const int64_t groups = weight_.in / format_.quantization.group_size;
    const bool affine = format_.quantization.mode == QuantMode::affine;
    again.weight = {weight, DType::u32, Shape{1, weight_.in * format_.quantization.bits / 32}};
    again.scales = {scales, affine ? format_.dtype : DType::u8, Shape{1, groups}};
    if (affine) again.biases = {biases, format_.dtype, Shape{1, groups}};
    dequantize_row_in(again, 0, format_.dtype, s.read);
  }
  TuningLoss loss;
  if (!has_adapter_) return loss;
  for (size_t i = 0; i < s.base.size(); ++i) {
    const double wanted = static_cast<double>(s.exact[i]) - s.base[i];
    const double written = static_cast<double>(s.read[i]) - s.base[i];
    loss.wanted += wanted * wanted;
    loss.along += wanted * written;
    loss.written += written * written;
  }
  return loss;
}

void ModuleFuser::encode(int64_t e, int64_t begin, int64_t end, ThreadPool& pool, EncodedRows& out,
                         TuningLoss& loss) const {
  CHECK(begin >= 0 && begin <= end && end <= weight_.out);
  const WeightView matrix = weight_.experts > 0 ? weight_.expert(e) : weight_;
  const QuantizedRowBytes bytes = row_bytes(format_, weight_.in);
  const size_t rows = static_cast<size_t>(end - begin);
  out.weight.resize(rows * bytes.codes);
  const size_t scales_at = out.scales.size(), biases_at = out.biases.size();
  out.scales.resize(scales_at + rows * bytes.scales);
  out.biases.resize(biases_at + rows * bytes.biases);
  std::vector<TuningLoss> losses(rows);  // added up in order: the same whatever the threads
  pool.parallel_for(static_cast<int64_t>(rows), 1, [&](int64_t first, int64_t last) {
    Scratch scratch(weight_.in);
    for (int64_t i = first; i < last; ++i) {
      const size_t at = static_cast<size_t>(i);
      losses[at] = encode_row(matrix, e, begin + i, scratch, out.weight.data() + at * bytes.codes,
                              out.scales.data() + scales_at + at * bytes.scales,
                              out.biases.data() + biases_at + at * bytes.biases);
    }
  });
  for (const TuningLoss& row : losses) loss.add(row);
}

}  // namespace inkstone
