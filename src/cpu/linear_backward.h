// Gradients of linear layers. Each is a product again, of transposes, so that the kernels of the forward pass compute
// it: with y = x W^T,
//     dx = dy W        the weight W^T, the activations dy
//     dW = dy^T x      the weight x^T, the activations dy^T
// Transposes are made in scratch memory, of W some rows at a time, whatever its format; in bf16 where a matrix unit
// multiplies.
#pragma once

#include "cpu/matmul.h"
#include "device/training.h"

namespace inkstone {

// One weight's: y = x W^T with x [rows, in], dy [rows, out], dense rows.
struct LinearStep {
  const Linear* linear;
  int64_t expert;  // of a stack; -1 for a single matrix
  const float* x;
  const float* dy;
  int rows;
  const LinearGradient* gradient;
  float* dx;  // [rows, in], or null
  bool add;   // dx +=
};

class LinearBackward {
 public:
  LinearBackward(Context& context, Multiplier& multiplier) : context_(context), multiplier_(multiplier) {}

  // Consecutive steps with the same x, once it is filled, belong between one begin() and the next.
  void begin() { transposed_x_ = nullptr; }
  void run(const LinearStep& step);
  // inverse_norms and magnitude of DoRA's, from m [out].
  void renew_magnitude(Linear& linear, const float* m);

 private:
  // A [rows, columns] transposed, as a weight with `columns` rows. Lives until the purpose is used again.
  Matrix transposed(const float* a, int64_t rows, int64_t columns, Scratch purpose);
  Matrix transposed_rows(const Matrix& w, int64_t begin, int64_t end);
  // out [n, m] += a^T b, from the transposes. at: [n, rows] f32.
  void add_outer(const float* at, int64_t n, const Matrix& bt, int64_t rows, float* out);
  const float* transposed_dy(const float* dy, int64_t rows, int64_t out);
  const float* through_magnitude(const LinearStep& step);
  void input_gradient(const Matrix& w, const float* dy, int rows, float* dx, bool add);
  void adapter(const LinearStep& step, const float* dy);

  Context& context_;
  Multiplier& multiplier_;
  const float* transposed_x_ = nullptr;  // of which x_ is the transpose
  Matrix x_{};
};

}  // namespace inkstone
