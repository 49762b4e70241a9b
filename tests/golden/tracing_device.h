// TracingDevice: a device around another that records what each verb read and wrote, by the name of the weight that
// took part. So activations are compared with the goldens without a hook in the model.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device/device.h"

namespace inkstone {

// "name" (what a verb wrote), "name:input", "name:output" -> values. A later record of the same name follows the
// earlier: chunks of one sequence add up.
using Trace = std::map<std::string, std::vector<float>>;

class TracingDevice final : public Device {
 public:
  TracingDevice(std::unique_ptr<Device> device, Trace& trace) : device_(std::move(device)), trace_(trace) {}

  std::string description() const override { return device_->description(); }
  DType activation_dtype() const override { return device_->activation_dtype(); }
  TrainingDevice* training() override { return nullptr; }
  KvFormat kv_format() const override { return device_->kv_format(); }
  Buffer allocate(size_t bytes) override { return device_->allocate(bytes); }
  Linear pack(const WeightView& weight) override { return device_->pack(weight); }
  Buffer upload(std::span<const float> values) override { return device_->upload(values); }
  Ceilings measure_ceilings() override { return device_->measure_ceilings(); }

 protected:
  void do_download(const ConstTensor& x, std::span<float> out) override { device_->download(x, out); }
  void do_embed(const Linear& table, std::span<const int32_t> tokens, const Tensor& x) override {
    device_->embed(table, tokens, x);
    record(table.name() + ":rows", x);
  }
  void do_rms_norm(const ConstTensor& x, const Norm& norm, const Tensor& y) override {
    record(norm.name + ":input", x);
    device_->rms_norm(x, norm, y);
    record(norm.name, y);
  }
  void do_linear(const ConstTensor& x, std::span<const Linear* const> weights, std::span<const Tensor> ys) override {
    device_->linear(x, weights, ys);
    for (size_t i = 0; i < weights.size(); ++i) record(weights[i]->name(), ys[i]);
  }
  void do_linear_add(const ConstTensor& x, const Linear& weight, const Tensor& y) override {
    record(weight.name() + ":input", x);
    device_->linear_add(x, weight, y);
    record(weight.name() + ":output", y);
  }
  void do_rope_table(std::span<const int32_t> positions, const Rope& rope, const Tensor& table) override {
    device_->rope_table(positions, rope, table);
  }
  void do_norm_rope(const Tensor& x, const Norm& norm, const ConstTensor& table) override {
    device_->norm_rope(x, norm, table);
    record(norm.name, x);
  }
  void do_write_kv(const ConstTensor& k, const ConstTensor& v, std::span<const int32_t> slots, const KvLayer& kv,
                   const KvScales& scales) override {
    record("write_kv:k", k);
    record("write_kv:v", v);
    device_->write_kv(k, v, slots, kv, scales);
  }
  void do_attend(const ConstTensor& q, const KvLayer& kv, const Batch& batch, float scale, const Tensor& out) override {
    device_->attend(q, kv, batch, scale, out);
  }
  // What lies between its products is computed once more, by other verbs, to be recorded.
  void do_mlp_add(const ConstTensor& h, const Mlp& mlp, const Tensor& x) override {
    const int64_t rows = h.shape[0], width = mlp.gate_proj.out();
    std::vector<float> gate(static_cast<size_t>(rows * width)), up(gate.size());
    const auto tensor = [&](std::vector<float>& values) {
      return Tensor{reinterpret_cast<std::byte*>(values.data()), DType::f32, Shape{rows, width}};
    };
    linear(h, {{&mlp.gate_proj, &mlp.up_proj}}, {{tensor(gate), tensor(up)}});
    for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1.0f + std::exp(-gate[i]));
    record(mlp.down_proj.name() + ":input", tensor(gate));
    device_->mlp_add(h, mlp, x);
    record(mlp.down_proj.name() + ":output", x);
  }
  void do_route(const ConstTensor& logits, bool normalise, const Routing& routing) override {
    device_->route(logits, normalise, routing);
  }
  void do_experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing, const Tensor& x) override {
    device_->experts_add(h, experts, routing, x);
  }
  void do_gather_rows(const ConstTensor& x, std::span<const int32_t> rows, const Tensor& out) override {
    device_->gather_rows(x, rows, out);
  }

 private:
  void record(const std::string& name, const ConstTensor& x) {
    std::vector<float> values(static_cast<size_t>(x.shape.elements()));
    device_->download(x, values);
    auto& all = trace_[name];
    all.insert(all.end(), values.begin(), values.end());
  }

  std::unique_ptr<Device> device_;
  Trace& trace_;
};

}  // namespace inkstone
