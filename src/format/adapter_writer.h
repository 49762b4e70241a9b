// Writes adapter folders as mlx_lm does: adapters.safetensors (float32) and adapter_config.json. Each file appears
// whole or not at all, so a training that is interrupted leaves the adapter that it saved before. Read by
// format/adapter.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tensor/tensor.h"

namespace inkstone {

// One tuned linear, in rows along the input as devices hold them; the file's layout is made of it.
struct TunedModule {
  std::string name;          // "model.layers.0.self_attn.q_proj"
  int64_t experts = 0;       // 0: one matrix
  int64_t rank = 0;          // r
  int64_t in = 0, out = 0;   // of the linear
  std::span<const float> a;  // [(E,) r, in]; in the file [in, r], experts as here
  std::span<const float> b;  // [(E,) out, r]; in the file [r, out], experts as here
  std::span<const float> m;  // dora: [(E,) out]; else empty
};

inline constexpr const char* kAdapterFile = "adapters.safetensors";
inline constexpr const char* kAdapterConfigFile = "adapter_config.json";

// "0000100_adapters.safetensors": a copy that mlx_lm keeps of the adapter after `iteration` steps.
std::string adapter_checkpoint_name(int64_t iteration);

// adapter_config.json: the options of the training; of these, readers use fine_tune_type, num_layers, lora_parameters
// {rank, scale, dropout, keys} and model. Makes the folder. Sizes that do not fit are CHECKed. Throws Error(io).
void write_adapter_config(const std::filesystem::path& folder, const Json& options);

// One file of LoRA or DoRA matrices, in the order of their names. Throws Error(io).
void write_adapter_file(const std::filesystem::path& path, std::span<const TunedModule> modules);

// For "full": whole parameters by name, as they are. Throws Error(io).
void write_adapter_file(const std::filesystem::path& path,
                        const std::map<std::string, ConstTensor, std::less<>>& parameters);

}  // namespace inkstone
