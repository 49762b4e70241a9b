#include "format/adapter.h"

#include <system_error>

#include "base/error.h"
#include "base/mapped_file.h"
#include "format/atomic_file.h"
#include "format/json_fields.h"
#include "tensor/widen.h"

namespace inkstone {
namespace {

constexpr int kMaxRank = 65536;

std::vector<std::string> parse_keys(const JsonFields& fields) {
  std::vector<std::string> keys;
  const Json* list = fields.find("keys");
  if (list == nullptr) return keys;
  if (!list->is_array()) fields.reject("keys", *list, "a list of strings");
  for (const Json& key : list->as_array()) {
    if (!key.is_string()) fields.reject("keys", key, "strings");
    keys.push_back(key.as_string());
  }
  return keys;
}

std::vector<float> widened(const ConstTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.shape.elements()));
  widen(tensor, values);
  return values;
}

}  // namespace

std::vector<float> transposed(std::span<const float> x, int64_t rows, int64_t columns) {
  std::vector<float> y(x.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      y[static_cast<size_t>(j * rows + i)] = x[static_cast<size_t>(i * columns + j)];
  return y;
}

AdapterRows rows_of(const AdapterModule& module) {
  AdapterRows rows{widened(module.lora_a), widened(module.lora_b), {}};
  if (!module.is_experts()) {
    rows.a = transposed(rows.a, module.in(), module.rank());
    rows.b = transposed(rows.b, module.rank(), module.out());
  }
  if (!module.m.empty()) rows.m = widened(module.m);
  return rows;
}

const char* fine_tune_name(FineTuneType type) {
  switch (type) {
    case FineTuneType::lora: return "lora";
    case FineTuneType::dora: return "dora";
    case FineTuneType::full: return "full";
  }
  return "?";
}

FineTuneType parse_fine_tune_type(std::string_view name) {
  for (const FineTuneType type : {FineTuneType::lora, FineTuneType::dora, FineTuneType::full})
    if (name == fine_tune_name(type)) return type;
  fail(Errc::unsupported, "fine_tune_type: found {}, expected lora, dora or full", name);
}

std::string adapter_checkpoint_name(int64_t iteration) { return fmt::format("{:07}_{}", iteration, kAdapterFile); }

void write_adapter_config(const std::filesystem::path& folder, const Json& options) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(Errc::io, "{}: cannot make the folder: {}", folder.string(), error.message());
  write_file_atomically(folder / kAdapterConfigFile, options.dump(4) + "\n");
}

AdapterConfig parse_adapter_config(std::string_view json, std::string_view origin) {
  const Json root = Json::parse(json, origin);
  const JsonFields fields(root, std::string(origin));
  AdapterConfig config;
  if (fields.has("fine_tune_type")) config.fine_tune_type = parse_fine_tune_type(fields.text("fine_tune_type"));
  config.num_layers = fields.maybe_integer("num_layers", -1, 100000).value_or(-1);
  if (config.fine_tune_type == FineTuneType::full) return config;  // its lora_parameters mean nothing
  const JsonFields lora(fields.require("lora_parameters"), fmt::format("{}: lora_parameters", origin));
  config.rank = lora.integer("rank", 1, kMaxRank);
  config.scale = static_cast<float>(lora.number("scale", -1e6, 1e6));
  config.keys = parse_keys(lora);
  return config;
}

Adapter::Adapter(const std::filesystem::path& folder)
    : config_(parse_adapter_config(read_file(folder / kAdapterConfigFile, 16 << 20),
                                   (folder / kAdapterConfigFile).string())),
      file_(folder / kAdapterFile) {
  for (const auto& [name, tensor] : file_.tensors())
    if (tensor.dtype != DType::f32 && tensor.dtype != DType::bf16 && tensor.dtype != DType::f16 &&
        config_.fine_tune_type != FineTuneType::full)
      fail(Errc::bad_file, "{}: {}: found {}, expected BF16, F16 or F32", file_.path().string(), name,
           dtype_name(tensor.dtype));
  if (config_.fine_tune_type == FineTuneType::full)
    parameters_ = file_.tensors();
  else
    collect_modules();
}

void Adapter::collect_modules() {
  for (const auto& [name, tensor] : file_.tensors()) {
    const size_t dot = name.rfind('.');
    const std::string_view part = dot == std::string::npos ? "" : std::string_view(name).substr(dot + 1);
    if (part != "lora_a" && part != "lora_b" && part != "m")
      fail(Errc::bad_file, "{}: {}: found, expected only lora_a, lora_b and m of modules", file_.path().string(), name);
    AdapterModule& module = modules_[name.substr(0, dot)];
    (part == "m" ? module.m : part == "lora_a" ? module.lora_a : module.lora_b) = tensor;
  }
  for (const auto& [name, module] : modules_) check_module(name, module);
  if (modules_.empty()) fail(Errc::bad_file, "{}: no tensors", file_.path().string());
}

void Adapter::check_module(const std::string& name, const AdapterModule& module) const {
  const auto expect = [&](bool holds, std::string_view part, const std::string& what) {
    if (!holds) fail(Errc::bad_file, "{}: {}.{}: {}", file_.path().string(), name, part, what);
  };
  const auto shape = [](const ConstTensor& tensor) { return tensor.shape.to_string(); };
  expect(!module.lora_a.empty(), "lora_a", "missing");
  expect(!module.lora_b.empty(), "lora_b", "missing");
  const int dims = module.lora_a.shape.rank();
  expect(dims == 2 || dims == 3, "lora_a", "found " + shape(module.lora_a) + ", expected 2 or 3 dimensions");
  expect(module.lora_b.shape.rank() == dims, "lora_b",
         "found " + shape(module.lora_b) + ", expected as lora_a's " + shape(module.lora_a));
  expect(module.lora_a.shape.elements() > 0, "lora_a",
         "found " + shape(module.lora_a) + ", expected no empty dimension");
  expect(module.lora_b.shape.elements() > 0, "lora_b",
         "found " + shape(module.lora_b) + ", expected no empty dimension");
  expect(module.rank() == config_.rank, "lora_a",
         fmt::format("found {}, expected rank {} as adapter_config.json says", shape(module.lora_a), config_.rank));
  if (dims == 2)
    expect(module.lora_b.shape[0] == module.rank(), "lora_b",
           fmt::format("found {}, expected [{}, out]", shape(module.lora_b), module.rank()));
  else
    expect(module.lora_b.shape[0] == module.experts() && module.lora_b.shape[2] == module.rank(), "lora_b",
           fmt::format("found {}, expected [{}, out, {}]", shape(module.lora_b), module.experts(), module.rank()));
  if (config_.fine_tune_type == FineTuneType::lora) {
    expect(module.m.empty(), "m", "found, but fine_tune_type is lora");
    return;
  }
  expect(!module.m.empty(), "m", "missing");
  const Shape m = dims == 2 ? Shape{module.out()} : Shape{module.experts(), module.out()};
  expect(module.m.shape == m, "m", "found " + shape(module.m) + ", expected " + m.to_string());
}

}  // namespace inkstone
