// fuse: a model folder and an adapter folder become one model folder, as mlx_lm.fuse makes it: a format/conversion with
// an adapter in its way.
//
// A quantised base is quantised again with the same parameters, which may lose the tuning: what a step of the codes is
// larger than. How much of it survives is measured first, and where it would be lost nothing is written.
// docs/decisions/0009-fuse-refuses-to-lose-the-tuning.md has the measure and its limits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "train/fuse_module.h"

namespace inkstone {

struct FuseOptions {
  std::filesystem::path model;    // a folder
  std::filesystem::path adapter;  // a folder: LoRA, DoRA or whole parameters
  std::filesystem::path save;     // a folder that is not there yet, or empty
  bool dequantize = false;        // write a plain model, in the dtype of its scales
  bool force = false;             // write it even where the tuning is lost
  int threads = 0;                // 0: all that this process may use
  Conversion::Progress on_progress{};
};

struct FusedModule {
  std::string name;
  Quantization quantization;  // as it was written
  TuningLoss loss;
};

struct FuseReport {
  std::vector<FusedModule> modules;  // the tuned ones; those that were quantised again first
  TuningLoss quantized;              // over those that were quantised again; empty where there are none
  TuningLoss plain;                  // over the others: what bfloat16 or float16 rounds away; never a reason to refuse
  int64_t replaced = 0;              // whole parameters that a full fine-tune brought
  Conversion::Written written;
};

// Less than this share of the tuning left, or more noise than tuning, is refused.
inline constexpr double kLeastSurvival = 0.5;
inline constexpr double kMostNoise = 1;
bool loses_tuning(const TuningLoss& loss);

// Throws Error(unsupported) where the tuning would be lost, with the figures and the ways out; Error(bad_file) where
// adapter and model do not fit; and as Conversion does.
FuseReport fuse(const FuseOptions& options);

}  // namespace inkstone
