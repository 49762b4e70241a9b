// Device: what a machine must do for a transformer, as coarse verbs. The public verbs check shapes once for all
// devices; a machine implements the do_ functions. One forward pass at a time from one thread.
//
// Dimensions: T rows, D hidden, H query heads, K KV heads, d head_dim, F intermediate, E experts, V vocabulary,
// R logit rows, N KV blocks, B = kKvBlockTokens. Activations are activation_dtype(); tensors live in this device's
// memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/batch.h"
#include "device/linear.h"
#include "device/training.h"

namespace inkstone {

// f32: activations, KV and every product in float32, what the golden figures are compared in.
// fast: as fast as the machine can be within the reference's own bf16 distance; KV in bf16.
enum class Precision { f32, fast };

// Rotary position embedding, NeoX order: element i rotates with element i + d/2.
struct Rope {
  std::vector<double> inverse_frequencies;  // [d/2], radians a position
  double attention_factor = 1.0;            // YaRN's: q and k are multiplied by it
};

// How a device keeps K and V.
struct KvFormat {
  DType dtype = DType::bf16;  // or f32; u8: codes of `bits` bits
  int bits = 0;               // 8 or 4 of codes, else 0
  int group_size = 0;         // dimensions of codes that share a scale and a bias (f32), else 0

  // Of K, or of V, of one token of one head.
  int64_t row_bytes(int64_t head_dim) const {
    return bits == 0 ? head_dim * dtype_size(dtype) : head_dim * bits / 8 + head_dim / group_size * 8;
  }
};

// K and V of one layer, block by block, head by head. What a head's tokens of a block look like is the device's own
// business; they take B * row_bytes(d) bytes.
struct KvLayer {
  std::byte* k;
  std::byte* v;
  KvFormat format;
  int blocks;
  int heads;
  int head_dim;
};

// Scales and biases that rows of k and v were quantised with before, elsewhere, with the bits and the groups of the
// device's KvFormat: f32 [T, K * d / group_size, 2], scale and bias. Their codes are kept.
struct KvScales {
  std::span<const float> k;
  std::span<const float> v;
};

// One arithmetic unit of this machine at its best: every operand in registers, all threads.
struct UnitPeak {
  std::string name;  // "f32", "avx512_bf16", "vnni_int16", "vnni_int8", "amx_bf16", "amx_int8"
  double tera = 0;   // 10^12 operations a second; a multiplication and an addition are two
  // Whether kernels of the device's instruction set and precision may use it.
  bool for_prompts = false;
  bool for_decoding = false;
};

// What no program can exceed on this machine, as measured at the time.
struct Ceilings {
  std::string isa;       // of the device that measured
  int threads = 0;       // of it
  double read_gbps = 0;  // memory far larger than the caches, all threads, best of several ways to read
  std::vector<UnitPeak> units{};
};

class Device {
 public:
  virtual ~Device() = default;

  virtual std::string description() const = 0;  // "cpu avx512, 2 threads"
  virtual DType activation_dtype() const = 0;
  virtual KvFormat kv_format() const = 0;
  // The verbs of training, nullptr where it has none. Lives as long as the device.
  virtual TrainingDevice* training() = 0;

  virtual Buffer allocate(size_t bytes) = 0;
  // Takes a weight into this device's layout; may keep the view and map it in place.
  virtual Linear pack(const WeightView& weight) = 0;
  // Copies host floats into device memory.
  virtual Buffer upload(std::span<const float> values) = 0;
  // Takes about a second, and half a gigabyte meanwhile.
  virtual Ceilings measure_ceilings() = 0;
  // Copies a tensor into host floats, widening. out.size() == x.shape.elements().
  void download(const ConstTensor& x, std::span<float> out);

  // x[t] = table[tokens[t]]. table [V, D], x [T, D]. A token outside [0, V) is a bug of the caller's.
  void embed(const Linear& table, std::span<const int32_t> tokens, const Tensor& x);
  // y = x / rms(x) * weight by rows. x, y [T, D]; y may be x.
  void rms_norm(const ConstTensor& x, const Norm& norm, const Tensor& y);
  // y_i = x W_i^T, with W_i's adapter. x [T, in], y_i [T, out_i]: weights that share an input go together, so that a
  // device may prepare the activation once.
  void linear(const ConstTensor& x, std::span<const Linear* const> weights, std::span<const Tensor> ys);
  // y += x W^T, with W's adapter: the residual. x [T, in], y [T, out].
  void linear_add(const ConstTensor& x, const Linear& weight, const Tensor& y);
  // table[t] = cosines then sines of positions[t], times rope.attention_factor. table f32 [T, d].
  void rope_table(std::span<const int32_t> positions, const Rope& rope, const Tensor& table);
  // RMS-norms each head of x [T, heads * d], then rotates it. In place.
  void norm_rope(const Tensor& x, const Norm& norm, const ConstTensor& table);
  // Stores rows of k and v [T, K * d] at their slots [T]. `scales` is in host memory.
  void write_kv(const ConstTensor& k, const ConstTensor& v, std::span<const int32_t> slots, const KvLayer& kv,
                const KvScales& scales = {});
  // Causal attention of each span's rows over its past. q, out [T, H * d]; softmax(scale q k) v.
  void attend(const ConstTensor& q, const KvLayer& kv, const Batch& batch, float scale, const Tensor& out);
  // x += down(silu(gate h) * up h), with adapters. h, x [T, D]. One verb, so that what lies between need not be stored.
  void mlp_add(const ConstTensor& h, const Mlp& mlp, const Tensor& x);
  // Softmax over all experts in float32, the top k of each row (lower index first among equals), weights renormalised
  // to sum 1 when `normalise`. logits [T, E].
  void route(const ConstTensor& logits, bool normalise, const Routing& routing);
  // x[t] += sum over the experts of row t of weight * down(silu(gate h) * up h), with adapters. h, x [T, D].
  void experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing, const Tensor& x);
  // out[r] = x[rows[r]]. x [T, D], out [R, D].
  void gather_rows(const ConstTensor& x, std::span<const int32_t> rows, const Tensor& out);

 protected:
  virtual void do_download(const ConstTensor& x, std::span<float> out) = 0;
  virtual void do_embed(const Linear& table, std::span<const int32_t> tokens, const Tensor& x) = 0;
  virtual void do_rms_norm(const ConstTensor& x, const Norm& norm, const Tensor& y) = 0;
  virtual void do_linear(const ConstTensor& x, std::span<const Linear* const> weights, std::span<const Tensor> ys) = 0;
  virtual void do_linear_add(const ConstTensor& x, const Linear& weight, const Tensor& y) = 0;
  virtual void do_rope_table(std::span<const int32_t> positions, const Rope& rope, const Tensor& table) = 0;
  virtual void do_norm_rope(const Tensor& x, const Norm& norm, const ConstTensor& table) = 0;
  virtual void do_write_kv(const ConstTensor& k, const ConstTensor& v, std::span<const int32_t> slots,
                           const KvLayer& kv, const KvScales& scales) = 0;
  virtual void do_attend(const ConstTensor& q, const KvLayer& kv, const Batch& batch, float scale,
                         const Tensor& out) = 0;
  virtual void do_mlp_add(const ConstTensor& h, const Mlp& mlp, const Tensor& x) = 0;
  virtual void do_route(const ConstTensor& logits, bool normalise, const Routing& routing) = 0;
  virtual void do_experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing, const Tensor& x) = 0;
  virtual void do_gather_rows(const ConstTensor& x, std::span<const int32_t> rows, const Tensor& out) = 0;
};

struct DeviceOptions {
  Precision precision = Precision::fast;
  int threads = 0;  // 0: as many as this process may use
  std::string isa;  // "": INKSTONE_ISA, else the best of this machine; or a table of cpu/dispatch.h: "avx2"
  int kv_bits = 0;  // 8 or 4: K and V as the reference quantises them; 0: as the precision says
  int kv_group_size = 64;
};

// The machine in front of us. Throws Error(usage) for an ISA that it lacks.
std::unique_ptr<Device> open_device(const DeviceOptions& options);

}  // namespace inkstone
