#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <memory>
#include <tuple>

#include "base/mapped_file.h"
#include "base/system.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "cli/train_flags.h"
#include "cli/verbs.h"
#include "engine/language_model.h"
#include "format/atomic_file.h"
#include "format/shapes.h"
#include "train/loss_curve.h"
#include "train/trainer.h"

namespace inkstone {
namespace {

struct Flags {
  TrainFlags train;
  DeviceOptions device;
  bool f32 = false;
  bool resume = false;
};

// "1 h 20 min", "3 min", "12 s"
std::string duration(double seconds) {
  const int64_t whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 3600) return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
  return whole >= 120 ? fmt::format("{} min", whole / 60) : fmt::format("{} s", whole);
}

std::optional<Dataset> load(const LanguageModel& model, const TrainConfig& config, const char* name, bool required) {
  const std::filesystem::path file = std::filesystem::path(config.data) / name;
  if (std::error_code error; !required && !std::filesystem::exists(file, error)) return std::nullopt;
  const DatasetText text{&model.tokenizer(), model.has_chat_template() ? &model.chat_template() : nullptr,
                         load_eos_token(model.folder(), model.tokenizer()).value_or(-1),
                         model.model().config().vocab_size};
  Dataset data = load_dataset(file, text, {config.max_seq_length, config.mask_prompt});
  if (data.truncated > 0)
    fmt::print(stderr,
               "inkstone: {}: {} of {} examples are longer than {} tokens (the longest {}) and were cut: "
               "--max-seq-length\n",
               file.string(), data.truncated, data.examples.size(), config.max_seq_length, data.longest);
  if (data.left_out > 0)
    fmt::print(stderr,
               "inkstone: {}: {} more examples were left out: their prompts alone fill {} tokens: --max-seq-length\n",
               file.string(), data.left_out, config.max_seq_length);
  return data;
}

// The numbered adapter of a folder that was written last: larger numbers may be those of an older training.
std::filesystem::path newest_checkpoint(const std::filesystem::path& folder) {
  std::filesystem::path newest;
  std::filesystem::file_time_type written{};
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
    if (digits == 0 || name.substr(digits) != "_adapters.safetensors") continue;
    const auto time = std::filesystem::last_write_time(entry.path(), error);
    if (newest.empty() || std::pair(time, entry.path()) > std::pair(written, newest))
      std::tie(newest, written) = std::pair(entry.path(), time);
  }
  if (newest.empty())
    fail(Errc::not_found, "{}: found no numbered adapter, expected 0000100_adapters.safetensors or the like",
         folder.string());
  return newest;
}

Parameters parameters_of(Qwen3& model, const TrainConfig& config) {
  if (config.fine_tune_type == FineTuneType::full) return Parameters::weights(model, config.num_layers);
  AdapterConfig adapter;
  adapter.fine_tune_type = config.fine_tune_type;
  adapter.num_layers = config.num_layers;
  adapter.rank = config.lora_parameters.rank;
  adapter.scale = config.lora_parameters.scale;
  adapter.keys = config.lora_parameters.keys;
  return Parameters::adapters(model, adapter, config.seed);
}

// What is tested without training: the adapter that is there, with its own options.
void take_adapter(TrainConfig& config) {
  const std::filesystem::path file = std::filesystem::path(config.adapter_path) / kAdapterConfigFile;
  const AdapterConfig adapter = parse_adapter_config(read_file(file, 16 << 20), file.string());
  config.fine_tune_type = adapter.fine_tune_type;
  config.num_layers = adapter.num_layers;
  if (adapter.fine_tune_type == FineTuneType::full) return;
  config.lora_parameters.rank = adapter.rank;
  config.lora_parameters.scale = adapter.scale;
  config.lora_parameters.keys = adapter.keys;
}

TrainerEvents printed_events(MetricsFile& file) {
  TrainerEvents events;
  events.on_report = [&file](const TrainMetrics& m, double seconds_left) {
    std::printf(
        "iteration %lld: train loss %.3f, learning rate %.2e, %.2f iterations/s, %.0f tokens/s, %.1f GB, %s left\n",
        static_cast<long long>(m.iteration), m.train_loss, m.learning_rate, m.iterations_per_second,
        m.tokens_per_second, m.peak_memory, duration(seconds_left).c_str());
    std::fflush(stdout);
    file.append(m);
  };
  events.on_validation = [&file](const ValidationMetrics& m) {
    std::printf("iteration %lld: validation loss %.3f, %s\n", static_cast<long long>(m.iteration), m.val_loss,
                duration(m.val_time).c_str());
    std::fflush(stdout);
    file.append(m);
  };
  events.on_save = [](const std::filesystem::path& path) {
    std::printf("saved %s\n", path.string().c_str());
    std::fflush(stdout);
  };
  events.stop = [] { return InterruptGuard::interrupted(); };
  return events;
}

// Metrics, and a curve of them, stand beside the adapter.
TrainEnd run(Trainer& trainer, const TrainConfig& config, int done) {
  const std::filesystem::path folder = config.adapter_path, metrics = folder / "metrics.jsonl";
  write_adapter_config(folder, train_config_json(config));
  keep_metrics(metrics, done);
  MetricsFile file(metrics);
  const TrainEnd end = trainer.run(printed_events(file));
  write_file_atomically(folder / "loss.svg", loss_curve_svg(load_metrics(metrics), config.model + ": loss"));
  return end;
}

void run_train(const Flags& flags) {
  TrainConfig config = flags.train.config();
  if (!config.train && !config.test) fail(Errc::usage, "found neither --train nor --test, expected one or both");
  if (config.model.empty()) fail(Errc::usage, "--model: missing");
  if (config.train && config.adapter_path.empty()) fail(Errc::usage, "--adapter-path: missing");
  const bool tuned = !config.train && !config.adapter_path.empty();  // only the test, of what was trained before
  if (tuned) take_adapter(config);
  LoadOptions options;
  options.device = flags.device;
  if (flags.f32) options.device.precision = Precision::f32;
  ModelFlags named;
  named.model = config.model;
  LanguageModel language(named.folder(), options);
  Qwen3& model = dynamic_cast<Qwen3&>(language.model());
  config.num_layers = std::min(config.num_layers, model.config().num_hidden_layers);
  const std::optional<Dataset> valid = load(language, config, "valid.jsonl", false);
  const std::optional<Dataset> test = config.test ? load(language, config, "test.jsonl", true) : std::nullopt;
  const std::optional<Dataset> train = load(language, config, "train.jsonl", config.train);
  Parameters parameters = parameters_of(model, config);
  std::printf("%s, %s: %.3f of %.1f million parameters learn (%s)\n", config.model.c_str(),
              language.device().description().c_str(), static_cast<double>(parameters.count()) * 1e-6,
              static_cast<double>(parameter_count(model.config())) * 1e-6, fine_tune_name(config.fine_tune_type));
  Trainer trainer(model, parameters, config, train ? *train : *test, valid ? &*valid : nullptr);
  int done = 0;
  if (flags.resume) {
    const std::filesystem::path checkpoint = newest_checkpoint(config.adapter_path);
    done = trainer.resume(checkpoint);
    std::printf("going on from %s after %d iterations\n", checkpoint.c_str(), done);
    if (done >= config.iters) std::printf("nothing is left to do: --iters is %d\n", config.iters);
  } else if (tuned || !config.resume_adapter_file.empty()) {
    const std::string file =
        tuned ? (std::filesystem::path(config.adapter_path) / kAdapterFile).string() : config.resume_adapter_file;
    parameters.load(Safetensors(file));
    std::printf("with the weights of %s\n", file.c_str());
  }
  const InterruptGuard guard;
  TrainEnd end = TrainEnd::finished;
  if (config.train && done < config.iters) end = run(trainer, config, done);
  if (end == TrainEnd::early_stop)
    std::printf("stopped: no better validation loss in %d validations\n", config.early_stop);
  if (end == TrainEnd::stopped) fail(Errc::interrupted, "interrupted; saved: the same command with --resume goes on");
  if (test) {
    const std::optional<double> loss =
        trainer.loss(*test, config.test_batches, [] { return InterruptGuard::interrupted(); });
    if (!loss) fail(Errc::interrupted, "interrupted");
    std::printf("test loss %.3f, perplexity %.3f\n", *loss, std::exp(*loss));
  }
}

}  // namespace

void add_train(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("train", "Fine-tune a model: LoRA, DoRA or all weights");
  flags->train.add_to(*verb);
  verb->add_flag("--resume", flags->resume, "Goes on from the newest numbered adapter in --adapter-path");
  verb->add_option("-t,--threads", flags->device.threads, "Threads (default: all processors)")
      ->check(CLI::Range(1, 1024));
  verb->add_option_function<std::string>(
          "--precision", [flags](const std::string& name) { flags->f32 = name == "f32"; },
          "fast, or f32: products in float32 on every machine")
      ->check(CLI::IsMember({"fast", "f32"}));
  verb->callback([flags] { run_train(*flags); });
}

}  // namespace inkstone
