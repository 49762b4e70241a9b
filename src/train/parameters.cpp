#include "train/parameters.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "format/quantization.h"
#include "tensor/widen.h"
#include "train/random.h"

namespace inkstone {
namespace {

using ForLinear = std::function<void(const std::string& key, Linear& linear)>;

// The linears of a layer by their names within it.
void for_each_linear(Qwen3& model, int i, const ForLinear& use) {
  Qwen3::Layer& l = model.layer(i);
  const std::string prefix = fmt::format("model.layers.{}.", i);
  const auto visit = [&](Linear& linear) { use(linear.name().substr(prefix.size()), linear); };
  for (Linear* linear : {&l.q_proj, &l.k_proj, &l.v_proj, &l.o_proj}) visit(*linear);
  Mlp* mlp = &l.mlp;
  if (Qwen3::MoeBlock* moe = model.experts(i)) {
    visit(moe->gate);
    mlp = &moe->switch_mlp;
  }
  for (Linear* linear : {&mlp->gate_proj, &mlp->up_proj, &mlp->down_proj}) visit(*linear);
}

float* floats(const Tensor& tensor) { return tensor.as<float>(); }

// Row r of all experts' rows of a weight, widened.
void widen_row(const WeightView& weight, int64_t row, std::span<float> out) {
  if (weight.experts == 0) return dequantize_row(weight, row, out);
  dequantize_row(weight.expert(row / weight.out), row % weight.out, out);
}

int first_layer(const Qwen3& model, int num_layers) {
  const int layers = model.config().num_hidden_layers;
  if (num_layers > layers || num_layers == 0)
    fail(Errc::usage, "num_layers: found {}, expected 1 to {}, the model's, or -1 for all", num_layers, layers);
  return num_layers < 0 ? 0 : layers - num_layers;
}

}  // namespace

Shape Parameter::file_shape() const {
  if (!transposed) return value.shape;
  return {value.shape[-1], value.shape[-2]};
}

Parameters::Parameters(Qwen3& model) : model_(&model), training_(model.device().training()) {
  if (training_ == nullptr) fail(Errc::unsupported, "{}: cannot train", model.device().description());
}

Tensor Parameters::allocate(const Shape& shape) {
  Buffer& buffer =
      buffers_.emplace_back(model_->device().allocate(static_cast<size_t>(shape.elements()) * sizeof(float)));
  return buffer.view(DType::f32, shape);
}

Tensor Parameters::add(const std::string& name, Tensor value, bool transposed) {
  const Tensor gradient = allocate(value.shape);
  all_.push_back({name, value, gradient, {}, transposed});
  return gradient;
}

Parameters Parameters::adapters(Qwen3& model, const AdapterConfig& config, uint64_t seed) {
  Parameters parameters(model);
  const int layers = model.config().num_hidden_layers;
  parameters.lowest_layer_ = first_layer(model, config.num_layers);
  std::vector<bool> used(config.keys.size());
  for (int i = parameters.lowest_layer_; i < layers; ++i) {
    for_each_linear(model, i, [&](const std::string& key, Linear& linear) {
      const auto found = std::ranges::find(config.keys, key);
      if (!config.keys.empty() && found == config.keys.end()) return;
      if (!config.keys.empty()) used[static_cast<size_t>(found - config.keys.begin())] = true;
      parameters.add_adapter(linear, config, seed + 0x9e37u * parameters.all_.size());
    });
  }
  for (size_t i = 0; i < used.size(); ++i)
    if (!used[i])
      fail(Errc::usage, "lora_parameters: keys: found \"{}\", expected names such as self_attn.q_proj, mlp.down_proj",
           config.keys[i]);
  parameters.publish();
  return parameters;
}

void Parameters::add_adapter(Linear& linear, const AdapterConfig& config, uint64_t seed) {
  const bool dora = config.fine_tune_type == FineTuneType::dora;
  const int64_t experts = linear.weight.experts, stack = std::max<int64_t>(experts, 1), rank = config.rank;
  if (dora && experts > 0) fail(Errc::unsupported, "{}: DoRA on experts", linear.name());
  const Shape a_shape{stack, rank, linear.in()}, b_shape{stack, linear.out(), rank};
  Device& device = model_->device();
  linear.lora = std::make_unique<Lora>();
  Lora& lora = *linear.lora;
  lora.rank = config.rank;
  lora.scale = config.scale;
  std::vector<float> values(static_cast<size_t>(a_shape.elements()));
  SplitMix64 random(seed);
  for (float& value : values) value = random.uniform() / std::sqrt(static_cast<float>(linear.in()));
  lora.a = device.upload(values);
  lora.b = device.allocate(static_cast<size_t>(b_shape.elements()) * sizeof(float));
  LinearGradient& gradient = linears_[&linear];
  gradient.a = add(linear.name() + ".lora_a", lora.a.view(DType::f32, a_shape), experts == 0);
  gradient.b = add(linear.name() + ".lora_b", lora.b.view(DType::f32, b_shape), experts == 0);
  if (!dora) return;
  const Tensor m = allocate({linear.out()});
  std::vector<float> row(static_cast<size_t>(linear.in()));
  for (int64_t o = 0; o < linear.out(); ++o) {
    widen_row(linear.weight, o, row);
    double squares = 0;
    for (const float value : row) squares += static_cast<double>(value) * value;
    floats(m)[o] = static_cast<float>(std::sqrt(squares));
  }
  gradient.magnitude = add(linear.name() + ".m", m);
  magnitudes_.emplace_back(&linear, m);
}

Parameters Parameters::weights(Qwen3& model, int num_layers) {
  Parameters parameters(model);
  parameters.lowest_layer_ = first_layer(model, num_layers);
  parameters.embedding_learns_ = num_layers < 0;
  if (num_layers < 0) {
    parameters.add_weight(model.embed_tokens());
    if (&model.head() != &model.embed_tokens()) parameters.add_weight(model.head());
    parameters.add_norm(model.norm());
  }
  for (int i = parameters.lowest_layer_; i < model.config().num_hidden_layers; ++i) {
    Qwen3::Layer& l = model.layer(i);
    for (Norm* norm : {&l.input_layernorm, &l.q_norm, &l.k_norm, &l.post_attention_layernorm})
      parameters.add_norm(*norm);
    for_each_linear(model, i, [&](const std::string&, Linear& linear) { parameters.add_weight(linear); });
  }
  parameters.publish();
  return parameters;
}

void Parameters::add_weight(Linear& linear) {
  const WeightView old = linear.weight;
  const Shape shape = old.experts > 0 ? Shape{old.experts, old.out, old.in} : Shape{old.out, old.in};
  const Tensor value = allocate(shape);
  for (int64_t row = 0; row < shape.elements() / old.in; ++row)
    widen_row(old, row, std::span(floats(value) + row * old.in, static_cast<size_t>(old.in)));
  linears_[&linear].weight = add(old.name + ".weight", value);

  WeightView view;
  view.name = old.name;
  view.out = old.out;
  view.in = old.in;
  view.experts = old.experts;
  view.weight = value;
  if (training_->weight_dtype() == DType::bf16) {
    Buffer& buffer = buffers_.emplace_back(model_->device().allocate(static_cast<size_t>(shape.elements()) * 2));
    all_.back().rounded = buffer.view(DType::bf16, shape);
    view.weight = all_.back().rounded;
  }
  linear = model_->device().pack(view);
}

void Parameters::add_norm(Norm& norm) {
  norms_[&norm] = add(norm.name + ".weight", norm.weight.view(DType::f32, {norm.size}));
}

int64_t Parameters::count() const {
  int64_t count = 0;
  for (const Parameter& parameter : all_) count += parameter.value.shape.elements();
  return count;
}

const LinearGradient& Parameters::of(const Linear& linear) const {
  static const LinearGradient none;
  const auto found = linears_.find(&linear);
  return found == linears_.end() ? none : found->second;
}

Tensor Parameters::of(const Norm& norm) const {
  const auto found = norms_.find(&norm);
  return found == norms_.end() ? Tensor{} : found->second;
}

void Parameters::clear_gradients() {
  for (const Parameter& parameter : all_) training_->fill_zero(parameter.gradient);
}

void Parameters::publish() {
  for (const Parameter& parameter : all_)
    if (parameter.rounded.data != nullptr) training_->convert(parameter.value, parameter.rounded);
  for (const auto& [linear, m] : magnitudes_) training_->renew_magnitude(*linear, m);
}

void Parameters::load(const Safetensors& file) {
  for (const Parameter& parameter : all_) {
    const ConstTensor* tensor = file.find(parameter.name);
    if (tensor == nullptr) fail(Errc::bad_file, "{}: {}: missing", file.path().string(), parameter.name);
    const bool floating = tensor->dtype == DType::f32 || tensor->dtype == DType::bf16 || tensor->dtype == DType::f16;
    if (!floating || tensor->shape != parameter.file_shape())
      fail(Errc::bad_file, "{}: {}: found {} {}, expected floats {}", file.path().string(), parameter.name,
           dtype_name(tensor->dtype), tensor->shape.to_string(), parameter.file_shape().to_string());
    std::vector<float> values(static_cast<size_t>(tensor->shape.elements()));
    widen(*tensor, values);
    if (parameter.transposed) values = transposed(values, tensor->shape[0], tensor->shape[1]);
    std::memcpy(parameter.value.data, values.data(), parameter.value.bytes());
  }
  if (file.tensors().size() != all_.size())
    for (const auto& entry : file.tensors())
      if (std::ranges::none_of(all_, [&](const Parameter& p) { return p.name == entry.first; }))
        fail(Errc::bad_file, "{}: {}: found, but nothing of that name learns", file.path().string(), entry.first);
  publish();
}

std::vector<float> Parameters::values_for_file(const Parameter& parameter) const {
  std::vector<float> values(static_cast<size_t>(parameter.value.shape.elements()));
  model_->device().download(parameter.value, values);
  if (!parameter.transposed) return values;
  return transposed(values, parameter.value.shape[-2], parameter.value.shape[-1]);
}

}  // namespace inkstone
