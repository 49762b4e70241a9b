#include "train/fuse_module.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "format/quantize.h"

namespace inkstone {
namespace {

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

ModuleFuser::ModuleFuser(const ConvertedModule& module, const AdapterModule& adapter, float scale,
                         std::function<void(const TuningLoss&)> on_loss)
    : encoder_(module.weight, module.format),
      dtype_(module.format.dtype),
      in_(module.weight.in),
      out_(module.weight.out),
      scale_(scale),
      rank_(adapter.rank()),
      rows_(rows_of(adapter)),
      losses_(static_cast<size_t>(std::max<int64_t>(module.weight.experts, 1) * out_)),
      on_loss_(std::move(on_loss)) {
  CHECK(adapter.in() == in_ && adapter.out() == out_ && adapter.experts() == module.weight.experts);
  CHECK(adapter.m.empty() || !adapter.is_experts());
}

// exact = base + scale b a in float32, fused the same in the dtype's steps; for DoRA both brought to the length m.
void ModuleFuser::add_adapter(int64_t e, int64_t row, Scratch& s) const {
  const size_t in = s.base.size();
  std::fill(s.exact.begin(), s.exact.end(), 0.0f);
  const float* b = rows_.b.data() + (e * out_ + row) * rank_;
  for (int64_t r = 0; r < rank_; ++r) {
    const float factor = scale_ * b[r];
    const float* a = rows_.a.data() + (e * rank_ + r) * in_;
    for (size_t i = 0; i < in; ++i) s.exact[i] += factor * a[i];
  }
  for (size_t i = 0; i < in; ++i) {
    s.fused[i] = rounded_to(s.base[i] + rounded_to(s.exact[i], dtype_), dtype_);
    s.exact[i] += s.base[i];
  }
  if (rows_.m.empty()) return;
  // A row of zeros has no direction: it stays.
  const double m = rows_.m[static_cast<size_t>(row)], exact_norm = norm_of(s.exact), fused_norm = norm_of(s.fused);
  const float exact_factor = static_cast<float>(exact_norm > 0 ? m / exact_norm : 1);
  const float fused_factor = static_cast<float>(fused_norm > 0 ? m / fused_norm : 1);
  for (size_t i = 0; i < in; ++i) {
    s.exact[i] *= exact_factor;
    s.fused[i] = rounded_to(s.fused[i] * fused_factor, dtype_);
  }
}

void ModuleFuser::encode(int64_t e, int64_t begin, int64_t end, const RowTarget& target) {
  Scratch s(in_);
  for (int64_t row = begin; row < end; ++row) {
    const RowTarget at = encoder_.at(target, row - begin);
    encoder_.read(e, row, s.base);
    add_adapter(e, row, s);
    encoder_.write(s.fused, at);
    encoder_.read_back(at, s.read);
    TuningLoss& loss = losses_[static_cast<size_t>(e * out_ + row)];
    for (size_t i = 0; i < s.base.size(); ++i) {
      const double wanted = static_cast<double>(s.exact[i]) - s.base[i];
      const double written = static_cast<double>(s.read[i]) - s.base[i];
      loss.wanted += wanted * wanted;
      loss.along += wanted * written;
      loss.written += written * written;
    }
  }
}

void ModuleFuser::finish() {
  TuningLoss sum;
  for (const TuningLoss& row : losses_) sum.add(row);
  on_loss_(sum);
}

}  // namespace inkstone
