// Trainer: the loop of mlx_lm's training: batches, updates, reports, validations, saved adapters. Deterministic for a
// configuration and a data set, whatever the number of threads, and across a resume.
#pragma once

#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "train/backward.h"
#include "train/dataset.h"
#include "train/metrics.h"
#include "train/optimizer.h"
#include "train/train_config.h"

namespace inkstone {

struct TrainerEvents {
  std::function<void(const TrainMetrics&, double seconds_left)> on_report;
  std::function<void(const ValidationMetrics&)> on_validation;
  std::function<void(const std::filesystem::path&)> on_save;  // the adapter file
  std::function<bool()> stop;                                 // asked after every iteration; true: save and end
};

// Why run() returned.
enum class TrainEnd : uint8_t { finished, early_stop, stopped };

class Trainer {
 public:
  // All must outlive it; `valid` may be null. Throws Error(usage) where there is less to train on than a batch.
  Trainer(Qwen3& model, Parameters& parameters, const TrainConfig& config, const Dataset& train, const Dataset* valid);

  // Values, the optimiser's state and the position in the data from a numbered adapter file, "0000100_adapters
  // .safetensors", and the state beside it. Returns the number of iterations done: those of whole updates. Throws
  // Error(bad_file).
  int resume(const std::filesystem::path& adapter_file);
  // Throws Error(io), Error(bad_file) for a loss that is not finite.
  TrainEnd run(const TrainerEvents& events);
  // Mean loss of a data set's targets, of at most `batches` batches (-1: all), in nats. `stop` is asked after each
  // batch; nothing where it said true.
  std::optional<double> loss(const Dataset& data, int batches, const std::function<bool()>& stop);

 private:
  const std::vector<size_t>& batch_at(int iteration);
  TrainBatch make_batch(const Dataset& data, const std::vector<size_t>& indices) const;
  bool validate(int iteration, const TrainerEvents& events);
  void save(int iteration, const TrainerEvents& events);

  Parameters& parameters_;
  const TrainConfig& config_;
  const Dataset& train_;
  const Dataset* valid_;
  Optimizer optimizer_;
  Backward backward_;
  const LearningRate rate_;
  std::vector<std::vector<size_t>> batches_;  // of epoch_
  int64_t epoch_ = -1;
  int done_ = 0;
  int64_t trained_tokens_ = 0;
  int64_t updated_tokens_ = 0;                             // trained_tokens_ at the last update
  double best_ = std::numeric_limits<double>::infinity();  // validation loss
  int worse_ = 0;                                          // validations since
};

}  // namespace inkstone
