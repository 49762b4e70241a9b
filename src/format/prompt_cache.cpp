#include "format/prompt_cache.h"

#include <charconv>
#include <optional>
#include <span>
#include <string_view>

#include "base/error.h"
#include "format/quantization.h"
#include "tensor/widen.h"

namespace inkstone {
namespace {

constexpr int kMaxLayers = 1024;
constexpr int64_t kMaxTokens = int64_t{1} << 27;

// Names are paths in a flattened tree. Tensors: "layer.0" keys, "layer.1" values, or "layer.0.0" codes, ".1" scales,
// ".2" biases. Metadata: "0.layer[.i]" the cache's state, "1.key" the user's, "2.layer" the class.
class Reader {
 public:
  explicit Reader(const Safetensors& file) : file_(file), origin_(file.path().string()) {}

  PromptCache read() {
    PromptCache cache;
    int count = 0;
    while (count <= kMaxLayers && find_metadata(fmt::format("2.{}", count))) ++count;
    if (count == 0) fail(Errc::bad_file, "{}: metadata 2.0: missing: not a prompt cache", origin_);
    if (count > kMaxLayers) fail(Errc::bad_file, "{}: more than {} layers", origin_, kMaxLayers);
    for (int i = 0; i < count; ++i) {
      const std::string& kind = *find_metadata(fmt::format("2.{}", i));
      if (kind == "KVCache")
        cache.layers.push_back(plain_layer(i, cache));
      else if (kind == "QuantizedKVCache")
        cache.layers.push_back(quantized_layer(i, cache));
      else
        fail(Errc::unsupported, "{}: layer {}: found a {}, expected KVCache or QuantizedKVCache", origin_, i, kind);
    }
    if (file_.tensors().size() != taken_)
      fail(Errc::bad_file, "{}: {} tensors, expected {} for {} layers", origin_, file_.tensors().size(), taken_, count);
    for (const auto& [key, value] : file_.metadata())
      if (key.starts_with("1.")) cache.metadata.emplace(key.substr(2), value);
    return cache;
  }

 private:
  const std::string* find_metadata(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    return found == file_.metadata().end() ? nullptr : &found->second;
  }

  int state(int layer, int item, int lowest, int highest) const {
    const std::string key = fmt::format("0.{}.{}", layer, item);
    const std::string* text = find_metadata(key);
    if (text == nullptr) fail(Errc::bad_file, "{}: metadata {}: missing", origin_, key);
    int value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc() || end != text->data() + text->size() || value < lowest || value > highest)
      fail(Errc::bad_file, "{}: metadata {}: found \"{}\", expected an int from {} to {}", origin_, key,
           text->substr(0, 40), lowest, highest);
    return value;
  }

  const ConstTensor& tensor(const std::string& name) {
    const ConstTensor* found = file_.find(name);
    if (found == nullptr) fail(Errc::bad_file, "{}: {}: missing", origin_, name);
    if (found->shape.rank() != 4 || found->shape[0] != 1 || found->shape.elements() == 0)
      fail(Errc::bad_file, "{}: {}: found {}, expected [1, heads, tokens, width]", origin_, name,
           found->shape.to_string());
    ++taken_;
    return *found;
  }

  // Notes the shape of a layer's keys, or checks the values' against it.
  void agree(const std::string& name, const ConstTensor& tensor, int64_t width, PromptCacheLayer& layer,
             PromptCache& cache) const {
    const int64_t heads = tensor.shape[1], tokens = tensor.shape[2];
    if (heads > 65536 || width > 65536 || tokens > kMaxTokens)
      fail(Errc::bad_file, "{}: {}: found {}: out of range", origin_, name, tensor.shape.to_string());
    if (layer.heads == 0) {
      layer.heads = static_cast<int>(heads);
      layer.head_dim = static_cast<int>(width);
    }
    if (cache.tokens == 0) cache.tokens = tokens;
    if (heads != layer.heads || width != layer.head_dim || tokens != cache.tokens)
      fail(Errc::bad_file, "{}: {}: found {} heads, {} tokens, {} wide, expected {}, {}, {}", origin_, name, heads,
           tokens, width, layer.heads, cache.tokens, layer.head_dim);
  }

  static std::vector<float> scale_pairs(const ConstTensor& scales, const ConstTensor& biases) {
    std::vector<float> s(static_cast<size_t>(scales.shape.elements())), b(s.size()), pairs;
    widen(scales, s);
    widen(biases, b);
    pairs.reserve(2 * s.size());
    for (size_t i = 0; i < s.size(); ++i) pairs.insert(pairs.end(), {s[i], b[i]});
    return pairs;
  }

  static std::vector<float> decode(const WeightView& rows) {
    std::vector<float> values(static_cast<size_t>(rows.out * rows.in));
    for (int64_t row = 0; row < rows.out; ++row)
      dequantize_row(rows, row,
                     std::span(values).subspan(static_cast<size_t>(row * rows.in), static_cast<size_t>(rows.in)));
    return values;
  }

  // [1, K, T, w] as K * T rows.
  static ConstTensor as_rows(const ConstTensor& tensor) {
    return {tensor.data, tensor.dtype, Shape{tensor.shape[1] * tensor.shape[2], tensor.shape[3]}};
  }

  void check_floating(const std::string& name, const ConstTensor& tensor) const {
    if (tensor.dtype != DType::f32 && tensor.dtype != DType::bf16 && tensor.dtype != DType::f16)
      fail(Errc::bad_file, "{}: {}: found {}, expected BF16, F16 or F32", origin_, name, dtype_name(tensor.dtype));
  }

  PromptCacheLayer plain_layer(int index, PromptCache& cache) {
    PromptCacheLayer layer;
    for (const int part : {0, 1}) {
      const std::string name = fmt::format("{}.{}", index, part);
      const ConstTensor& found = tensor(name);
      check_floating(name, found);
      agree(name, found, found.shape[3], layer, cache);
      WeightView rows;
      rows.weight = as_rows(found);
      rows.out = rows.weight.shape[0];
      rows.in = rows.weight.shape[1];
      (part == 0 ? layer.keys : layer.values) = decode(rows);
    }
    return layer;
  }

  PromptCacheLayer quantized_layer(int index, PromptCache& cache) {
    PromptCacheLayer layer;
    const Quantization quantization{QuantMode::affine, state(index, 2, 1, 32), state(index, 1, 1, 65536)};
    const std::string problem = quantization_problem(quantization);
    if (!problem.empty()) fail(Errc::bad_file, "{}: layer {}: {}", origin_, index, problem);
    for (const int part : {0, 1}) {
      const auto name = [&](int item) { return fmt::format("{}.{}.{}", index, part, item); };
      WeightView rows;
      rows.quantization = quantization;
      const ConstTensor& codes = tensor(name(0));
      const ConstTensor& scales = tensor(name(1));
      const ConstTensor& biases = tensor(name(2));
      if (codes.dtype != DType::u32 || scales.shape[3] > 65536)
        fail(Errc::bad_file, "{}: {}: found {} {}, expected U32", origin_, name(0), dtype_name(codes.dtype),
             codes.shape.to_string());
      const int64_t width = scales.shape[3] * quantization.group_size;
      agree(name(0), codes, width, layer, cache);
      const Shape expected_codes{1, layer.heads, cache.tokens, width * quantization.bits / 32};
      const Shape expected_scales{1, layer.heads, cache.tokens, scales.shape[3]};
      check_floating(name(1), scales);
      if (codes.shape != expected_codes || scales.shape != expected_scales || biases.shape != expected_scales ||
          biases.dtype != scales.dtype)
        fail(Errc::bad_file, "{}: {}: codes {}, scales {}, biases {} do not fit {} bits in groups of {}", origin_,
             name(0), codes.shape.to_string(), scales.shape.to_string(), biases.shape.to_string(), quantization.bits,
             quantization.group_size);
      rows.weight = as_rows(codes);
      rows.scales = as_rows(scales);
      rows.biases = as_rows(biases);
      rows.out = rows.weight.shape[0];
      rows.in = width;
      (part == 0 ? layer.keys : layer.values) = decode(rows);
      (part == 0 ? layer.key_scales : layer.value_scales) = scale_pairs(scales, biases);
    }
    layer.bits = quantization.bits;
    layer.group_size = quantization.group_size;
    if (state(index, 0, 0, INT32_MAX) != cache.tokens)
      fail(Errc::bad_file, "{}: metadata 0.{}.0: expected {} tokens", origin_, index, cache.tokens);
    return layer;
  }

  const Safetensors& file_;
  std::string origin_;
  size_t taken_ = 0;
};

}  // namespace

PromptCache read_prompt_cache(const Safetensors& file) { return Reader(file).read(); }

PromptCache load_prompt_cache(const std::filesystem::path& path) { return read_prompt_cache(Safetensors(path)); }

}  // namespace inkstone
