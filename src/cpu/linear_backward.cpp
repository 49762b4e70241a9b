#include "cpu/linear_backward.h"

#include <cmath>
#include <vector>

namespace inkstone {
namespace {

constexpr int64_t kStripe = 64;       // columns that a thread transposes at a time
constexpr int64_t kRowsAtOnce = 64;   // rows of a weight that it dequantises for that
constexpr int64_t kChunkRows = 1024;  // rows of a weight whose transpose exists at a time

Matrix plain(const void* data, int64_t out, int64_t in, int64_t stride, WeightFormat format) {
  Matrix m{};
  m.weight = static_cast<const unsigned char*>(data);
  m.out = out;
  m.in = in;
  m.row_bytes = stride * (format == WeightFormat::f32 ? 4 : 2);
  m.format = format;
  return m;
}

// to[j * stride + i] = a[i * lda + j]. Vectors may not read beyond a's last row, so what is left over goes one by one.
void transpose(const Kernels& kernels, const float* a, int64_t lda, int64_t rows, int64_t columns, float* to,
               int64_t stride) {
  const int64_t whole = columns / kernels.lanes * kernels.lanes;
  if (whole > 0) kernels.store_transposed(a, lda, static_cast<int>(rows), static_cast<int>(whole), to, stride, false);
  for (int64_t j = whole; j < columns; ++j)
    for (int64_t i = 0; i < rows; ++i) to[j * stride + i] = a[i * lda + j];
}

}  // namespace

Matrix LinearBackward::transposed(const float* a, int64_t rows, int64_t columns, Scratch purpose) {
  const Kernels& kernels = context_.kernels;
  const int64_t stride = round_up(rows, 16);
  const bool half = context_.tiles() != nullptr && purpose != Scratch::transposed_dy;
  float* const out = context_.floats(purpose, half ? columns * stride / 2 : columns * stride);
  float* const scratch = half ? context_.floats(Scratch::stripes, context_.pool.size() * kStripe * stride) : nullptr;
  context_.for_each_task((columns + kStripe - 1) / kStripe, rows * columns > 16384, [&](int rank, int64_t task) {
    const int64_t first = task * kStripe, count = std::min(kStripe, columns - first);
    float* const to = half ? scratch + rank * kStripe * stride : out + first * stride;
    for (int64_t row = 0; row < rows; row += kRowsAtOnce)
      transpose(kernels, a + row * columns + first, columns, std::min(kRowsAtOnce, rows - row), count, to + row,
                stride);
    if (!half) return;
    for (int64_t j = 0; j < count; ++j)
      kernels.to_bf16(to + j * stride, reinterpret_cast<uint16_t*>(out) + (first + j) * stride, rows);
  });
  return plain(out, columns, rows, stride, half ? WeightFormat::bf16 : WeightFormat::f32);
}

// Blocks of kPositionBlock positions: a run of `lanes` positions holds every c-th column of its block (kernels.h).
Matrix LinearBackward::transposed_rows(const Matrix& w, int64_t begin, int64_t end) {
  const Kernels& kernels = context_.kernels;
  const int64_t rows = end - begin, stride = round_up(rows, 16), padded = round_up(w.in, kPositionBlock);
  const int64_t lanes = kernels.lanes, codes = kernels.codes_per_lane(w), block = lanes * codes;
  const bool half = context_.tiles() != nullptr;
  float* const out = context_.floats(Scratch::transposed_weight, half ? padded * stride / 2 : padded * stride);
  const int64_t per_thread = round_up(2 * kRowsAtOnce * kPositionBlock + 2 * (w.groups + 64), 1024);
  float* const scratch = context_.floats(Scratch::stripes, context_.pool.size() * per_thread);
  const int64_t row_blocks = (rows + kRowsAtOnce - 1) / kRowsAtOnce;
  context_.for_each_task(padded / kPositionBlock * row_blocks, true, [&](int rank, int64_t task) {
    const int64_t row = task / (padded / kPositionBlock) * kRowsAtOnce, count = std::min(kRowsAtOnce, rows - row);
    const int64_t column = task % (padded / kPositionBlock) * kPositionBlock;
    float* const values = scratch + rank * per_thread;
    float* const turned = values + kRowsAtOnce * kPositionBlock;
    kernels.dequantize({.w = &w,
                        .row = begin + row,
                        .rows = count,
                        .begin = column,
                        .end = column + kPositionBlock,
                        .out = values,
                        .stride = kPositionBlock,
                        .scratch = turned + kRowsAtOnce * kPositionBlock});
    float* const to = half ? turned : out + column * stride + row;
    const int64_t to_stride = half ? kRowsAtOnce : stride;
    for (int64_t p = 0; p < kPositionBlock; p += lanes)
      kernels.store_transposed(values + p, kPositionBlock, static_cast<int>(count), static_cast<int>(lanes),
                               to + (p - p % block + p % block / lanes) * to_stride, codes * to_stride, false);
    if (!half) return;
    for (int64_t j = 0; j < kPositionBlock; ++j)
      kernels.to_bf16(turned + j * kRowsAtOnce, reinterpret_cast<uint16_t*>(out) + (column + j) * stride + row, count);
  });
  return plain(out, w.in, rows, stride, half ? WeightFormat::bf16 : WeightFormat::f32);
}

void LinearBackward::add_outer(const float* at, int64_t n, const Matrix& bt, int64_t rows, float* out) {
  const Product product{bt, {at, round_up(rows, 16), nullptr, static_cast<int>(n)}, out, bt.out, true};
  multiplier_.multiply(std::span(&product, 1));
}

const float* LinearBackward::transposed_dy(const float* dy, int64_t rows, int64_t out) {
  transposed(dy, rows, out, Scratch::transposed_dy);
  return context_.floats_of(Scratch::transposed_dy);
}

void LinearBackward::input_gradient(const Matrix& w, const float* dy, int rows, float* dx, bool add) {
  for (int64_t begin = 0; begin < w.out; begin += kChunkRows) {
    const int64_t end = std::min(w.out, begin + kChunkRows);
    const Product product{
        transposed_rows(w, begin, end), {dy + begin, w.out, nullptr, rows}, dx, w.in, add || begin > 0};
    multiplier_.multiply(std::span(&product, 1));
  }
}

// DoRA: y = g z with g = m / norms. dm += dy z / norms; returns dz = dy g.
const float* LinearBackward::through_magnitude(const LinearStep& step) {
  const Lora& lora = *step.linear->lora;
  const int64_t out = step.linear->out(), in = step.linear->in();
  const float* magnitude = reinterpret_cast<const float*>(lora.magnitude.data());
  float* const dz = context_.floats(Scratch::before_magnitude, 2 * step.rows * out);
  if (step.gradient->magnitude.data != nullptr) {
    float* const y = dz + step.rows * out;
    const LinearProduct forward{step.linear, step.expert, {step.x, in, nullptr, step.rows}, y, out};
    multiplier_.multiply(std::span(&forward, 1), false);  // g z
    const float* inverse = reinterpret_cast<const float*>(lora.inverse_norms.data());
    float* const dm = step.gradient->magnitude.as<float>();
    context_.pool.parallel_for(out, kStripe, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        double sum = 0;
        for (int64_t t = 0; t < step.rows; ++t) sum += static_cast<double>(step.dy[t * out + o]) * y[t * out + o];
        if (magnitude[o] != 0) dm[o] += static_cast<float>(sum / magnitude[o]) * inverse[o];
      }
    });
  }
  context_.pool.parallel_for(step.rows, std::max<int64_t>(1, 16384 / out), [&](int64_t begin, int64_t end) {
    std::copy(step.dy + begin * out, step.dy + end * out, dz + begin * out);
    for (int64_t t = begin; t < end; ++t) context_.kernels.multiply(magnitude, dz + t * out, out);
  });
  return dz;
}

// y += scale b (a x): with u = scale a x and du = scale dy b: db = dy^T u, da = du^T x, dx += du a.
void LinearBackward::adapter(const LinearStep& step, const float* dy) {
  const Lora& lora = *step.linear->lora;
  const int64_t out = step.linear->out(), in = step.linear->in(), rank = lora.rank, rows = step.rows;
  const int64_t slab = std::max<int64_t>(step.expert, 0);
  const float* a = reinterpret_cast<const float*>(lora.a.data()) + slab * rank * in;
  const float* b = reinterpret_cast<const float*>(lora.b.data()) + slab * out * rank;
  float* const u = context_.floats(Scratch::adapters, 2 * rows * rank);
  float* const du = u + rows * rank;
  const Matrix a_matrix = plain(a, rank, in, in, WeightFormat::f32);
  const Product products[] = {
      {a_matrix, {step.x, in, nullptr, step.rows}, u, rank, false},
      {transposed(b, out, rank, Scratch::transposed_b), {dy, out, nullptr, step.rows}, du, rank, false}};
  multiplier_.multiply(products);
  for (int64_t i = 0; i < 2 * rows * rank; ++i) u[i] *= lora.scale;
  if (step.gradient->b.data != nullptr)
    add_outer(transposed_dy(dy, rows, out), out, transposed(u, rows, rank, Scratch::transposed_u), rows,
              step.gradient->b.as<float>() + slab * out * rank);
  if (step.gradient->a.data != nullptr) {
    if (transposed_x_ != step.x) x_ = transposed(step.x, rows, in, Scratch::transposed_x);
    transposed_x_ = step.x;
    add_outer(transposed_dy(du, rows, rank), rank, x_, rows, step.gradient->a.as<float>() + slab * rank * in);
  }
  if (step.dx == nullptr) return;
  const Product back{transposed(a, rank, in, Scratch::transposed_b), {du, rank, nullptr, step.rows}, step.dx, in, true};
  multiplier_.multiply(std::span(&back, 1));
}

void LinearBackward::run(const LinearStep& step) {
  const Linear& linear = *step.linear;
  const Lora* lora = linear.lora.get();
  if (step.rows == 0) return;
  const float* dy = lora != nullptr && lora->magnitude.size() > 0 ? through_magnitude(step) : step.dy;
  if (step.gradient->weight.data != nullptr) {
    if (transposed_x_ != step.x) x_ = transposed(step.x, step.rows, linear.in(), Scratch::transposed_x);
    transposed_x_ = step.x;
    add_outer(transposed_dy(dy, step.rows, linear.out()), linear.out(), x_, step.rows,
              step.gradient->weight.as<float>() + std::max<int64_t>(step.expert, 0) * linear.out() * linear.in());
  }
  if (step.dx != nullptr) input_gradient(matrix_of(linear.weight, step.expert), dy, step.rows, step.dx, step.add);
  if (lora != nullptr) adapter(step, dy);
}

// Rows of W in the order of columns, since a's are.
void LinearBackward::renew_magnitude(Linear& linear, const float* m) {
  Lora& lora = *linear.lora;
  const int64_t out = linear.out(), in = linear.in(), rank = lora.rank, padded = round_up(in, kPositionBlock);
  if (lora.inverse_norms.size() == 0) lora.inverse_norms = Buffer::host(static_cast<size_t>(out) * sizeof(float));
  if (lora.magnitude.size() == 0) lora.magnitude = Buffer::host(static_cast<size_t>(out) * sizeof(float));
  const Kernels& kernels = context_.kernels;
  const Matrix w = matrix_of(linear.weight, -1);
  const int64_t lanes = kernels.lanes, codes = kernels.codes_per_lane(w), block = lanes * codes;
  const int64_t per_thread = round_up(2 * padded + 2 * (w.groups + 64), 1024);
  float* const scratch = context_.floats(Scratch::stripes, context_.pool.size() * per_thread);
  const float* a = reinterpret_cast<const float*>(lora.a.data());
  const float* b = reinterpret_cast<const float*>(lora.b.data());
  float* const inverse = reinterpret_cast<float*>(lora.inverse_norms.data());
  float* const magnitude = reinterpret_cast<float*>(lora.magnitude.data());
  context_.for_each_task(out, out * in > 16384, [&](int rank_of_thread, int64_t o) {
    float* const values = scratch + rank_of_thread * per_thread;
    float* const row = values + padded;
    kernels.dequantize({.w = &w,
                        .row = o,
                        .rows = 1,
                        .begin = 0,
                        .end = padded,
                        .out = values,
                        .stride = padded,
                        .scratch = row + padded});
    for (int64_t column = 0; column < in; ++column) {
      const int64_t within = column % block;
      row[column] = values[column - within + within % codes * lanes + within / codes];
    }
    for (int64_t r = 0; r < rank; ++r) kernels.add_scaled(a + r * in, lora.scale * b[o * rank + r], row, in);
    double squares = 0;
    for (int64_t i = 0; i < in; ++i) squares += static_cast<double>(row[i]) * row[i];
    inverse[o] = squares > 0 ? static_cast<float>(1.0 / std::sqrt(squares)) : 0.0f;
    magnitude[o] = m[o] * inverse[o];
  });
}

}  // namespace inkstone
