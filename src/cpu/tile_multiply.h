// Products in the matrix unit (kernels.h, TileKernels): bf16 operands, f32 sums. Up to 32 rows of activations stream
// the weights once; more make panels of weights bf16 and multiply them with all rows. docs/kernels.md describes both.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpu/context.h"
#include "cpu/product.h"

namespace inkstone {

class TileMultiplier {
 public:
  explicit TileMultiplier(Context& context) : context_(context) {}

  // Whether so many rows times this weight are better done here. Not what is beyond bf16: adapters are in f32.
  bool takes(const Matrix& w, int rows) const;
  // Whether a whole MLP is: gate, up and SwiGLU then stay in the matrix unit's layout.
  bool takes(const GatedProduct& product) const;

  // All products, at once: they must not write what another reads.
  void multiply(std::span<const Product> products);
  // y (+)= down(silu(gate x) * up x), all at once. Each has more than kSliverTokens rows.
  void mlp(std::span<const GatedProduct> products);

 private:
  static constexpr int kLeastRows = 4;  // fewer cost less as integers or floats

  // Packed activations: [sliver][steps of the padded input] in Scratch::tile_inputs or Scratch::tile_gates.
  struct Input {
    const Matrix* w;  // whose order of positions it has
    Activations x;
    int64_t offset;  // elements
    int64_t first_unit;
    int64_t units;
  };
  struct Job {
    const Matrix* w;
    const Matrix* up;  // w is gate then, and the result is down's packed input; else null
    const Matrix* down;
    const uint16_t* x;  // packed
    int rows;
    float* y;
    int64_t y_stride;
    bool add;
    uint16_t* gated;
  };
  struct Task {
    size_t job;
    int64_t begin, end;  // rows of the weight
    int token, tokens;
  };

  size_t input(const Matrix& w, const Activations& x);
  uint16_t* pack_inputs();
  void pack_unit(const Input& input, int64_t unit, uint16_t* out) const;
  void plan_tasks();
  void run_tasks();
  void run_stream(const Job& job, const Task& task, float* scratch) const;
  void run_panel(const Job& job, const Task& task, float* scratch) const;
  // Of tokens [token, token + done.tokens) of the task, whose sums are complete.
  void store(const Job& job, const Task& task, int token, const TileMultiplyArgs& done) const;
  int64_t panel_rows(const Job& job) const;

  Context& context_;
  std::vector<Input> inputs_;
  std::vector<size_t> input_of_;  // by product
  std::vector<Job> jobs_;
  std::vector<Task> tasks_;
};

}  // namespace inkstone
