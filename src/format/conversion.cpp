#include "format/conversion.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/system.h"
#include "format/atomic_folder.h"
#include "format/gguf.h"
#include "format/model_files.h"
#include "format/random_checkpoint.h"
#include "format/shapes.h"
#include "tensor/widen.h"

namespace inkstone {
namespace {

constexpr int64_t kPieceBytes = int64_t{16} << 20;  // read at a time
constexpr size_t kMaxConfigBytes = size_t{64} << 20;

// What a model folder has beside config.json and the weights; a folder inside the program cannot be listed.
constexpr const char* kCompanions[] = {"tokenizer.json",
                                       "tokenizer_config.json",
                                       "generation_config.json",
                                       "chat_template.jinja",
                                       "chat_template.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "additional_chat_templates.json",
                                       "LICENSE"};

std::span<const std::byte> bytes_of(const ConstTensor& tensor) { return {tensor.data, tensor.bytes()}; }

std::span<const std::byte> rows_of(const ConstTensor& matrix, int64_t begin, int64_t end) {
  const int64_t row = matrix.shape[-1] * dtype_size(matrix.dtype);
  return {matrix.data + begin * row, static_cast<size_t>((end - begin) * row)};
}

const WeightView& first_of(const WeightView& weight) { return weight.parts.empty() ? weight : weight.parts.front(); }

TensorSpec spec_of(const ConvertedModule& module, const char* part, DType dtype, int64_t columns) {
  Shape shape;
  if (module.weight.experts > 0) shape.push_back(module.weight.experts);
  shape.push_back(module.weight.out);
  shape.push_back(columns);
  return {module.path + part, dtype, shape};
}

// What mlx_lm makes of config.json: the end of text is generation_config.json's where it has one.
Json load_config_json(const std::filesystem::path& model) {
  const auto load = [&](const char* name) -> std::optional<Json> {
    const auto text = read_model_file(model, name, kMaxConfigBytes);
    return text ? std::optional(Json::parse(*text, model_file_origin(model, name))) : std::nullopt;
  };
  const std::optional<Json> found = load("config.json");
  if (!found) fail(Errc::not_found, "{}: missing", model_file_origin(model, "config.json"));
  Json config = *found;
  if (const auto generation = load("generation_config.json")) {
    const Json* eos = generation->find("eos_token_id");
    const bool is_given = eos != nullptr && !eos->is_null() && *eos != Json(0) && *eos != Json(Json::Array{});
    if (is_given) config["eos_token_id"] = *eos;
  }
  std::erase_if(config.as_object(), [](const Json::Member& member) {
    return member.first == "_name_or_path" || member.first == "vision_config";
  });
  return config;
}

}  // namespace

StoredFormat ConvertedModule::stored() const {
  const WeightView& first = first_of(weight);
  const Quantization& q = first.quantization;
  // mxfp4 and the like say nothing of a dtype: decoded they are bfloat16, as in the reference.
  const DType dtype = q.mode == QuantMode::none     ? first.weight.dtype
                      : q.mode == QuantMode::affine ? first.scales.dtype
                                                    : DType::bf16;
  return {dtype, q};
}

std::vector<TensorSpec> ConvertedModule::specs() const {
  const Quantization& q = format.quantization;
  if (is_norm()) return {{path + ".weight", format.dtype, weight.weight.shape}};
  if (q.mode == QuantMode::none) return {spec_of(*this, ".weight", format.dtype, weight.in)};
  const int64_t groups = weight.in / q.group_size;
  const DType scales = q.mode == QuantMode::affine ? format.dtype : DType::u8;
  std::vector<TensorSpec> list{spec_of(*this, ".weight", DType::u32, weight.in * q.bits / 32),
                               spec_of(*this, ".scales", scales, groups)};
  if (q.mode == QuantMode::affine) list.push_back(spec_of(*this, ".biases", scales, groups));
  return list;
}

Conversion::Conversion(const std::filesystem::path& model, int threads, Progress on_progress)
    : checkpoint_(model),
      config_(load_model_config(model)),
      config_json_(load_config_json(model)),
      pool_(threads > 0 ? threads : available_cpus()),
      on_progress_(std::move(on_progress)) {
  take_modules();
  if (!is_gguf(model)) return;
  // MLX has no words for every way in which such a file is quantised: it is as if the plain model had come.
  make_plain();
  for (ConvertedModule& module : modules_) module.format.decode_exactly = true;
  config_.quantization.reset();
  config_.quantization_overrides.clear();
}

// The names and shapes that the model's configuration asks for; everything else in the folder is an error, but for what
// the reference drops, too.
void Conversion::take_modules() {
  ModelConfig plain = config_;
  plain.quantization.reset();
  plain.quantization_overrides.clear();
  for (const TensorSpec& spec : model_tensors(plain, DType::bf16)) {
    ConvertedModule& module = modules_.emplace_back();
    module.path = spec.name.substr(0, spec.name.size() - std::string_view(".weight").size());
    if (spec.shape.rank() == 1)
      module.weight.weight = checkpoint_.take(spec.name, spec.shape);
    else if (spec.shape.rank() == 2)
      module.weight = checkpoint_.take_weight(module.path, spec.shape[0], spec.shape[1], config_);
    else
      module.weight = take_experts(module.path, spec.shape);
    module.format = module.stored();
    total_ += module.bytes();
  }
  if (config_.tie_word_embeddings)
    for (const char* copy : {"lm_head.weight", "lm_head.scales", "lm_head.biases"}) checkpoint_.ignore(copy);
  for (const auto& [name, tensor] : checkpoint_.tensors())
    if (name.ends_with(".rotary_emb.inv_freq")) checkpoint_.ignore(name);
  checkpoint_.finish();
}

WeightView Conversion::take_experts(const std::string& path, const Shape& shape) {
  static constexpr std::string_view kStack = ".switch_mlp.";
  const size_t at = path.rfind(kStack);
  CHECK(at != std::string::npos);
  const std::string projection = path.substr(at + kStack.size());
  WeightView view = checkpoint_.take_experts(path.substr(0, at), projection, shape[0], shape[1], shape[2], config_);
  for (const WeightView& part : view.parts)
    if (part.quantization.mode != QuantMode::none)
      fail(Errc::unsupported, "{}: {}: found quantised experts in tensors of their own, expected a stack",
           folder().string(), part.name);
  return view;
}

void Conversion::make_plain() {
  for (ConvertedModule& module : modules_) module.format.quantization = {};
  std::erase_if(config_json_.as_object(), [](const Json::Member& member) {
    return member.first == "quantization" || member.first == "quantization_config";
  });
}

void Conversion::prefetch(std::span<const std::byte> bytes) const {
  bytes = bytes.first(std::min<size_t>(bytes.size(), kPieceBytes));
  if (!bytes.empty()) checkpoint_.prefetch(bytes);
}

void Conversion::read(std::span<const std::byte> bytes, bool keep) {
  if (!keep) checkpoint_.drop(bytes);
  done_ += bytes.size();
  if (on_progress_) on_progress_(done_, total_);
}

void Conversion::rehearse(const ConvertedModule& module) {
  encode(
      module, [](std::span<const std::byte>) {}, true);
}

// Codes come first in the file, so scales and biases wait until the module ends.
void Conversion::encode(const ConvertedModule& module, const Sink& sink, bool keep) {
  const WeightView& weight = module.weight;
  const QuantizedRowBytes bytes = RowEncoder(weight, module.format).row_bytes();
  const int64_t experts = std::max<int64_t>(weight.experts, 1), rows = experts * weight.out;
  const int64_t source_row = weight.in * (dtype_size(first_of(weight).weight.dtype));
  const int64_t step = std::max<int64_t>(1, kPieceBytes / source_row);
  std::vector<std::byte> codes(static_cast<size_t>(std::min(step, weight.out)) * bytes.codes);
  std::vector<std::byte> scales(static_cast<size_t>(rows) * bytes.scales);
  std::vector<std::byte> biases(static_cast<size_t>(rows) * bytes.biases);
  const std::unique_ptr<RowEditor> editor = module.edit ? module.edit() : nullptr;
  for (int64_t e = 0; e < experts; ++e) {
    const WeightView matrix = weight.experts > 0 ? weight.expert(e) : weight;
    for (int64_t begin = 0; begin < weight.out; begin += step) {
      const int64_t end = std::min(begin + step, weight.out);
      if (end < weight.out)
        prefetch(rows_of(matrix.weight, end, weight.out));
      else if (e + 1 < experts)
        prefetch(bytes_of(weight.expert(e + 1).weight));
      const size_t row = static_cast<size_t>(e * weight.out + begin);
      encode_piece(module, editor.get(), e, begin, end,
                   {codes.data(), scales.data() + row * bytes.scales, biases.data() + row * bytes.biases});
      sink({codes.data(), static_cast<size_t>(end - begin) * bytes.codes});
      read(rows_of(matrix.weight, begin, end), keep);
    }
    for (const ConstTensor* tensor : {&matrix.scales, &matrix.biases})
      if (!tensor->empty()) read(bytes_of(*tensor), keep);
  }
  if (editor) editor->finish();
  sink(scales);
  sink(biases);
}

void Conversion::encode_piece(const ConvertedModule& module, RowEditor* editor, int64_t e, int64_t begin, int64_t end,
                              const RowTarget& target) {
  const RowEncoder encoder(module.weight, module.format);
  pool_.parallel_for(end - begin, 1, [&](int64_t first, int64_t last) {
    if (editor != nullptr)
      editor->encode(e, begin + first, begin + last, encoder.at(target, first));
    else
      encoder.encode(e, begin + first, begin + last, encoder.at(target, first));
  });
}

void Conversion::write_module(const ConvertedModule& module, const ConvertedModule* next, const Sink& sink) {
  if (next != nullptr && next->replacement == nullptr) prefetch(bytes_of(first_of(next->weight).weight));
  if (module.replacement != nullptr) return cast(*module.replacement, module.format.dtype, sink, true);
  if (module.edit || module.format.quantization != module.stored().quantization) return encode(module, sink, false);
  const auto write = [&](const WeightView& weight) {
    for (const ConstTensor* tensor : {&weight.weight, &weight.scales, &weight.biases})
      if (!tensor->empty())
        cast(*tensor, is_floating(tensor->dtype) ? module.format.dtype : tensor->dtype, sink, false);
  };
  for (const WeightView& part : module.weight.parts) write(part);
  write(module.weight);
}

// A tensor in another dtype, or as it is.
void Conversion::cast(const ConstTensor& tensor, DType dtype, const Sink& sink, bool keep) {
  const int64_t total = tensor.shape.elements(), size = dtype_size(tensor.dtype), step = kPieceBytes / size;
  std::vector<float> values;
  std::vector<std::byte> bytes;
  for (int64_t at = 0; at < total; at += step) {
    const int64_t count = std::min(step, total - at);
    const ConstTensor piece{tensor.data + at * size, tensor.dtype, Shape{count}};
    if (!keep) prefetch({piece.data + piece.bytes(), static_cast<size_t>((total - at - count) * size)});
    if (dtype == tensor.dtype) {
      sink(bytes_of(piece));
    } else {
      values.resize(static_cast<size_t>(count));
      bytes.resize(values.size() * static_cast<size_t>(dtype_size(dtype)));
      widen(piece, values);
      narrow(values, dtype, bytes);
      sink(bytes);
    }
    read(bytes_of(piece), keep);
  }
}

Conversion::Written Conversion::write(const std::filesystem::path& save) {
  AtomicFolder folder(save);
  std::vector<TensorSpec> specs;
  for (const ConvertedModule& module : modules_) {
    const std::vector<TensorSpec> more = module.specs();
    specs.insert(specs.end(), more.begin(), more.end());
  }
  CheckpointWriter writer(folder.part(), std::move(specs));
  for (size_t i = 0; i < modules_.size(); ++i)
    write_module(modules_[i], i + 1 < modules_.size() ? &modules_[i + 1] : nullptr,
                 [&](std::span<const std::byte> bytes) { writer.write(bytes); });
  const int64_t parameters = parameter_count(config_);
  writer.finish(parameters);
  const std::filesystem::path& model = checkpoint_.folder();
  for (const char* name : kCompanions)
    if (const auto text = read_model_file(model, name)) write_file_atomically(folder.part() / name, *text);
  Json sorted = config_json_;
  std::sort(sorted.as_object().begin(), sorted.as_object().end(),
            [](const Json::Member& a, const Json::Member& b) { return a.first < b.first; });
  write_file_atomically(folder.part() / "config.json", sorted.dump(4));
  folder.commit();
  return {writer.bytes(), 8 * static_cast<double>(writer.bytes()) / static_cast<double>(parameters), folder.cleared()};
}

}  // namespace inkstone
