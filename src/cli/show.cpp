#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/system.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "format/quantization.h"
#include "format/shapes.h"

namespace inkstone {
namespace {

struct ShowFlags {
  std::string folder;
  int ctx_size = 0;
  KvFlags kv;
  bool tensors = false;
  bool json = false;
};

Json describe(const Checkpoint& checkpoint, const ModelConfig& config, int context, const KvFlags& kv) {
  const KvFormat format = kv.bits == 0 ? KvFormat{} : KvFormat{DType::u8, kv.bits, kv.group_size};
  const int64_t kv_bytes = KvCache::bytes_per_token(config, format);
  const double parameters = static_cast<double>(parameter_count(config));
  Json json;
  json["model"] = checkpoint.folder().string();
  json["model_type"] = config.model_type;
  json["parameters"] = parameter_count(config);
  json["bytes"] = static_cast<int64_t>(checkpoint.bytes());
  json["bits_per_weight"] = 8.0 * static_cast<double>(checkpoint.bytes()) / parameters;
  json["quantization"] = quantization_text(config.quantization.value_or(Quantization{}));
  Json::Object overrides;
  for (const auto& [module, quantization] : config.quantization_overrides)
    overrides.emplace_back(module, quantization_text(quantization));
  json["quantization_overrides"] = std::move(overrides);
  json["num_hidden_layers"] = config.num_hidden_layers;
  json["hidden_size"] = config.hidden_size;
  json["num_attention_heads"] = config.num_attention_heads;
  json["num_key_value_heads"] = config.num_key_value_heads;
  json["head_dim"] = config.head_dim;
  json["intermediate_size"] = config.intermediate_size;
  if (config.num_experts > 0) {
    json["num_experts"] = config.num_experts;
    json["num_experts_per_tok"] = config.num_experts_per_tok;
    json["moe_intermediate_size"] = config.moe_intermediate_size;
  }
  json["vocab_size"] = config.vocab_size;
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["context"] = context;
  json["kv_bytes_per_token"] = kv_bytes;
  json["memory_bytes"] = static_cast<int64_t>(checkpoint.bytes()) + context * kv_bytes;
  json["memory_available_bytes"] = static_cast<int64_t>(memory_info().available);
  return json;
}

void print_table(const Json& json) {
  for (const auto& [key, value] : json.as_object()) {
    std::string text = value.is_string() ? printable(value.as_string(), stdout_is_terminal()) : value.dump();
    if (key == "parameters")
      text = value.as_double() < 1e9 ? fmt::format("{:.3g} million", value.as_double() / 1e6)
                                     : fmt::format("{:.3g} billion", value.as_double() / 1e9);
    if (key == "bits_per_weight") text = fmt::format("{:.2f}", value.as_double());
    if (key.ends_with("bytes") || key == "kv_bytes_per_token") text = human_bytes(value.as_double());
    if (key == "memory_bytes")
      text += fmt::format(" (weights and KV cache of {} tokens)", json.find("context")->dump());
    if (key == "memory_available_bytes" && value.as_int() < json.find("bytes")->as_int())
      text += " (less than the weights: they are read from the file as they are needed)";
    if (key == "quantization_overrides") {
      if (value.as_object().empty()) continue;
      text.clear();
      for (const auto& [module, quantization] : value.as_object())
        text += fmt::format("{}{}: {}", text.empty() ? "" : fmt::format("\n{:26}", ""),
                            printable(module, stdout_is_terminal()), quantization.as_string());
    }
    std::printf("%-25s %s\n", key.c_str(), text.c_str());
  }
}

void run_show(const ShowFlags& flags) {
  ModelFlags model;
  model.model = flags.folder;
  model.may_pull = false;  // it asks what is there
  const Checkpoint checkpoint(model.folder());
  const ModelConfig config = load_model_config(checkpoint.folder());
  const int maximum = config.max_position_embeddings;
  if (flags.ctx_size > maximum)
    fail(Errc::context_length, "--ctx-size {}: expected at most the model's max_position_embeddings, {}",
         flags.ctx_size, maximum);
  Json json = describe(checkpoint, config, flags.ctx_size > 0 ? flags.ctx_size : maximum, flags.kv);
  if (flags.tensors && flags.json) {
    Json::Object tensors;
    for (const auto& [name, tensor] : checkpoint.tensors())
      tensors.emplace_back(name, fmt::format("{} {}", dtype_name(tensor.dtype), tensor.shape.to_string()));
    json["tensors"] = std::move(tensors);
  }
  if (flags.json) {
    std::printf("%s\n", json.dump(2).c_str());
    return;
  }
  print_table(json);
  if (!flags.tensors) return;
  std::printf("\n");
  for (const auto& [name, tensor] : checkpoint.tensors())
    std::printf("%-60s %-5s %s\n", printable(name, stdout_is_terminal()).c_str(), dtype_name(tensor.dtype),
                tensor.shape.to_string().c_str());
}

}  // namespace

void add_show(CLI::App& app) {
  auto flags = std::make_shared<ShowFlags>();
  CLI::App* verb = app.add_subcommand("show", "What a model folder holds: shapes, bytes, quantisation, memory");
  verb->add_option("model,-m,--model", flags->folder, "Folder or name of the model");
  verb->add_option("-c,--ctx-size", flags->ctx_size, "Context to state the memory for (default: the model's maximum)")
      ->check(CLI::Range(1, 1 << 24));
  flags->kv.add_to(*verb);
  verb->add_flag("--tensors", flags->tensors, "List every tensor");
  verb->add_flag("--json", flags->json, "One JSON object");
  verb->callback([flags] { run_show(*flags); });
}

}  // namespace inkstone
