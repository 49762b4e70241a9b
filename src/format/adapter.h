// Adapter: an mlx_lm adapter folder, adapter_config.json and adapters.safetensors, checked and mapped.
// LoRA of a module: y += scale * (x lora_a) lora_b; DoRA has also m, the norm of each output row. For "full" the
// file holds whole parameters instead. Owns the mapped file; immutable after loading.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "format/safetensors.h"

namespace inkstone {

enum class FineTuneType : uint8_t { lora, dora, full };

struct AdapterConfig {
  FineTuneType fine_tune_type = FineTuneType::lora;
  int num_layers = -1;  // the last ones that were tuned; -1: all
  int rank = 0;         // 0 for full
  float scale = 1;
  float dropout = 0;
  std::vector<std::string> keys;  // module names within a layer; empty: all linears
  std::string model;              // what it was trained on; may be empty
};

// One module's matrices. Experts stand in front.
struct AdapterModule {
  ConstTensor lora_a;  // [in, r]; experts: [E, r, in]
  ConstTensor lora_b;  // [r, out]; experts: [E, out, r]
  ConstTensor m;       // dora: [out]; experts: [E, out]; else empty

  bool is_experts() const { return lora_a.shape.rank() == 3; }
  int64_t experts() const { return is_experts() ? lora_a.shape[0] : 0; }
  int64_t rank() const { return lora_a.shape[1]; }
  int64_t in() const { return is_experts() ? lora_a.shape[2] : lora_a.shape[0]; }
  int64_t out() const { return lora_b.shape[1]; }
};

AdapterConfig parse_adapter_config(std::string_view json, std::string_view origin);

class Adapter {
 public:
  // Throws Error(not_found) for missing files, Error(bad_file) for inconsistent ones.
  explicit Adapter(const std::filesystem::path& folder);

  const AdapterConfig& config() const { return config_; }
  // By module path, "model.layers.0.self_attn.q_proj". Empty for full.
  const std::map<std::string, AdapterModule, std::less<>>& modules() const { return modules_; }
  // Whole parameters by name; only for full.
  const std::map<std::string, ConstTensor, std::less<>>& parameters() const { return parameters_; }

 private:
  void collect_modules();
  void check_module(const std::string& name, const AdapterModule& module) const;

  AdapterConfig config_;
  Safetensors file_;
  std::map<std::string, AdapterModule, std::less<>> modules_;
  std::map<std::string, ConstTensor, std::less<>> parameters_;
};

}  // namespace inkstone
