#include "format/gguf_weights.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/error.h"
#include "base/system.h"

namespace inkstone {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr int64_t kBlocksAtATime = 1024;  // less is not worth a thread

struct Name {
  std::string_view gguf, mlx;
};
constexpr Name kModelNames[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
constexpr Name kLayerNames[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"ffn_gate_inp", "mlp.gate"},
    {"ffn_gate_exps", "mlp.switch_mlp.gate_proj"},
    {"ffn_up_exps", "mlp.switch_mlp.up_proj"},
    {"ffn_down_exps", "mlp.switch_mlp.down_proj"},
};

template <size_t kCount>
std::string_view mlx_name(const Name (&names)[kCount], std::string_view gguf) {
  const auto found = std::find_if(std::begin(names), std::end(names), [&](const Name& n) { return n.gguf == gguf; });
  return found == std::end(names) ? std::string_view() : found->mlx;
}

// The shape with another number of columns.
Shape with_columns(const Shape& shape, int64_t columns) {
  Shape result;
  for (int i = 0; i + 1 < shape.rank(); ++i) result.push_back(shape[i]);
  result.push_back(columns);
  return result;
}

// A quantised module's tensors: codes, scales and biases, without data.
struct Repacked {
  ConstTensor weight, scales, biases;

  explicit Repacked(const GgufTensor& tensor) {
    const GgmlType& type = *tensor.type;
    const int64_t in = tensor.shape[-1];
    weight = {nullptr, DType::u32, with_columns(tensor.shape, in * type.mlx.bits / 32)};
    scales = {nullptr, type.dtype, with_columns(tensor.shape, in / type.mlx.group_size)};
    biases = scales;
  }
  size_t bytes() const { return weight.bytes() + scales.bytes() + biases.bytes(); }
};

}  // namespace

std::string gguf_module(std::string_view tensor) {
  if (!tensor.ends_with(kWeight)) return "";
  const std::string_view name = tensor.substr(0, tensor.size() - kWeight.size());
  constexpr std::string_view kLayer = "blk.";
  if (!name.starts_with(kLayer)) return std::string(mlx_name(kModelNames, name));
  const std::string_view rest = name.substr(kLayer.size());
  const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  // One spelling a number: "blk.07" is none of ours.
  if (digits == 0 || digits > 4 || (digits > 1 && rest[0] == '0') || digits == rest.size() || rest[digits] != '.')
    return "";
  const std::string_view module = mlx_name(kLayerNames, rest.substr(digits + 1));
  return module.empty() ? "" : fmt::format("model.layers.{}.{}", rest.substr(0, digits), module);
}

void set_gguf_quantization(const std::vector<Gguf>& files, ModelConfig& config) {
  struct Use {
    Quantization quantization;
    uint64_t bytes = 0;
  };
  std::map<std::pair<int, int>, Use> uses;
  for (const Gguf& file : files)
    for (const auto& [name, tensor] : file.header().tensors) {
      const Quantization& q = tensor.type->mlx;
      if (!tensor.type->is_quantized()) continue;
      config.quantization_overrides.emplace(gguf_module(name), q);
      Use& use = uses[{q.bits, q.group_size}];
      use = {q, use.bytes + tensor.bytes.size()};
    }
  if (uses.empty()) return;
  const auto most = std::max_element(uses.begin(), uses.end(),
                                     [](const auto& a, const auto& b) { return a.second.bytes < b.second.bytes; });
  config.quantization = most->second.quantization;
  std::erase_if(config.quantization_overrides, [&](const auto& entry) { return entry.second == *config.quantization; });
}

GgufWeights::GgufWeights(const std::filesystem::path& path) : files_(open_gguf(path)) {
  for (const Gguf& file : files_)
    for (const auto& [name, tensor] : file.header().tensors) {
      // What no model has keeps its name, so that whoever finds it left over can say so.
      const std::string module = gguf_module(name);
      const std::string& key = module.empty() ? name : module;
      if (!sources_.emplace(key, Source{&tensor, &file, name}).second)
        fail(Errc::bad_file, "{}: {}: stands in another file, too", file.path().string(), name);
      if (module.empty() || !tensor.type->is_quantized()) {
        tensors_[module.empty() ? name : module + ".weight"] = {tensor.bytes.data(), tensor.type->dtype, tensor.shape};
        continue;
      }
      const Repacked parts(tensor);
      tensors_[module + ".weight"] = parts.weight;
      tensors_[module + ".scales"] = parts.scales;
      tensors_[module + ".biases"] = parts.biases;
    }
}

ConstTensor GgufWeights::load(std::string_view name) {
  const auto entry = tensors_.find(name);
  CHECK(entry != tensors_.end());
  if (entry->second.data == nullptr) {
    const std::string module(name.substr(0, name.rfind('.')));
    repack(module, sources_.at(module));
  }
  return entry->second;
}

void GgufWeights::repack(const std::string& module, const Source& source) {
  const GgmlType& type = *source.tensor->type;
  Repacked parts(*source.tensor);
  if (const uint64_t available = memory_info().available; parts.bytes() > available)
    fail(Errc::out_of_memory,
         "{}: {}: {} becomes {:.2f} GB in memory, found {:.2f} GB available. A quantised GGUF is repacked when it is "
         "opened; a folder in MLX format is used where it lies, and read as it is needed",
         source.file->path().string(), source.name, type.name, static_cast<double>(parts.bytes()) / 1e9,
         static_cast<double>(available) / 1e9);
  Buffer buffer = Buffer::host(parts.bytes());
  std::byte* codes = buffer.data();
  std::byte* scales = codes + parts.weight.bytes();
  std::byte* biases = scales + parts.scales.bytes();
  if (!pool_) pool_ = std::make_unique<ThreadPool>(available_cpus());
  std::atomic<bool> sound = true;
  const int64_t blocks = source.tensor->shape.elements() / type.block;
  const int64_t code_bytes = type.block * type.mlx.bits / 8;
  const int64_t scale_bytes = type.block / type.mlx.group_size * dtype_size(type.dtype);
  pool_->parallel_for(blocks, kBlocksAtATime, [&](int64_t begin, int64_t end) {
    if (!repack_blocks(type, source.tensor->bytes.data() + begin * type.bytes, end - begin, codes + begin * code_bytes,
                       scales + begin * scale_bytes, biases + begin * scale_bytes))
      sound = false;
  });
  if (!sound)
    fail(Errc::bad_file, "{}: {}: found a block whose scale is not finite or too large, expected sound {}",
         source.file->path().string(), source.name, type.name);
  tensors_.at(module + ".weight").data = codes;
  tensors_.at(module + ".scales").data = scales;
  tensors_.at(module + ".biases").data = biases;
  owned_.emplace(module, std::move(buffer));
}

const MappedFile* GgufWeights::file_of(std::span<const std::byte> part) const {
  for (const Gguf& file : files_) {
    const std::span<const std::byte> bytes = file.file().bytes();
    if (part.data() >= bytes.data() && part.data() + part.size() <= bytes.data() + bytes.size()) return &file.file();
  }
  return nullptr;
}

std::string GgufWeights::origin_of(std::string_view name) const {
  for (const std::string_view key : {name, name.substr(0, name.rfind('.'))})
    if (const auto source = sources_.find(key); source != sources_.end()) return source->second.file->path().string();
  return files_.front().path().string();
}

uint64_t GgufWeights::owned_bytes() const {
  uint64_t total = 0;
  for (const auto& [module, buffer] : owned_) total += buffer.size();
  return total;
}

}  // namespace inkstone
