// Adapter: an mlx_lm adapter folder, adapter_config.json and adapters.safetensors, checked and mapped; and what such a
// folder is written with.
// LoRA of a module: y += scale * (x lora_a) lora_b; DoRA has also m, the norm of each output row. For "full" the
// file holds whole parameters instead. Owns the mapped file; immutable after loading.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "format/safetensors.h"

namespace inkstone {

inline constexpr const char* kAdapterFile = "adapters.safetensors";
inline constexpr const char* kAdapterConfigFile = "adapter_config.json";

// "0000100_adapters.safetensors": the copy that mlx_lm keeps of the adapter after `iteration` steps.
std::string adapter_checkpoint_name(int64_t iteration);

enum class FineTuneType : uint8_t { lora, dora, full };

const char* fine_tune_name(FineTuneType type);  // "lora"
// Throws Error(unsupported) with what there is.
FineTuneType parse_fine_tune_type(std::string_view name);

struct AdapterConfig {
  FineTuneType fine_tune_type = FineTuneType::lora;
  int num_layers = -1;  // the last ones that were tuned; -1: all
  int rank = 0;         // 0 for full
  float scale = 1;
  std::vector<std::string> keys;  // module names within a layer; empty: all linears
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

// A module's matrices widened and in rows along the input, as devices hold them.
struct AdapterRows {
  std::vector<float> a;  // [(E,) r, in]
  std::vector<float> b;  // [(E,) out, r]
  std::vector<float> m;  // dora: [(E,) out]
};
AdapterRows rows_of(const AdapterModule& module);

// x [rows, columns] as [columns, rows]: between the layouts of files and devices.
std::vector<float> transposed(std::span<const float> x, int64_t rows, int64_t columns);

AdapterConfig parse_adapter_config(std::string_view json, std::string_view origin);

// Makes the folder and, whole or not at all, its adapter_config.json: the options of the training, of which readers use
// those of AdapterConfig. Throws Error(io).
void write_adapter_config(const std::filesystem::path& folder, const Json& options);

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
