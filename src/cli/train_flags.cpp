#include "cli/train_flags.h"

#include <CLI/CLI.hpp>

namespace inkstone {
namespace {

constexpr int kMany = 1'000'000'000;

}  // namespace

void TrainFlags::add_to(CLI::App& verb) {
  // A flag is remembered as what it changes: the file is read when the command line is known.
  const auto value = [&]<class T>(const char* names, T TrainConfig::*field, const char* text) {
    return verb.add_option_function<T>(
        names, [this, field](const T& given) { changes_.emplace_back([=](TrainConfig& c) { c.*field = given; }); },
        text);
  };
  const auto flag = [&](const char* names, bool TrainConfig::*field, const char* text) {
    verb.add_flag_callback(
        names, [this, field] { changes_.emplace_back([=](TrainConfig& c) { c.*field = true; }); }, text);
  };
  const CLI::Range positive(1, kMany), or_all(-1, kMany);
  verb.add_option("-c,--config", file_, "YAML file with these options, as mlx_lm's; the command line wins");
  value("-m,--model", &TrainConfig::model, "Folder or name of the model");
  flag("--train", &TrainConfig::train, "Train");
  value("--data", &TrainConfig::data, "Folder with {train,valid,test}.jsonl (default: data)");
  verb.add_option_function<std::string>(
          "--fine-tune-type",
          [this](const std::string& name) {
            changes_.emplace_back([=](TrainConfig& c) { c.fine_tune_type = parse_fine_tune_type(name); });
          },
          "lora, dora or full (default: lora)")
      ->check(CLI::IsMember({"lora", "dora", "full"}));
  verb.add_option_function<std::string>(
      "--optimizer",
      [this](const std::string& name) {
        changes_.emplace_back([=](TrainConfig& c) { c.optimizer = parse_optimizer(name); });
      },
      "adam, adamw or sgd (default: adam)");
  flag("--mask-prompt", &TrainConfig::mask_prompt, "Train on the answers only");
  value("--num-layers", &TrainConfig::num_layers, "Layers to tune, from the last; -1: all (default: 16)")
      ->check(or_all);
  value("--batch-size", &TrainConfig::batch_size, "Examples a step (default: 4)")->check(positive);
  value("--iters", &TrainConfig::iters, "Steps (default: 1000)")->check(positive);
  value("--val-batches", &TrainConfig::val_batches, "Batches of a validation; -1: all (default: 25)")->check(or_all);
  value("--learning-rate", &TrainConfig::learning_rate, "Learning rate (default: 1e-5)");
  value("--steps-per-report", &TrainConfig::steps_per_report, "Steps between reports (default: 10)")->check(positive);
  value("--steps-per-eval", &TrainConfig::steps_per_eval, "Steps between validations (default: 200)")->check(positive);
  value("--resume-adapter-file", &TrainConfig::resume_adapter_file, "Goes on from these weights");
  value("--adapter-path", &TrainConfig::adapter_path, "Folder of the adapter (default: adapters)");
  value("--save-every", &TrainConfig::save_every, "Steps between saved adapters (default: 100)")->check(positive);
  flag("--test", &TrainConfig::test, "Measure the loss on test.jsonl at the end");
  value("--test-batches", &TrainConfig::test_batches, "Batches of the test; -1: all (default: 500)")->check(or_all);
  value("--max-seq-length", &TrainConfig::max_seq_length, "Longer examples are cut, in tokens (default: 2048)")
      ->check(CLI::Range(2, kMany));
  flag("--grad-checkpoint", &TrainConfig::grad_checkpoint, "Compute activations again instead of keeping them");
  value("--grad-accumulation-steps", &TrainConfig::grad_accumulation_steps, "Batches an update (default: 1)")
      ->check(positive);
  value("--seed", &TrainConfig::seed, "Seed of the random numbers (default: 0)");
  value("--max-grad-norm", &TrainConfig::max_grad_norm, "Shortens longer gradients to this; 0: off (default)");
  value("--early-stop", &TrainConfig::early_stop,
        "Ends after this many validations without a better loss; 0: off (default)")
      ->check(CLI::Range(0, kMany));
}

TrainConfig TrainFlags::config() const {
  TrainConfig config = file_.empty() ? TrainConfig{} : load_train_config(file_);
  for (const auto& change : changes_) change(config);
  config.validate();
  return config;
}

}  // namespace inkstone
