#include "device/device.h"

namespace inkstone {
namespace {

bool is_matrix(const ConstTensor& x, int64_t rows, int64_t columns) { return x.shape == Shape{rows, columns}; }

}  // namespace

void Device::download(const ConstTensor& x, std::span<float> out) {
  CHECK(static_cast<int64_t>(out.size()) == x.shape.elements());
  do_download(x, out);
}

void Device::embed(const Linear& table, std::span<const int32_t> tokens, const Tensor& x) {
  CHECK(is_matrix(x, static_cast<int64_t>(tokens.size()), table.in()));
  for (const int32_t token : tokens) CHECK(token >= 0 && token < table.out());
  do_embed(table, tokens, x);
}

void Device::rms_norm(const ConstTensor& x, const Norm& norm, const Tensor& y) {
  CHECK(x.shape.rank() == 2 && x.shape[1] == norm.size && y.shape == x.shape);
  do_rms_norm(x, norm, y);
}

void Device::linear(const ConstTensor& x, std::span<const Linear* const> weights, std::span<const Tensor> ys) {
  CHECK(x.shape.rank() == 2 && !weights.empty() && weights.size() == ys.size());
  for (size_t i = 0; i < weights.size(); ++i) {
    CHECK(weights[i]->weight.experts == 0 && weights[i]->in() == x.shape[1]);
    CHECK(is_matrix(ys[i], x.shape[0], weights[i]->out()));
  }
  do_linear(x, weights, ys);
}

void Device::linear_add(const ConstTensor& x, const Linear& weight, const Tensor& y) {
  CHECK(x.shape.rank() == 2 && weight.weight.experts == 0 && weight.in() == x.shape[1]);
  CHECK(is_matrix(y, x.shape[0], weight.out()));
  do_linear_add(x, weight, y);
}

void Device::rope_table(std::span<const int32_t> positions, const Rope& rope, const Tensor& table) {
  CHECK(table.dtype == DType::f32);
  CHECK(is_matrix(table, static_cast<int64_t>(positions.size()),
                  2 * static_cast<int64_t>(rope.inverse_frequencies.size())));
  do_rope_table(positions, rope, table);
}

void Device::norm_rope(const Tensor& x, const Norm& norm, const ConstTensor& table) {
  CHECK(x.shape.rank() == 2 && x.shape[1] % norm.size == 0 && is_matrix(table, x.shape[0], norm.size));
  do_norm_rope(x, norm, table);
}

void Device::write_kv(const ConstTensor& k, const ConstTensor& v, std::span<const int32_t> slots, const KvLayer& kv,
                      const KvScales& scales) {
  const int64_t width = int64_t{kv.heads} * kv.head_dim;
  CHECK(is_matrix(k, static_cast<int64_t>(slots.size()), width) && v.shape == k.shape);
  for (const int32_t slot : slots) CHECK(slot >= 0 && slot / kKvBlockTokens < kv.blocks);
  const size_t known = scales.k.empty() ? 0 : slots.size() * static_cast<size_t>(width / kv.format.group_size * 2);
  CHECK(scales.k.size() == known && scales.v.size() == known);
  do_write_kv(k, v, slots, kv, scales);
}

void Device::attend(const ConstTensor& q, const KvLayer& kv, const Batch& batch, float scale, const Tensor& out) {
  CHECK(q.shape.rank() == 2 && q.shape[0] == batch.size() && out.shape == q.shape);
  CHECK(q.shape[1] % (int64_t{kv.heads} * kv.head_dim) == 0);
  do_attend(q, kv, batch, scale, out);
}

void Device::mlp_add(const ConstTensor& h, const Mlp& mlp, const Tensor& x) {
  CHECK(mlp.gate_proj.weight.experts == 0 && h.shape.rank() == 2 && x.shape == h.shape);
  CHECK(mlp.gate_proj.in() == h.shape[1] && mlp.down_proj.out() == h.shape[1]);
  CHECK(mlp.up_proj.in() == h.shape[1] && mlp.up_proj.out() == mlp.gate_proj.out());
  CHECK(mlp.down_proj.in() == mlp.gate_proj.out());
  do_mlp_add(h, mlp, x);
}

void Device::route(const ConstTensor& logits, bool normalise, const Routing& routing) {
  CHECK(logits.shape.rank() == 2 && routing.experts.dtype == DType::i32 && routing.weights.dtype == DType::f32);
  CHECK(routing.experts.shape == routing.weights.shape && routing.experts.shape[0] == logits.shape[0]);
  CHECK(routing.experts.shape[1] >= 1 && routing.experts.shape[1] <= logits.shape[1]);
  do_route(logits, normalise, routing);
}

void Device::experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing, const Tensor& x) {
  CHECK(experts.gate_proj.weight.experts > 0 && h.shape.rank() == 2 && x.shape == h.shape);
  CHECK(experts.gate_proj.in() == h.shape[1] && experts.down_proj.out() == h.shape[1]);
  CHECK(routing.experts.shape[0] == h.shape[0]);
  do_experts_add(h, experts, routing, x);
}

void Device::gather_rows(const ConstTensor& x, std::span<const int32_t> rows, const Tensor& out) {
  CHECK(x.shape.rank() == 2 && is_matrix(out, static_cast<int64_t>(rows.size()), x.shape[1]));
  for (const int32_t row : rows) CHECK(row >= 0 && row < x.shape[0]);
  do_gather_rows(x, rows, out);
}

}  // namespace inkstone
