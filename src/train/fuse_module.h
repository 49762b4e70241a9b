// ModuleFuser: the rows of one matrix (or stack of experts) with its adapter added, in the checkpoint's own format, and
// what of the tuning is left in them. A view of the checkpoint and of the adapter, which must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "format/adapter.h"
#include "format/conversion.h"

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

class ModuleFuser : public RowEditor {
 public:
  // `on_loss` gets the sum over all rows. Sizes must fit (CHECKed).
  ModuleFuser(const ConvertedModule& module, const AdapterModule& adapter, float scale,
              std::function<void(const TuningLoss&)> on_loss);

  //   LoRA: W + round(scale b a), rounded, as mlx_lm.fuse computes it in the checkpoint's dtype.
  //   DoRA: that times m / its norm.
  void encode(int64_t e, int64_t begin, int64_t end, const RowTarget& target) override;
  void finish() override;

 private:
  struct Scratch;
  void add_adapter(int64_t e, int64_t row, Scratch& scratch) const;

  RowEncoder encoder_;
  DType dtype_;
  int64_t in_, out_;
  float scale_;
  int64_t rank_;
  AdapterRows rows_;
  std::vector<TuningLoss> losses_;  // of each row: added up in order they are the same whatever the threads
  std::function<void(const TuningLoss&)> on_loss_;
};

}  // namespace inkstone
