#include "cli/bench_model.h"

#include <stdlib.h>

#include <chrono>

#include "base/system.h"
#include "cli/terminal.h"
#include "format/shapes.h"
#include "model/workspace.h"

namespace inkstone {
namespace {

// A folder of its own, gone with its object: in memory if there is room, else where temporary files go.
class ScratchFolder {
 public:
  explicit ScratchFolder(uint64_t bytes) {
    std::string parents;
    for (const std::filesystem::path& parent : {std::filesystem::path("/dev/shm"), temporary_folder()}) {
      std::error_code error;
      const std::filesystem::space_info space = std::filesystem::space(parent, error);
      std::string pattern = (parent / "inkstone-bench-XXXXXX").string();
      if (!error && space.available >= bytes && ::mkdtemp(pattern.data()) != nullptr) {
        path_ = pattern;
        return;
      }
      parents += (parents.empty() ? "" : ", ") + parent.string();
    }
    fail(Errc::io, "{}: expected room for a folder of {:.2f} GB", parents, static_cast<double>(bytes) / 1e9);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  static std::filesystem::path temporary_folder() {
    std::error_code error;
    const std::filesystem::path path = std::filesystem::temp_directory_path(error);
    return error ? "/tmp" : path;
  }

  std::filesystem::path path_;
};

using NamedBytes = std::vector<std::pair<std::string_view, double>>;

WeightBytes weight_bytes_of(const ModelConfig& config, const std::vector<TensorSpec>& tensors) {
  NamedBytes list;
  for (const TensorSpec& tensor : tensors) list.emplace_back(tensor.name, static_cast<double>(tensor.bytes()));
  return weight_bytes(config, list);
}

uint64_t total_bytes(const std::vector<TensorSpec>& tensors) {
  uint64_t sum = 0;
  for (const TensorSpec& tensor : tensors) sum += tensor.bytes();
  return sum;
}

void check_fits(const std::string& name, const ModelConfig& config, uint64_t weights, const LoadOptions& options,
                const BenchmarkPlan& plan) {
  if (plan.context() > config.max_position_embeddings)
    fail(Errc::context_length, "{}: found {} tokens in one conversation, expected at most {}", name, plan.context(),
         config.max_position_embeddings);
  const auto device = open_device(options.device);
  const uint64_t cache = static_cast<uint64_t>(plan.blocks()) * kKvBlockTokens *
                         static_cast<uint64_t>(KvCache::bytes_per_token(config, device->kv_format()));
  const uint64_t activations = workspace_bytes(*device, config, plan.rows(), plan.logit_rows());
  const uint64_t available = memory_info().available;
  if (weights + cache + activations > available)
    fail(Errc::out_of_memory,
         "{}: weights {:.2f} GB, KV cache and activations {:.2f} GB: found {:.2f} GB of memory available", name,
         static_cast<double>(weights) / 1e9, static_cast<double>(cache + activations) / 1e9,
         static_cast<double>(available) / 1e9);
}

void load(BenchModel& bench, const std::filesystem::path& folder, const LoadOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  bench.model = std::make_unique<LanguageModel>(folder, options);
  bench.load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

BenchModel open_bench_model(const std::filesystem::path& folder, const LoadOptions& options,
                            const BenchmarkPlan& plan) {
  BenchModel bench;
  bench.name = folder.string();
  check_fits(bench.name, load_model_config(folder), Checkpoint(folder).bytes(), options, plan);
  load(bench, folder, options);
  NamedBytes tensors;
  for (const auto& [name, tensor] : bench.model->checkpoint().tensors())
    tensors.emplace_back(name, static_cast<double>(tensor.bytes()));
  bench.whole = bench.model->config();
  bench.weights = bench.whole_weights = weight_bytes(bench.whole, tensors);
  return bench;
}

BenchModel make_bench_model(const std::string& shape, RandomCheckpointOptions weights, int layers,
                            const LoadOptions& options, const BenchmarkPlan& plan) {
  BenchModel bench;
  bench.name = shape;
  weights.config = shape_config(shape);
  bench.whole = random_checkpoint_config(weights);
  bench.whole_weights = weight_bytes_of(bench.whole, model_tensors(bench.whole, weights.dtype));
  if (layers > bench.whole.num_hidden_layers)
    fail(Errc::usage, "--layers {}: expected at most the {} of {}", layers, bench.whole.num_hidden_layers, shape);
  if (layers > 0) weights.config.num_hidden_layers = layers;
  const ModelConfig config = random_checkpoint_config(weights);
  const std::vector<TensorSpec> tensors = model_tensors(config, weights.dtype);
  bench.weights = weight_bytes_of(config, tensors);
  check_fits(bench.name, config, total_bytes(tensors), options, plan);

  ProgressLine progress;
  progress.show(fmt::format("drawing {} of random weights", human_bytes(static_cast<double>(total_bytes(tensors)))));
  weights.on_piece = [] {
    if (InterruptGuard::interrupted()) fail(Errc::interrupted, "interrupted");
  };
  constexpr uint64_t kOtherFiles = uint64_t{32} << 20;  // the tokenizer above all
  const ScratchFolder folder(total_bytes(tensors) + kOtherFiles);
  write_random_checkpoint(folder.path(), weights);
  load(bench, folder.path(), options);
  return bench;
}

}  // namespace inkstone
