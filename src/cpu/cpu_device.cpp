#include "cpu/cpu_device.h"

#include <cmath>
#include <cstring>

#include "cpu/attention.h"
#include "cpu/ceilings.h"
#include "cpu/context.h"
#include "cpu/cpu_training.h"
#include "cpu/dispatch.h"
#include "cpu/matmul.h"
#include "cpu/moe.h"
#include "tensor/widen.h"

namespace inkstone {
namespace {

constexpr int64_t kGrainFloats = 16384;  // elementwise work below this stays on the caller's thread

int64_t grain_rows(int64_t width) { return std::max<int64_t>(1, kGrainFloats / std::max<int64_t>(1, width)); }

class CpuDevice final : public Device {
 public:
  CpuDevice(const Kernels& kernels, int threads, Precision precision, const KvFormat& kv_format)
      : context_(kernels, threads, precision),
        multiplier_(context_),
        mlp_(context_, multiplier_),
        attention_(context_),
        moe_(context_, mlp_),
        training_(make_cpu_training(context_, multiplier_)),
        kv_format_(kv_format) {}

  std::string description() const override {
    const int threads = context_.pool.size();
    return fmt::format("cpu {}, {} thread{}", context_.kernels.name, threads, threads == 1 ? "" : "s");
  }
  DType activation_dtype() const override { return DType::f32; }
  KvFormat kv_format() const override { return kv_format_; }
  TrainingDevice* training() override { return training_.get(); }
  Buffer allocate(size_t bytes) override { return Buffer::host(bytes); }

  Linear pack(const WeightView& weight) override {
    if (is_beyond_bf16(matrix_of(weight, weight.experts > 0 ? 0 : -1))) context_.beyond_bf16 = true;
    Linear linear;
    linear.weight = weight;
    return linear;
  }
  Buffer upload(std::span<const float> values) override {
    Buffer buffer = Buffer::host(values.size_bytes());
    if (!values.empty()) std::memcpy(buffer.data(), values.data(), values.size_bytes());
    return buffer;
  }
  Ceilings measure_ceilings() override { return inkstone::measure_ceilings(context_, context_.precision); }

 private:
  void do_download(const ConstTensor& x, std::span<float> out) override;
  void do_embed(const Linear& table, std::span<const int32_t> tokens, const Tensor& x) override;
  void do_rms_norm(const ConstTensor& x, const Norm& norm, const Tensor& y) override;
  void do_linear(const ConstTensor& x, std::span<const Linear* const> weights, std::span<const Tensor> ys) override;
  void do_linear_add(const ConstTensor& x, const Linear& weight, const Tensor& y) override;
  void do_rope_table(std::span<const int32_t> positions, const Rope& rope, const Tensor& table) override;
  void do_norm_rope(const Tensor& x, const Norm& norm, const ConstTensor& table) override;
  void do_write_kv(const ConstTensor& k, const ConstTensor& v, std::span<const int32_t> slots, const KvLayer& kv,
                   const KvScales& scales) override;
  void do_attend(const ConstTensor& q, const KvLayer& kv, const Batch& batch, float scale, const Tensor& out) override;
  void do_mlp_add(const ConstTensor& h, const Mlp& mlp, const Tensor& x) override;
  void do_route(const ConstTensor& logits, bool normalise, const Routing& routing) override;
  void do_experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing, const Tensor& x) override;
  void do_gather_rows(const ConstTensor& x, std::span<const int32_t> rows, const Tensor& out) override;

  Context context_;
  Multiplier multiplier_;
  MlpMultiplier mlp_;
  Attention attention_;
  MoeMlp moe_;
  std::unique_ptr<TrainingDevice> training_;
  KvFormat kv_format_;
  struct KvRun {
    int row, slot, tokens;
  };
  std::vector<KvRun> kv_runs_;
  std::vector<LinearProduct> products_;
  std::vector<float> route_scratch_;
};

void CpuDevice::do_download(const ConstTensor& x, std::span<float> out) { widen(x, out); }

// Rows come out of the kernel in its order of positions (kernels.h) and are put back into the order of columns.
void CpuDevice::do_embed(const Linear& table, std::span<const int32_t> tokens, const Tensor& x) {
  const Kernels& kernels = context_.kernels;
  const Matrix w = matrix_of(table.weight, -1);
  const int64_t padded = round_up(w.in, kPositionBlock), per_thread = padded + round_up(2 * w.groups + 128, 16);
  const int64_t lanes = kernels.lanes, codes = kernels.codes_per_lane(w), block = lanes * codes;
  const int64_t count = static_cast<int64_t>(tokens.size());
  float* scratch = context_.floats(Scratch::embed, per_thread * context_.pool.size());
  float* out = x.as<float>();
  context_.for_each_task(count, count * w.in > kGrainFloats, [&](int rank, int64_t t) {
    float* row = scratch + rank * per_thread;
    kernels.dequantize({.w = &w,
                        .row = tokens[static_cast<size_t>(t)],
                        .rows = 1,
                        .begin = 0,
                        .end = padded,
                        .out = row,
                        .stride = padded,
                        .scratch = row + padded});
    for (int64_t column = 0; column < w.in; ++column) {
      const int64_t within = column % block;
      out[t * w.in + column] = row[column - within + within % codes * lanes + within / codes];
    }
  });
}

void CpuDevice::do_rms_norm(const ConstTensor& x, const Norm& norm, const Tensor& y) {
  const int64_t n = norm.size;
  const float* from = x.as<float>();
  const float* weight = reinterpret_cast<const float*>(norm.weight.data());
  float* to = y.as<float>();
  context_.pool.parallel_for(x.shape[0], grain_rows(n), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) context_.kernels.rms_norm(from + t * n, weight, norm.eps, to + t * n, n);
  });
}

void CpuDevice::do_linear(const ConstTensor& x, std::span<const Linear* const> weights, std::span<const Tensor> ys) {
  products_.clear();
  const int rows = static_cast<int>(x.shape[0]);
  if (rows == 0) return;
  for (size_t i = 0; i < weights.size(); ++i)
    products_.push_back(
        {weights[i], -1, {x.as<float>(), x.shape[1], nullptr, rows}, ys[i].as<float>(), weights[i]->out()});
  multiplier_.multiply(products_, false);
}

void CpuDevice::do_linear_add(const ConstTensor& x, const Linear& weight, const Tensor& y) {
  const int rows = static_cast<int>(x.shape[0]);
  if (rows == 0) return;
  const LinearProduct product{&weight, -1, {x.as<float>(), x.shape[1], nullptr, rows}, y.as<float>(), weight.out()};
  multiplier_.multiply(std::span(&product, 1), true);
}

void CpuDevice::do_rope_table(std::span<const int32_t> positions, const Rope& rope, const Tensor& table) {
  const int64_t half = static_cast<int64_t>(rope.inverse_frequencies.size());
  float* out = table.as<float>();
  context_.pool.parallel_for(static_cast<int64_t>(positions.size()), 8, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle = positions[static_cast<size_t>(t)] * rope.inverse_frequencies[static_cast<size_t>(i)];
        out[t * 2 * half + i] = static_cast<float>(std::cos(angle) * rope.attention_factor);
        out[t * 2 * half + half + i] = static_cast<float>(std::sin(angle) * rope.attention_factor);
      }
    }
  });
}

void CpuDevice::do_norm_rope(const Tensor& x, const Norm& norm, const ConstTensor& table) {
  const int64_t width = x.shape[1], d = norm.size;
  float* rows = x.as<float>();
  const float* weight = reinterpret_cast<const float*>(norm.weight.data());
  const float* angles = table.as<float>();
  context_.pool.parallel_for(x.shape[0], grain_rows(width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      context_.kernels.norm_rope(rows + t * width, static_cast<int>(width / d), static_cast<int>(d), weight, norm.eps,
                                 angles + t * d);
  });
}

void CpuDevice::do_write_kv(const ConstTensor& k, const ConstTensor& v, std::span<const int32_t> slots,
                            const KvLayer& kv, const KvScales& scales) {
  const int64_t heads = kv.heads, d = kv.head_dim, width = heads * d;
  const int64_t head_bytes = kKvTokens * kv.format.row_bytes(d);
  const int64_t head_scales = kv.format.bits != 0 ? d / kv.format.group_size * 2 : 0;
  // Runs of tokens that follow each other within one block.
  kv_runs_.clear();
  for (int t = 0; t < static_cast<int>(slots.size()); ++t) {
    const int32_t slot = slots[static_cast<size_t>(t)];
    if (t > 0 && slot % kKvTokens != 0 && slot == slots[static_cast<size_t>(t - 1)] + 1) {
      ++kv_runs_.back().tokens;
    } else {
      kv_runs_.push_back({t, slot, 1});
    }
  }
  const int64_t count = static_cast<int64_t>(kv_runs_.size()) * heads;
  const int64_t grain = grain_rows(2 * static_cast<int64_t>(slots.size()) * width / std::max<int64_t>(1, count));
  context_.pool.parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const KvRun& run = kv_runs_[static_cast<size_t>(i / heads)];
      const int64_t head = i % heads, at = (run.slot / kKvTokens * heads + head) * head_bytes;
      const auto known = [&](std::span<const float> all) {
        return all.empty() ? nullptr : all.data() + (run.row * heads + head) * head_scales;
      };
      context_.kernels.store_kv({.k = k.as<float>() + run.row * width + head * d,
                                 .v = v.as<float>() + run.row * width + head * d,
                                 .stride = width,
                                 .d = static_cast<int>(d),
                                 .first = run.slot % kKvTokens,
                                 .tokens = run.tokens,
                                 .type = kv_type(kv.format),
                                 .group = kv.format.group_size,
                                 .k_scales = known(scales.k),
                                 .v_scales = known(scales.v),
                                 .scales_stride = heads * head_scales,
                                 .k_block = reinterpret_cast<unsigned char*>(kv.k) + at,
                                 .v_block = reinterpret_cast<unsigned char*>(kv.v) + at});
    }
  });
}

void CpuDevice::do_attend(const ConstTensor& q, const KvLayer& kv, const Batch& batch, float scale, const Tensor& out) {
  const int heads = static_cast<int>(q.shape[1] / kv.head_dim);
  attention_.attend(q.as<float>(), kv, heads, batch, scale, out.as<float>());
}

void CpuDevice::do_mlp_add(const ConstTensor& h, const Mlp& mlp, const Tensor& x) {
  const int rows = static_cast<int>(h.shape[0]);
  if (rows == 0) return;
  const int64_t hidden = h.shape[1];
  const MlpProduct product{&mlp, -1, {h.as<float>(), hidden, nullptr, rows}, x.as<float>(), hidden};
  mlp_.multiply(std::span(&product, 1), true);
}

void CpuDevice::do_route(const ConstTensor& logits, bool normalise, const Routing& routing) {
  const int64_t rows = logits.shape[0], experts = logits.shape[1], k = routing.experts.shape[1];
  const float* from = logits.as<float>();
  route_scratch_.assign(from, from + rows * experts);
  int32_t* chosen = routing.experts.as<int32_t>();
  float* weights = routing.weights.as<float>();
  context_.pool.parallel_for(rows, grain_rows(experts * k), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      moe_.route_row(route_scratch_.data() + t * experts, experts, normalise, chosen + t * k, weights + t * k, k);
  });
}

void CpuDevice::do_experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing, const Tensor& x) {
  moe_.add(h.as<float>(), experts, routing, x.as<float>());
}

void CpuDevice::do_gather_rows(const ConstTensor& x, std::span<const int32_t> rows, const Tensor& out) {
  const size_t bytes = static_cast<size_t>(x.shape[1]) * sizeof(float);
  for (size_t r = 0; r < rows.size(); ++r)  // memmove: out may be x itself
    std::memmove(out.data + r * bytes, x.data + static_cast<size_t>(rows[r]) * bytes, bytes);
}

}  // namespace

std::unique_ptr<Device> open_cpu_device(const DeviceOptions& options) {
  const int threads = options.threads > 0 ? options.threads : available_cpus();
  KvFormat kv{.dtype = options.precision == Precision::f32 ? DType::f32 : DType::bf16};
  if (options.kv_bits != 0) {
    const int group = options.kv_group_size;
    if ((options.kv_bits != 8 && options.kv_bits != 4) || (group != 32 && group != 64 && group != kKvMaxGroup))
      fail(Errc::usage, "KV cache of {} bits in groups of {}: expected 8 or 4 bits, groups of 32, 64 or 128",
           options.kv_bits, group);
    kv = {DType::u8, options.kv_bits, group};
  }
  return std::make_unique<CpuDevice>(select_kernels(options.isa), threads, options.precision, kv);
}

}  // namespace inkstone
