// A whole model folder of random weights in a published shape and format: to try, test and measure with, without a
// download. Norms are 1 and matrices are drawn so that activations stay of order 1 through all layers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "format/checkpoint_writer.h"
#include "format/model_config.h"

namespace inkstone {

struct RandomCheckpointOptions {
  ModelConfig config;         // a shape; its own quantization fields are replaced
  DType dtype = DType::bf16;  // of plain tensors, and of affine scales and biases: bf16, f16 or f32
  Quantization quantization;  // mode none: a plain checkpoint
  uint64_t seed = 0;          // the same seed gives the same bytes
  uint64_t shard_bytes = kShardBytes;
  std::function<void()> on_piece{};  // after each few megabytes; may throw to end it
};

// Writes config.json, generation_config.json, the shards with their index, tokenizer.json and tokenizer_config.json.
// Makes the folder. Throws Error(usage) where shape and quantization do not fit, Error(io).
void write_random_checkpoint(const std::filesystem::path& folder, const RandomCheckpointOptions& options);

// The configuration that such a folder gets: quantised, with the router of experts at 8 bits in groups of 64.
ModelConfig random_checkpoint_config(const RandomCheckpointOptions& options);

// All tensors in mlx_lm's order, before they are split into shards.
std::vector<TensorSpec> model_tensors(const ModelConfig& quantized_config, DType dtype);

}  // namespace inkstone
