#include "format/checkpoint.h"

#include <algorithm>

#include "base/error.h"
#include "format/gguf_weights.h"
#include "format/quantization.h"
#include "format/shards.h"

namespace inkstone {
namespace {

bool is_weight_dtype(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16 || dtype == DType::f32; }

std::string found(const ConstTensor& tensor) {
  return fmt::format("{} {}", dtype_name(tensor.dtype), tensor.shape.to_string());
}

// [experts, rows, columns], or [rows, columns] where there are no experts.
Shape stack_shape(int64_t experts, int64_t rows, int64_t columns) {
  return experts > 0 ? Shape{experts, rows, columns} : Shape{rows, columns};
}

// The code width that a packed row of `words` would hold for `in` columns, as a hint in an error.
std::string bits_hint(const ConstTensor& weight, int64_t in) {
  if (weight.shape.rank() < 2 || weight.shape[-1] > INT64_MAX / 32) return "";
  const int64_t row_bits = weight.shape[-1] * 32;
  if (row_bits % in != 0 || row_bits / in < 1 || row_bits / in > 8) return "";
  return fmt::format("; these look like {} bits", row_bits / in);
}

}  // namespace

Checkpoint::Checkpoint(const std::filesystem::path& model) : folder_(model) {
  if (is_gguf(model)) {
    gguf_ = std::make_unique<GgufWeights>(model);
    tensors_ = gguf_->tensors();
  } else {
    open_folder();
  }
}

Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;

void Checkpoint::open_folder() {
  const ShardList list = find_shards(folder_);
  shards_.reserve(list.files.size());
  for (const std::string& file : list.files) {
    const Safetensors& shard = shards_.emplace_back(folder_ / file);
    for (const auto& [name, tensor] : shard.tensors())
      if (!tensors_.emplace(name, tensor).second)
        fail(Errc::bad_file, "{}: {}: stands in another shard, too: {}", shard.path().string(), name, origin_of(name));
    if (!list.weight_map) continue;
    for (const auto& [name, tensor] : shard.tensors()) {
      const auto entry = list.weight_map->find(name);
      if (entry == list.weight_map->end() || entry->second != file)
        fail(Errc::bad_file, "{}: {}: the index {}", shard.path().string(), name,
             entry == list.weight_map->end() ? "does not have it" : "places it in " + entry->second);
    }
  }
  if (!list.weight_map) return;
  for (const auto& [name, file] : *list.weight_map)
    if (!tensors_.contains(name))
      fail(Errc::bad_file, "{}: {}: the index places it here, but it is not in the file", (folder_ / file).string(),
           name);
}

std::string Checkpoint::origin_of(std::string_view name) const {
  if (gguf_) return gguf_->origin_of(name);
  for (const Safetensors& shard : shards_)
    if (shard.find(name) != nullptr) return shard.path().string();
  return folder_.string();
}

bool Checkpoint::contains(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }

uint64_t Checkpoint::bytes() const {
  uint64_t total = 0;
  for (const auto& [name, tensor] : tensors_) total += tensor.bytes();
  return total;
}

uint64_t Checkpoint::owned_bytes() const { return gguf_ ? gguf_->owned_bytes() : 0; }

ConstTensor Checkpoint::take_any(std::string_view name) {
  const auto entry = tensors_.find(name);
  if (entry == tensors_.end()) fail(Errc::bad_file, "{}: {}: missing", folder_.string(), name);
  taken_.emplace(name);
  return gguf_ ? gguf_->load(name) : entry->second;
}

ConstTensor Checkpoint::take(std::string_view name, const Shape& shape) {
  const ConstTensor tensor = take_any(name);
  if (!is_weight_dtype(tensor.dtype) || tensor.shape != shape)
    fail(Errc::bad_file, "{}: {}: found {}, expected BF16, F16 or F32 {}", origin_of(name), name, found(tensor),
         shape.to_string());
  return tensor;
}

WeightView Checkpoint::take_quantized(const std::string& module, int64_t experts, int64_t out, int64_t in,
                                      const Quantization& quantization) {
  const auto expect = [&](const std::string& name, const ConstTensor& tensor, bool dtype_fits, const char* dtype,
                          int64_t columns, const std::string& hint) {
    const Shape shape = stack_shape(experts, out, columns);
    if (!dtype_fits || tensor.shape != shape)
      fail(Errc::bad_file, "{}: {}: found {}, expected {} {} ({} {} bits, groups of {}, {} columns){}", origin_of(name),
           name, found(tensor), dtype, shape.to_string(), quant_mode_name(quantization.mode), quantization.bits,
           quantization.group_size, in, hint);
  };
  const std::string weight_name = module + ".weight";
  const std::string scales_name = module + ".scales";
  const std::string biases_name = module + ".biases";
  if (quantization.mode == QuantMode::none)
    fail(Errc::bad_file, "{}: {}: found, but config.json does not quantise {}", origin_of(scales_name), scales_name,
         module);
  if (in % quantization.group_size != 0 || in * quantization.bits % 32 != 0)
    fail(Errc::bad_file, "{}: {}: {} columns, expected a multiple of the group size {}", origin_of(weight_name),
         weight_name, in, quantization.group_size);

  WeightView view{module, out, in, experts, quantization, {}, {}, {}, {}};
  view.weight = take_any(weight_name);
  view.scales = take_any(scales_name);
  expect(weight_name, view.weight, view.weight.dtype == DType::u32, "U32", in * quantization.bits / 32,
         bits_hint(view.weight, in));
  const int64_t groups = in / quantization.group_size;
  if (quantization.mode == QuantMode::affine) {
    expect(scales_name, view.scales, is_weight_dtype(view.scales.dtype), "BF16, F16 or F32", groups, "");
    view.biases = take_any(biases_name);
    expect(biases_name, view.biases, view.biases.dtype == view.scales.dtype, dtype_name(view.scales.dtype), groups, "");
  } else {
    expect(scales_name, view.scales, view.scales.dtype == DType::u8, "U8", groups, "");
    if (contains(biases_name))
      fail(Errc::bad_file, "{}: {}: found, but {} has no biases", origin_of(biases_name), biases_name,
           quant_mode_name(quantization.mode));
  }
  return view;
}

WeightView Checkpoint::take_matrix(const std::string& module, int64_t experts, int64_t out, int64_t in,
                                   const ModelConfig& config) {
  CHECK(experts >= 0 && out > 0 && in > 0);
  if (contains(module + ".scales")) return take_quantized(module, experts, out, in, config.quantization_of(module));
  const std::string name = module + ".weight";
  const auto entry = tensors_.find(name);
  if (entry != tensors_.end() && entry->second.dtype == DType::u32)
    fail(Errc::bad_file, "{}: {}: found {}, but there is no {}.scales", origin_of(name), name, found(entry->second),
         module);
  WeightView view{module, out, in, experts, {}, {}, {}, {}, {}};
  view.weight = take(name, stack_shape(experts, out, in));
  return view;
}

WeightView Checkpoint::take_weight(const std::string& module, int64_t out, int64_t in, const ModelConfig& config) {
  return take_matrix(module, 0, out, in, config);
}

WeightView Checkpoint::take_experts(const std::string& mlp, const std::string& projection, int64_t experts, int64_t out,
                                    int64_t in, const ModelConfig& config) {
  CHECK(experts > 0);
  const std::string stacked = mlp + ".switch_mlp." + projection;
  const auto apart = [&](int64_t e) { return fmt::format("{}.experts.{}.{}", mlp, e, projection); };
  if (contains(stacked + ".weight") || !contains(apart(0) + ".weight"))
    return take_matrix(stacked, experts, out, in, config);
  WeightView view;
  view.name = stacked;  // adapters know the experts by this name, however the file holds them
  view.out = out;
  view.in = in;
  view.experts = experts;
  for (int64_t e = 0; e < experts; ++e) {
    view.parts.push_back(take_matrix(apart(e), 0, out, in, config));
    const WeightView& part = view.parts.back();
    const WeightView& first = view.parts.front();
    if (part.quantization != first.quantization || part.weight.dtype != first.weight.dtype ||
        part.scales.dtype != first.scales.dtype)
      fail(Errc::unsupported, "{}: {}.weight: its type or quantization differs from that of expert 0",
           origin_of(part.name + ".weight"), part.name);
  }
  view.quantization = view.parts.front().quantization;
  return view;
}

const MappedFile& Checkpoint::file_of(std::span<const std::byte> part) const {
  if (gguf_) {
    const MappedFile* file = gguf_->file_of(part);
    CHECK(file != nullptr);
    return *file;
  }
  const auto holds = [part](const Safetensors& shard) {
    const std::span<const std::byte> file = shard.file().bytes();
    return part.data() >= file.data() && part.data() + part.size() <= file.data() + file.size();
  };
  const auto shard = std::find_if(shards_.begin(), shards_.end(), holds);
  CHECK(shard != shards_.end());
  return shard->file();
}

void Checkpoint::prefetch(std::span<const std::byte> part) const {
  if (!gguf_ || gguf_->file_of(part) != nullptr) file_of(part).prefetch(part);
}

void Checkpoint::drop(std::span<const std::byte> part) const {
  if (!gguf_ || gguf_->file_of(part) != nullptr) file_of(part).drop(part);
}

void Checkpoint::ignore(std::string_view name) { taken_.emplace(name); }

void Checkpoint::finish() const {
  size_t left = 0;
  std::string_view first;
  for (const auto& [name, tensor] : tensors_)
    if (!taken_.contains(name) && left++ == 0) first = name;
  if (left > 0)
    fail(Errc::bad_file, "{}: {}: not part of the model{}", origin_of(first), first,
         left > 1 ? fmt::format(" (nor are {} others)", left - 1) : "");
}

}  // namespace inkstone
