// TrainConfig: what to train, on what and how: mlx_lm's options with mlx_lm's names and defaults, and a few of ours.
// A plain value. Read from mlx_lm's YAML files; cli/train_flags lets the command line override them.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "format/adapter.h"
#include "train/optimizer.h"
#include "train/schedule.h"

namespace inkstone {

const char* optimizer_name(OptimizerKind kind);  // "adam"

// Throws Error(unsupported) with what there is.
OptimizerKind parse_optimizer(std::string_view name);

std::array<OptimizerConfig, 3> default_optimizers();  // by OptimizerKind

struct LoraParameters {
  std::vector<std::string> keys;  // module names within a layer, "self_attn.q_proj"; empty: all linears
  int rank = 8;
  float dropout = 0;  // anything else is refused for now
  float scale = 20;   // of b a
};

struct TrainConfig {
  std::string model;  // a folder; empty: none was given
  bool train = false;
  bool test = false;
  std::string data = "data";  // a folder with {train,valid,test}.jsonl
  FineTuneType fine_tune_type = FineTuneType::lora;
  OptimizerKind optimizer = OptimizerKind::adam;
  std::array<OptimizerConfig, 3> optimizer_configs = default_optimizers();  // by OptimizerKind
  uint64_t seed = 0;                                                        // below 2^63
  int num_layers = 16;                                                      // the last ones; -1: all
  int batch_size = 4;                                                       // examples
  int iters = 1000;
  int val_batches = 25;  // -1: all
  double learning_rate = 1e-5;
  int steps_per_report = 10;
  int steps_per_eval = 200;
  std::string resume_adapter_file;  // empty: none
  std::string adapter_path = "adapters";
  int save_every = 100;
  int test_batches = 500;     // -1: all
  int max_seq_length = 2048;  // tokens
  bool grad_checkpoint = false;
  int grad_accumulation_steps = 1;
  std::optional<ScheduleConfig> lr_schedule;  // in place of learning_rate
  LoraParameters lora_parameters;
  bool mask_prompt = false;

  // Ours.
  double max_grad_norm = 0;  // gradients longer than this are shortened to it; 0: off
  int early_stop = 0;        // evaluations without a better validation loss that end the training; 0: off

  // The parameters of `optimizer`.
  const OptimizerConfig& optimizer_config() const { return optimizer_configs[static_cast<size_t>(optimizer)]; }
  LearningRate schedule() const { return lr_schedule ? LearningRate(*lr_schedule) : LearningRate(learning_rate); }
  // Throws Error(usage) for what is out of range, Error(unsupported) for what is well said but not done here.
  // The readers below call it; who changes a field calls it again.
  void validate() const;
};

// mlx_lm's configuration file (-c): a YAML mapping of the names above. Absent keys keep their defaults. Unknown keys,
// wrong types and values out of range throw Error(bad_file) with the key and its line; options of mlx_lm's that have no
// meaning here are accepted where they are off (report_to, hf_dataset, ...) and Error(unsupported) otherwise, as
// are other optimisers. No aliases, no tags, no more than 64 KiB.
TrainConfig parse_train_config(std::string_view yaml, std::string_view origin);
TrainConfig load_train_config(const std::filesystem::path& file);

// The options with mlx_lm's names, sorted, as it writes them into adapter_config.json.
Json train_config_json(const TrainConfig& config);

}  // namespace inkstone
