#include "cpu/matmul.h"

#include <algorithm>

namespace inkstone {
namespace {

constexpr int64_t kPanelTiles = 8;             // register tiles of weight rows in a panel: the panel stays in L2
constexpr int kIntegerRows = 16;               // more are faster as floats in register tiles (docs/kernels.md)
constexpr int64_t kSerialBytes = 32 * 1024;    // weights below this are read before another thread wakes
constexpr int64_t kSerialFloats = 64 * 1024;   // the same for activations that are prepared
constexpr int64_t kMaxTaskBytes = 256 * 1024;  // of weights: long enough for the prefetchers, short enough to balance
constexpr int64_t kMinTaskBytes = 16 * 1024;

ScaleFormat scale_format(const WeightView& weight, DType dtype) {
  switch (weight.quantization.mode) {
    case QuantMode::none: return ScaleFormat::none;
    case QuantMode::mxfp4:
    case QuantMode::mxfp8: return ScaleFormat::e8m0;
    case QuantMode::nvfp4: return ScaleFormat::e4m3;
    case QuantMode::affine: break;
  }
  if (dtype == DType::bf16) return ScaleFormat::bf16;
  if (dtype == DType::f16) return ScaleFormat::f16;
  CHECK(dtype == DType::f32);
  return ScaleFormat::f32;
}

WeightFormat weight_format(const WeightView& weight, DType dtype) {
  switch (weight.quantization.mode) {
    case QuantMode::affine: return WeightFormat::affine;
    case QuantMode::mxfp4:
    case QuantMode::nvfp4: return WeightFormat::e2m1;
    case QuantMode::mxfp8: return WeightFormat::e4m3;
    case QuantMode::none: break;
  }
  if (dtype == DType::bf16) return WeightFormat::bf16;
  if (dtype == DType::f16) return WeightFormat::f16;
  CHECK(dtype == DType::f32);
  return WeightFormat::f32;
}

const unsigned char* bytes_of(const ConstTensor& tensor, int64_t slab_bytes, int64_t slab) {
  if (tensor.empty()) return nullptr;
  return reinterpret_cast<const unsigned char*>(tensor.data) + slab * slab_bytes;
}

Matrix plain_matrix(const Buffer& buffer, int64_t out, int64_t in, int64_t slab) {
  Matrix m{};
  m.weight = reinterpret_cast<const unsigned char*>(buffer.data()) + slab * out * in * 4;
  m.out = out;
  m.in = in;
  m.row_bytes = in * 4;
  m.format = WeightFormat::f32;
  return m;
}

// kernels.h, GemvArgs::scratch.
int64_t scale_floats(const Matrix& w) { return round_up(8 * (w.groups + 320), 16); }
// Room for every layout of sums; not a multiple of 4 KiB, so that rows do not fall onto the same cache sets.
int64_t prepared_floats(const Matrix& w) { return round_up(w.in, kPositionBlock) * (w.group == 16 ? 4 : 3) / 2 + 48; }

}  // namespace

Matrix matrix_of(const WeightView& view, int64_t expert) {
  const bool apart = expert >= 0 && !view.parts.empty();
  const WeightView& weight = apart ? view.parts[static_cast<size_t>(expert)] : view;
  const int64_t slab = expert >= 0 && !apart ? expert : 0;
  Matrix m{};
  m.out = weight.out;
  m.in = weight.in;
  m.format = weight_format(weight, weight.weight.dtype);
  m.scale_format = scale_format(weight, weight.scales.dtype);
  if (m.scale_format == ScaleFormat::none) {
    m.row_bytes = m.in * dtype_size(weight.weight.dtype);
  } else {
    m.bits = weight.quantization.bits;
    m.group = weight.quantization.group_size;
    CHECK(m.group >= 16 && (m.group & (m.group - 1)) == 0 && m.group <= kPositionBlock && m.in % m.group == 0);
    // Groups of 16 are halves of the kernels' units: in 3 and 6 bits, which repacked K-quants have, and in nvfp4.
    CHECK(m.group >= 32 || m.format != WeightFormat::affine || ((m.bits == 3 || m.bits == 6) && m.in % 32 == 0));
    m.groups = m.in / m.group;
    m.row_bytes = m.in * m.bits / 8;
    const int64_t scale_bytes = m.out * m.groups * dtype_size(weight.scales.dtype);
    m.scales = bytes_of(weight.scales, scale_bytes, slab);
    m.biases = bytes_of(weight.biases, scale_bytes, slab);
  }
  m.weight = bytes_of(weight.weight, m.out * m.row_bytes, slab);
  return m;
}

bool Multiplier::integers(const Product& p) const {
  return context_.precision == Precision::fast && p.x.rows <= kIntegerRows &&
         (p.w.format == WeightFormat::affine || p.w.format == WeightFormat::e2m1);
}

void Multiplier::prepare_inputs(std::span<const Product> products) {
  const Kernels& kernels = context_.kernels;
  inputs_.clear();
  input_of_.clear();
  int64_t floats = 0, units = 0;
  for (size_t i = 0; i < products.size(); ++i) {
    const Product& p = products[i];
    const int c = kernels.codes_per_lane(p.w);
    size_t found = inputs_.size();
    for (size_t j = inputs_.size(); j-- > 0 && found == inputs_.size() && j + 4 > inputs_.size();) {
      const Product& q = products[inputs_[j].product];
      const bool same_order = integers(q) == integers(p) && kernels.codes_per_lane(q.w) == c;
      if (q.x == p.x && same_order && q.w.group == p.w.group) found = j;
    }
    input_of_.push_back(found);
    if (found < inputs_.size()) continue;
    const int64_t padded = round_up(p.w.in, kPositionBlock);
    const bool in_rows = direct(p);
    const int64_t count = in_rows ? p.x.rows : (p.x.rows + kernels.panel - 1) / kernels.panel;
    const int64_t stride = in_rows ? prepared_floats(p.w) : padded * kernels.panel;
    const int64_t input_units = in_rows ? count : count * (padded / kPositionBlock);
    inputs_.push_back({i, floats, stride, units, input_units});
    floats += count * stride;
    units += input_units;
  }
  float* out = context_.floats(Scratch::inputs, floats);
  context_.for_each_task(units, floats > kSerialFloats, [&](int, int64_t unit) {
    size_t j = 0;  // experts have one input each: find ours
    for (size_t low = 0, high = inputs_.size(); high - low > 0;) {
      j = (low + high) / 2;
      if (unit < inputs_[j].first_unit) {
        high = j;
      } else if (unit >= inputs_[j].first_unit + inputs_[j].units) {
        low = j + 1;
      } else {
        break;
      }
    }
    prepare_unit(products[inputs_[j].product], inputs_[j], unit - inputs_[j].first_unit, out + inputs_[j].offset);
  });
}

void Multiplier::prepare_unit(const Product& p, const Input& input, int64_t unit, float* out) const {
  const Kernels& kernels = context_.kernels;
  if (direct(p)) {
    (integers(p) ? kernels.prepare16 : kernels.prepare)(p.w, p.x.row(static_cast<int>(unit)),
                                                        out + unit * input.stride);
    return;
  }
  constexpr int kMaxPanel = 64;
  const float* rows[kMaxPanel];
  const int64_t chunks = round_up(p.w.in, kPositionBlock) / kPositionBlock;
  const int64_t panel = unit / chunks, begin = unit % chunks * kPositionBlock;
  const int first = static_cast<int>(panel) * kernels.panel;
  const int count = std::min(kernels.panel, p.x.rows - first);
  for (int r = 0; r < count; ++r) rows[r] = p.x.row(first + r);
  kernels.pack(p.w, rows, count, begin, begin + kPositionBlock, out + panel * input.stride + begin * kernels.panel);
}

void Multiplier::plan_tasks(std::span<const Product> products) {
  tasks_.clear();
  int64_t bytes = 0, work = 0;
  for (const Product& p : products) {
    bytes += p.w.out * p.w.row_bytes;
    work += p.w.out * p.w.row_bytes * p.x.rows;
  }
  spread_ = work > kSerialBytes;
  const int64_t task_bytes = std::clamp(bytes / (context_.pool.size() * 8), kMinTaskBytes, kMaxTaskBytes);
  for (size_t i = 0; i < products.size(); ++i) {
    const Matrix& w = products[i].w;
    const int64_t step = direct(products[i])
                             ? round_up(std::max<int64_t>(1, task_bytes / std::max<int64_t>(1, w.row_bytes)), 4)
                             : context_.kernels.tile_rows * kPanelTiles;
    for (int64_t begin = 0; begin < w.out; begin += step) tasks_.push_back({i, begin, std::min(w.out, begin + step)});
  }
}

void Multiplier::multiply(std::span<const Product> products) {
  in_vectors_.clear();
  in_tiles_.clear();
  for (const Product& p : products) (tiles_.takes(p.w, p.x.rows) ? in_tiles_ : in_vectors_).push_back(p);
  tiles_.multiply(in_tiles_);
  multiply_in_vectors(in_vectors_);
}

void Multiplier::multiply_in_vectors(std::span<const Product> products) {
  const Kernels& kernels = context_.kernels;
  if (products.empty()) return;
  prepare_inputs(products);
  plan_tasks(products);
  int64_t per_thread = 0;
  for (const Product& p : products) {
    const int64_t panel_rows = kernels.tile_rows * kPanelTiles;
    const int64_t columns = direct(p) ? 0 : round_up(p.x.rows, kernels.panel);
    per_thread = std::max(per_thread, panel_rows * (kPositionBlock + columns) + scale_floats(p.w));
  }
  per_thread = round_up(per_thread, 1024);
  float* scratch = context_.floats(Scratch::multiply, per_thread * context_.pool.size());
  context_.for_each_task(static_cast<int64_t>(tasks_.size()), spread_, [&](int rank, int64_t i) {
    const Task& task = tasks_[static_cast<size_t>(i)];
    const Product& product = products[task.product];
    const Input& input = inputs_[input_of_[task.product]];
    if (direct(product)) {
      run_direct(product, input, task, scratch + rank * per_thread);
    } else {
      run_many(product, input, task, scratch + rank * per_thread);
    }
  });
}

void Multiplier::run_direct(const Product& p, const Input& input, const Task& task, float* scratch) const {
  const float* x = context_.floats_of(Scratch::inputs) + input.offset;
  const auto gemv = integers(p) ? context_.kernels.multiply16 : context_.kernels.gemv;
  gemv({.w = &p.w,
        .x = x,
        .x_stride = input.stride,
        .rows = p.x.rows,
        .begin = task.begin,
        .end = task.end,
        .y = p.y,
        .y_stride = p.y_stride,
        .add = p.add,
        .scratch = scratch});
}

// A panel of weight rows: chunk by chunk of the input dimension it is dequantised once and multiplied with all rows.
// Results gather in c, [panel of tokens][weight rows][tokens], and are transposed when they are complete.
void Multiplier::run_many(const Product& p, const Input& input, const Task& task, float* scratch) const {
  const Kernels& kernels = context_.kernels;
  const float* x = context_.floats_of(Scratch::inputs) + input.offset;
  const int64_t padded = round_up(p.w.in, kPositionBlock);
  const int64_t m = task.end - task.begin;
  float* a = scratch;
  float* c = a + kernels.tile_rows * kPanelTiles * kPositionBlock;
  float* scales = c + kernels.tile_rows * kPanelTiles * round_up(p.x.rows, kernels.panel);
  for (int64_t k = 0; k < padded; k += kPositionBlock) {
    kernels.dequantize({.w = &p.w,
                        .row = task.begin,
                        .rows = m,
                        .begin = k,
                        .end = k + kPositionBlock,
                        .out = a,
                        .stride = kPositionBlock,
                        .scratch = scales});
    for (int t = 0; t < p.x.rows; t += kernels.panel) {
      const float* b = x + t / kernels.panel * input.stride + k * kernels.panel;
      kernels.gemm(m, std::min(kernels.panel, p.x.rows - t), kPositionBlock, a, kPositionBlock, b, kernels.panel,
                   c + t * m, kernels.panel, k > 0);
    }
  }
  for (int t = 0; t < p.x.rows; t += kernels.panel)
    kernels.store_transposed(c + t * m, kernels.panel, static_cast<int>(m), std::min(kernels.panel, p.x.rows - t),
                             p.y + t * p.y_stride + task.begin, p.y_stride, p.add);
}

void Multiplier::multiply(std::span<const LinearProduct> products, bool add) {
  first_.clear();
  second_.clear();
  int64_t adapter_floats = 0, increment_floats = 0;
  for (const LinearProduct& p : products) {
    if (p.linear->lora == nullptr) continue;
    adapter_floats += static_cast<int64_t>(p.x.rows) * p.linear->lora->rank;
    if (add && p.linear->lora->magnitude.size() > 0) increment_floats += p.x.rows * p.linear->out();
  }
  float* u = context_.floats(Scratch::adapters, adapter_floats);
  float* const us = u;
  float* increments = context_.floats(Scratch::increments, increment_floats);
  float* const all_increments = increments;
  for (const LinearProduct& p : products) {
    const int64_t out = p.linear->out(), in = p.linear->in();
    Product product{matrix_of(p.linear->weight, p.expert), p.x, p.y, p.y_stride, add};
    const Lora* lora = p.linear->lora.get();
    if (lora != nullptr) {
      CHECK(p.expert < 0 || lora->magnitude.size() == 0);
      if (add && lora->magnitude.size() > 0) {
        product.y = increments;
        product.y_stride = out;
        product.add = false;
        increments += p.x.rows * out;
      }
      const int64_t slab = std::max<int64_t>(p.expert, 0);
      first_.push_back({plain_matrix(lora->a, lora->rank, in, slab), p.x, u, lora->rank, false});
      second_.push_back({plain_matrix(lora->b, out, lora->rank, slab),
                         {u, lora->rank, nullptr, p.x.rows},
                         product.y,
                         product.y_stride,
                         true});
      u += static_cast<int64_t>(p.x.rows) * lora->rank;
    }
    first_.push_back(product);
  }
  multiply(first_);
  if (second_.empty()) return;
  float* scaled = us;
  for (const LinearProduct& p : products) {
    if (p.linear->lora == nullptr) continue;
    const int64_t count = static_cast<int64_t>(p.x.rows) * p.linear->lora->rank;
    for (int64_t i = 0; i < count; ++i) scaled[i] *= p.linear->lora->scale;
    scaled += count;
  }
  multiply(second_);
  apply_magnitudes(products, add, all_increments);
}

// DoRA: rows of W x + scale * b a x times the magnitudes, then into y when that is a residual.
void Multiplier::apply_magnitudes(std::span<const LinearProduct> products, bool add, float* increments) {
  const Kernels& kernels = context_.kernels;
  float* increment = increments;
  for (const LinearProduct& p : products) {
    if (p.linear->lora == nullptr || p.linear->lora->magnitude.size() == 0) continue;
    const float* magnitude = reinterpret_cast<const float*>(p.linear->lora->magnitude.data());
    const int64_t out = p.linear->out();
    context_.pool.parallel_for(p.x.rows, std::max<int64_t>(1, 16384 / out), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        float* y = p.y + r * p.y_stride;
        kernels.multiply(magnitude, add ? increment + r * out : y, out);
        if (add) kernels.add_scaled(increment + r * out, 1.0f, y, out);
      }
    });
    if (add) increment += p.x.rows * out;
  }
}

}  // namespace inkstone
