#include "train/fuse.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <system_error>
#include <utility>

#include "base/embedded.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "base/system.h"
#include "format/atomic_file.h"
#include "format/checkpoint.h"
#include "format/quantization.h"
#include "format/quantize.h"
#include "format/random_checkpoint.h"
#include "format/safetensors_writer.h"
#include "format/shapes.h"
#include "tensor/widen.h"

namespace inkstone {
namespace {

constexpr uint64_t kShardBytes = uint64_t{5} << 30;  // as mlx_lm splits
constexpr int64_t kPieceBytes = int64_t{16} << 20;   // written at a time
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

// One module of the model: where it comes from, what it becomes.
struct Plan {
  std::string path;  // "model.layers.0.self_attn.q_proj"
  WeightView weight;
  const AdapterModule* adapter = nullptr;    // what is added
  const ConstTensor* replacement = nullptr;  // what it is replaced by ("full")
  FusedFormat format;                        // afterwards
  std::vector<TensorSpec> specs;             // of the tensors that are written, in this order

  bool is_norm() const { return weight.out == 0; }
  bool is_requantized() const { return adapter != nullptr && format.quantization.mode != QuantMode::none; }
  // Written as the file has it.
  bool is_copied() const { return adapter == nullptr && replacement == nullptr && format.quantization == stored(); }
  const WeightView& first() const { return weight.parts.empty() ? weight : weight.parts.front(); }
  Quantization stored() const { return first().quantization; }
  DType stored_dtype() const {
    return stored().mode == QuantMode::affine ? first().scales.dtype : first().weight.dtype;
  }
};

TensorSpec spec_of(const Plan& plan, const char* part, DType dtype, int64_t columns) {
  Shape shape;
  if (plan.weight.experts > 0) shape.push_back(plan.weight.experts);
  shape.push_back(plan.weight.out);
  shape.push_back(columns);
  return {plan.path + part, dtype, shape};
}

void list_specs(Plan& plan) {
  const Quantization& q = plan.format.quantization;
  if (plan.is_norm()) {
    plan.specs = {{plan.path + ".weight", plan.weight.weight.dtype, plan.weight.weight.shape}};
  } else if (q.mode == QuantMode::none) {
    plan.specs = {spec_of(plan, ".weight", plan.format.dtype, plan.weight.in)};
  } else {
    const int64_t groups = plan.weight.in / q.group_size;
    const DType scales = q.mode == QuantMode::affine ? plan.format.dtype : DType::u8;
    plan.specs = {spec_of(plan, ".weight", DType::u32, plan.weight.in * q.bits / 32),
                  spec_of(plan, ".scales", scales, groups)};
    if (q.mode == QuantMode::affine) plan.specs.push_back(spec_of(plan, ".biases", scales, groups));
  }
}

Json description_of(const Quantization& quantization) {
  Json json;
  json["group_size"] = quantization.group_size;
  json["bits"] = quantization.bits;
  return json;
}

class Fuser {
 public:
  explicit Fuser(const FuseOptions& options)
      : options_(options),
        checkpoint_(options.model),
        config_(load_model_config(options.model)),
        adapter_(options.adapter.empty() ? std::nullopt : std::optional<Adapter>(options.adapter)),
        pool_(options.threads > 0 ? options.threads : available_cpus()) {
    take_modules();
    if (adapter_) place_adapter();
    CHECK(!adapter_ || !options.quantize);
    if (options.quantize) quantize(*options.quantize);
    for (Plan& plan : plans_) list_specs(plan);
  }

  FuseReport run() {
    check_save_folder();
    measure();
    if (!options_.force && loses_tuning(report_.quantized)) refuse();
    make_folder();
    try {
      write_weights();
      write_companions();
    } catch (...) {
      remove_written();
      throw;
    }
    return std::move(report_);
  }

 private:
  void take_modules() {
    // The names and shapes that the model's configuration asks for; everything else in the folder is an error.
    ModelConfig plain = config_;
    plain.quantization.reset();
    plain.quantization_overrides.clear();
    for (const TensorSpec& spec : model_tensors(plain, DType::bf16)) {
      Plan& plan = plans_.emplace_back();
      plan.path = spec.name.substr(0, spec.name.size() - std::string_view(".weight").size());
      if (spec.shape.rank() == 1)
        plan.weight.weight = checkpoint_.take(spec.name, spec.shape);
      else if (spec.shape.rank() == 2)
        plan.weight = checkpoint_.take_weight(plan.path, spec.shape[0], spec.shape[1], config_);
      else
        plan.weight = take_experts(plan.path, spec.shape);
    }
    if (config_.tie_word_embeddings)
      for (const char* copy : {"lm_head.weight", "lm_head.scales", "lm_head.biases"}) checkpoint_.ignore(copy);
    checkpoint_.finish();
    DType plain_dtype = DType::bf16;
    for (const Plan& plan : plans_)
      if (plan.is_norm()) plain_dtype = plan.weight.weight.dtype;
    for (Plan& plan : plans_) {
      const QuantMode mode = plan.stored().mode;
      // mxfp4 and the like say nothing of a dtype: that of the norms.
      plan.format.dtype = mode == QuantMode::none || mode == QuantMode::affine ? plan.stored_dtype() : plain_dtype;
      if (!options_.dequantize) plan.format.quantization = plan.stored();
    }
  }

  WeightView take_experts(const std::string& path, const Shape& shape) {
    static constexpr std::string_view kStack = ".switch_mlp.";
    const size_t at = path.rfind(kStack);
    CHECK(at != std::string::npos);
    const std::string projection = path.substr(at + kStack.size());
    WeightView view = checkpoint_.take_experts(path.substr(0, at), projection, shape[0], shape[1], shape[2], config_);
    for (const WeightView& part : view.parts)
      if (part.quantization.mode != QuantMode::none)
        fail(Errc::unsupported, "{}: {}: found quantised experts in tensors of their own, expected a stack",
             checkpoint_.folder().string(), part.name);
    return view;
  }

  Plan& plan_of(std::string_view path) {
    const auto found = std::find_if(plans_.begin(), plans_.end(), [&](const Plan& p) { return p.path == path; });
    if (found == plans_.end())
      fail(Errc::bad_file, "{}: {}: expected a module of the model {}", options_.adapter.string(), path,
           checkpoint_.folder().string());
    return *found;
  }

  void place_adapter() {
    for (const auto& [name, module] : adapter_->modules()) {
      Plan& plan = plan_of(name);
      const WeightView& w = plan.weight;
      if (plan.is_norm() || name == "model.embed_tokens")
        fail(Errc::unsupported, "{}: {}: found an adapter of an embedding or norm, expected one of a linear layer",
             options_.adapter.string(), name);
      if (module.in() != w.in || module.out() != w.out || module.experts() != w.experts)
        fail(Errc::bad_file, "{}: {}: found {} experts, {} -> {}, expected {} experts, {} -> {} as in the model",
             options_.adapter.string(), name, module.experts(), module.in(), module.out(), w.experts, w.in, w.out);
      if (module.is_experts() && !module.m.empty())
        fail(Errc::unsupported, "{}: {}: DoRA on experts", options_.adapter.string(), name);
      plan.adapter = &module;
    }
    for (const auto& [name, tensor] : adapter_->parameters()) place_parameter(name, tensor);
  }

  void place_parameter(const std::string& name, const ConstTensor& tensor) {
    static constexpr std::string_view kWeight = ".weight";
    Plan& plan = plan_of(name.ends_with(kWeight) ? name.substr(0, name.size() - kWeight.size()) : name);
    if (plan.format.quantization.mode != QuantMode::none)
      fail(Errc::bad_file,
           "{}: {}: found a whole parameter, but the model's is quantised: --dequantize writes a plain model",
           options_.adapter.string(), name);
    const WeightView& w = plan.weight;
    const Shape shape = plan.is_norm()  ? w.weight.shape
                        : w.experts > 0 ? Shape{w.experts, w.out, w.in}
                                        : Shape{w.out, w.in};
    if (tensor.shape != shape ||
        (tensor.dtype != DType::f32 && tensor.dtype != DType::bf16 && tensor.dtype != DType::f16))
      fail(Errc::bad_file, "{}: {}: found {} {}, expected BF16, F16 or F32 {} as in the model",
           options_.adapter.string(), name, dtype_name(tensor.dtype), tensor.shape.to_string(), shape.to_string());
    plan.replacement = &tensor;
  }

  void quantize(const Quantization& wanted) {
    if (config_.quantization)
      fail(Errc::usage, "{}: found a model that is quantised, expected a plain one", options_.model.string());
    for (Plan& plan : plans_) {
      const Quantization router{.mode = QuantMode::affine, .bits = 8, .group_size = 64};  // as mlx_lm keeps them
      const bool is_router = plan.path.ends_with(".mlp.gate");
      const Quantization& chosen = is_router ? router : wanted;
      if (plan.is_norm() || plan.weight.in % chosen.group_size != 0) continue;
      plan.format.quantization = chosen;
      if (is_router) own_quantization_.push_back(plan.path);
    }
  }

  void check_save_folder() const {
    std::error_code error;
    const auto status = std::filesystem::status(options_.save, error);
    if (!std::filesystem::exists(status)) return;
    if (!std::filesystem::is_directory(status))
      fail(Errc::usage, "{}: found a file, expected a folder that is new or empty", options_.save.string());
    if (!std::filesystem::is_empty(options_.save, error) || error)
      fail(Errc::usage, "{}: found a folder that is not empty, expected a new or empty one", options_.save.string());
  }

  // Calls encode for all rows of a module in pieces; `wrote` takes each.
  template <class F>
  TuningLoss encode_module(const Plan& plan, EncodedRows& rows, F&& wrote) {
    const ModuleFuser fuser(plan.weight, plan.adapter, adapter_ ? adapter_->config() : AdapterConfig{}, plan.format);
    const int64_t rows_a_piece = std::max<int64_t>(1, kPieceBytes / (plan.weight.in * 4));
    TuningLoss loss;
    for (int64_t e = 0; e < std::max<int64_t>(plan.weight.experts, 1); ++e)
      for (int64_t row = 0; row < plan.weight.out; row += rows_a_piece) {
        const int64_t end = std::min(row + rows_a_piece, plan.weight.out);
        fuser.encode(e, row, end, pool_, rows, loss);
        wrote();
        work_done((end - row) * plan.weight.in);
      }
    if (!(std::isfinite(loss.wanted) && std::isfinite(loss.written)))
      fail(Errc::bad_file, "{}: {}: found numbers that are not finite, expected finite ones",
           adapter_ ? options_.adapter.string() : options_.model.string(), plan.path);
    return loss;
  }

  static int64_t size_of(const Plan& plan) {
    return std::max<int64_t>(plan.weight.experts, 1) * plan.weight.out * plan.weight.in;
  }

  void work_done(int64_t weights) {
    done_ += static_cast<double>(weights);
    if (options_.on_progress && work_ > 0) options_.on_progress(std::min(1.0, done_ / work_));
  }

  // What becomes of the tuning in the modules that are quantised again.
  void measure() {
    for (const Plan& plan : plans_) work_ += static_cast<double>(size_of(plan)) * (plan.is_requantized() ? 2 : 1);
    for (const Plan& plan : plans_) {
      if (!plan.is_requantized()) continue;
      EncodedRows rows;
      report_.quantized.add(encode_module(plan, rows, [&] {
        rows.scales.clear();
        rows.biases.clear();
      }));
    }
  }

  [[noreturn]] void refuse() const {
    const TuningLoss& loss = report_.quantized;
    fail(Errc::unsupported,
         "{}: quantised again, the model would lose the tuning: {:.0f} % of it would be left (at least {:.0f} % are "
         "asked for), with noise of {:.2f} times its size (at most {:.2f}). --dequantize writes a plain model, which "
         "keeps it; --adapter uses the adapter beside the model without fusing; --force writes it all the same",
         options_.adapter.string(), 100 * loss.survival(), 100 * kLeastSurvival, loss.noise(), kMostNoise);
  }

  void make_folder() {
    std::error_code error;
    made_folder_ = std::filesystem::create_directories(options_.save, error);
    if (error) fail(Errc::io, "{}: cannot make the folder: {}", options_.save.string(), error.message());
  }

  void write_file(const std::string& name, std::string_view text) {
    written_.push_back(name);
    write_file_atomically(options_.save / name, text);
  }

  void write_weights() {
    std::vector<std::vector<Plan*>> shards(1);
    uint64_t shard = 0;
    for (Plan& plan : plans_) {
      uint64_t bytes = 0;
      for (const TensorSpec& spec : plan.specs) bytes += spec.bytes();
      if (!shards.back().empty() && shard + bytes > kShardBytes) {
        shards.emplace_back();
        shard = 0;
      }
      shard += bytes;
      report_.bytes += bytes;
      shards.back().push_back(&plan);
    }
    std::error_code error;
    const auto space = std::filesystem::space(options_.save, error);
    if (!error && space.available < report_.bytes)
      fail(Errc::io, "{}: disk full: {} bytes needed, {} available", options_.save.string(), report_.bytes,
           space.available);
    std::map<std::string, std::string> weight_map;
    for (size_t i = 0; i < shards.size(); ++i) {
      const std::string name = shards.size() == 1
                                   ? "model.safetensors"
                                   : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
      write_shard(name, shards[i]);
      for (const Plan* plan : shards[i])
        for (const TensorSpec& spec : plan->specs) weight_map.emplace(spec.name, name);
    }
    Json index;
    index["metadata"]["total_size"] = static_cast<int64_t>(report_.bytes);
    index["metadata"]["total_parameters"] = parameter_count(config_);
    Json::Object members;
    for (const auto& [name, file] : weight_map) members.emplace_back(name, Json(file));
    index["weight_map"] = std::move(members);
    write_file("model.safetensors.index.json", index.dump(4));
  }

  void write_shard(const std::string& name, const std::vector<Plan*>& plans) {
    std::vector<TensorSpec> specs;
    for (const Plan* plan : plans) specs.insert(specs.end(), plan->specs.begin(), plan->specs.end());
    written_.push_back(name);
    SafetensorsWriter writer(options_.save / name, std::move(specs));
    for (const Plan* plan : plans) write_module(*plan, writer);
    writer.finish();
  }

  void write_module(const Plan& plan, SafetensorsWriter& writer) {
    if (plan.replacement != nullptr) return write_replacement(plan, writer);
    if (plan.is_copied()) {
      write_copy(plan.weight, writer);
      return work_done(size_of(plan));
    }
    EncodedRows rows;
    const TuningLoss loss = encode_module(plan, rows, [&] { writer.write(rows.weight); });
    writer.write(rows.scales);
    writer.write(rows.biases);
    if (plan.adapter == nullptr) return;
    report_.modules.push_back({plan.path, plan.format.quantization, loss});
    if (!plan.is_requantized()) report_.plain.add(loss);
  }

  void write_copy(const WeightView& weight, SafetensorsWriter& writer) const {
    for (const WeightView& part : weight.parts) write_copy(part, writer);
    for (const ConstTensor* tensor : {&weight.weight, &weight.scales, &weight.biases}) {
      if (tensor->empty()) continue;
      const std::span<const std::byte> bytes(tensor->data, tensor->bytes());
      writer.write(bytes);
      checkpoint_.file_of(bytes).drop(bytes);
    }
  }

  // A whole parameter, in the dtype that the model has it in.
  void write_replacement(const Plan& plan, SafetensorsWriter& writer) {
    const DType dtype = plan.specs.front().dtype;
    const int64_t total = plan.replacement->shape.elements(), piece = kPieceBytes / 4;
    std::vector<float> values;
    std::vector<std::byte> bytes;
    for (int64_t at = 0; at < total; at += piece) {
      const int64_t count = std::min(piece, total - at);
      values.resize(static_cast<size_t>(count));
      bytes.resize(values.size() * static_cast<size_t>(dtype_size(dtype)));
      widen({plan.replacement->data + at * dtype_size(plan.replacement->dtype), plan.replacement->dtype, Shape{count}},
            values);
      narrow(values, dtype, bytes);
      writer.write(bytes);
    }
    ++report_.replaced;
    work_done(size_of(plan));
  }

  // The files beside the weights; config.json last, so that what is not whole is no model.
  void write_companions() {
    for (const char* name : kCompanions)
      if (file_exists(options_.model / name)) write_file(name, MappedFile(options_.model / name).text());
    const std::filesystem::path path = options_.model / "config.json";
    const std::string text = read_file(path, kMaxConfigBytes);
    if (!options_.dequantize && !options_.quantize) return write_file("config.json", text);
    Json config = Json::parse(text, path.string());
    if (options_.quantize) {
      Json quantization = description_of(*options_.quantize);
      quantization["mode"] = "affine";
      for (const std::string& module : own_quantization_)
        quantization[module] = description_of(plan_of(module).format.quantization);
      config["quantization"] = quantization;
      config["quantization_config"] = std::move(quantization);
    }
    if (options_.dequantize)
      std::erase_if(config.as_object(), [](const Json::Member& member) {
        return member.first == "quantization" || member.first == "quantization_config";
      });
    write_file("config.json", config.dump(4));
  }

  void remove_written() const {
    std::error_code error;
    for (const std::string& name : written_) std::filesystem::remove(options_.save / name, error);
    if (made_folder_) std::filesystem::remove(options_.save, error);  // only if it is empty
  }

  const FuseOptions& options_;
  Checkpoint checkpoint_;
  ModelConfig config_;
  std::optional<Adapter> adapter_;
  ThreadPool pool_;
  std::vector<Plan> plans_;
  std::vector<std::string> own_quantization_;  // modules that are quantised otherwise than the rest
  FuseReport report_;
  std::vector<std::string> written_;
  bool made_folder_ = false;
  double work_ = 0, done_ = 0;  // weights to go through, and gone through
};

}  // namespace

bool loses_tuning(const TuningLoss& loss) {
  return !loss.is_empty() && (loss.survival() < kLeastSurvival || loss.noise() > kMostNoise);
}

FuseReport fuse(const FuseOptions& options) { return Fuser(options).run(); }

}  // namespace inkstone
