// Configuration files of mlx_lm's: what they say, and what is wrong with them.
#include "train/train_config.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/format/temporary_folder.h"
#include "train/yaml.h"

namespace inkstone {
namespace {

// In the style of the example that mlx_lm ships.
constexpr const char* kExample = R"(# The path to the local model directory or Hugging Face repo.
model: "models/qwen3"

train: true
fine_tune_type: dora
optimizer: adamw
optimizer_config:
  adam: {}
  adamw:
    betas: [0.9, 0.98]
    eps: 1e-6
    weight_decay: 0.05
    bias_correction: true
  sgd: {}
  muon: {}

data: "data/wikisql"
seed: 9223372036854775807
num_layers: -1
batch_size: 2
iters: 500
val_batches: 5
learning_rate: 1e-4
# wandb: "wandb-project"
report_to: null
trust_remote_code: false
steps_per_report: 5
steps_per_eval: 50
resume_adapter_file: ~
adapter_path: "out"
save_every: 50
test: off
test_batches: 100
max_seq_length: 512
grad_checkpoint: Yes
grad_accumulation_steps: 4
mask_prompt: true

lora_parameters:
  keys: ["self_attn.q_proj", "self_attn.v_proj"]
  rank: 16
  scale: 10.0
  dropout: 0.0

lr_schedule:
  name: cosine_decay
  warmup: 100
  warmup_init: 1e-7
  arguments: [1e-5, 1000, 1e-7]
max_grad_norm: 1
early_stop: 3
)";

TEST(TrainConfig, TheExampleOfTheReference) {
  const TrainConfig c = parse_train_config(kExample, "lora.yaml");
  EXPECT_EQ(c.model, "models/qwen3");
  EXPECT_TRUE(c.train);
  EXPECT_FALSE(c.test);
  EXPECT_EQ(c.fine_tune_type, FineTuneType::dora);
  EXPECT_EQ(c.optimizer, OptimizerKind::adamw);
  EXPECT_FLOAT_EQ(c.optimizer_config().beta1, 0.9f);
  EXPECT_FLOAT_EQ(c.optimizer_config().beta2, 0.98f);
  EXPECT_FLOAT_EQ(c.optimizer_config().eps, 1e-6f);
  EXPECT_FLOAT_EQ(c.optimizer_config().weight_decay, 0.05f);
  EXPECT_TRUE(c.optimizer_config().bias_correction);
  EXPECT_EQ(c.data, "data/wikisql");
  EXPECT_EQ(c.seed, static_cast<uint64_t>(INT64_MAX));
  EXPECT_EQ(c.num_layers, -1);
  EXPECT_EQ(c.batch_size, 2);
  EXPECT_EQ(c.iters, 500);
  EXPECT_EQ(c.val_batches, 5);
  EXPECT_DOUBLE_EQ(c.learning_rate, 1e-4);
  EXPECT_EQ(c.resume_adapter_file, "");
  EXPECT_EQ(c.adapter_path, "out");
  EXPECT_EQ(c.max_seq_length, 512);
  EXPECT_TRUE(c.grad_checkpoint);
  EXPECT_EQ(c.grad_accumulation_steps, 4);
  EXPECT_TRUE(c.mask_prompt);
  EXPECT_EQ(c.lora_parameters.keys, (std::vector<std::string>{"self_attn.q_proj", "self_attn.v_proj"}));
  EXPECT_EQ(c.lora_parameters.rank, 16);
  EXPECT_FLOAT_EQ(c.lora_parameters.scale, 10);
  ASSERT_TRUE(c.lr_schedule);
  EXPECT_EQ(c.lr_schedule->kind, ScheduleKind::cosine_decay);
  EXPECT_EQ(c.lr_schedule->arguments, (std::vector<double>{1e-5, 1000, 1e-7}));
  EXPECT_EQ(c.lr_schedule->warmup, 100);
  EXPECT_FLOAT_EQ(c.schedule().at(0), 1e-7f);
  EXPECT_FLOAT_EQ(c.schedule().at(100), 1e-5f);
  EXPECT_DOUBLE_EQ(c.max_grad_norm, 1);
  EXPECT_EQ(c.early_stop, 3);
}

TEST(TrainConfig, DefaultsAreTheReferences) {
  for (const char* text : {"", "# nothing\n", "seed: 0\n"}) {
    const TrainConfig c = parse_train_config(text, "empty.yaml");
    EXPECT_EQ(c.fine_tune_type, FineTuneType::lora);
    EXPECT_EQ(c.optimizer, OptimizerKind::adam);
    EXPECT_EQ(c.num_layers, 16);
    EXPECT_EQ(c.batch_size, 4);
    EXPECT_EQ(c.iters, 1000);
    EXPECT_DOUBLE_EQ(c.learning_rate, 1e-5);
    EXPECT_EQ(c.lora_parameters.rank, 8);
    EXPECT_FLOAT_EQ(c.lora_parameters.scale, 20);
    EXPECT_FLOAT_EQ(c.schedule().at(7), 1e-5f);
  }
  EXPECT_FLOAT_EQ(parse_train_config("optimizer: adamw", "").optimizer_config().weight_decay, 0.01f);
}

// The message after "f: ".
std::string refusal(std::string_view yaml, Errc expected = Errc::bad_file) {
  const auto [code, message] = error_of([&] { parse_train_config(yaml, "f"); });
  EXPECT_EQ(code, expected) << message;
  return message.starts_with("f: ") ? message.substr(3) : message;
}

TEST(TrainConfig, WhatIsWrongIsSaidWithKeyAndLine) {
  EXPECT_EQ(refusal("\niterations: 5\n"), "line 2: iterations: unknown option");
  EXPECT_EQ(refusal("lora_parameters:\n  rank: 8\n  alpha: 16\n"), "line 3: lora_parameters.alpha: unknown option");
  EXPECT_EQ(refusal("iters: many"), "line 1: iters: found many, expected a whole number from 1 to 1000000000");
  EXPECT_EQ(refusal("iters: 1.0"), "line 1: iters: found 1.0, expected a whole number from 1 to 1000000000");
  EXPECT_EQ(refusal("iters: \"5\""), "line 1: iters: found \"5\", expected a whole number from 1 to 1000000000");
  EXPECT_EQ(refusal("iters: 017"), "line 1: iters: found 017, expected a whole number from 1 to 1000000000");
  EXPECT_EQ(refusal("iters: 0"), "line 1: iters: found 0, expected a whole number from 1 to 1000000000");
  EXPECT_EQ(refusal("iters: [1]"), "line 1: iters: found a list, expected a whole number from 1 to 1000000000");
  EXPECT_EQ(refusal("iters: 99999999999999999999"),
            "line 1: iters: found 99999999999999999999, expected a whole number from 1 to 1000000000");
  EXPECT_EQ(refusal("seed: -1"), "line 1: seed: found -1, expected a whole number from 0 to 9223372036854775807");
  EXPECT_EQ(refusal("learning_rate: .nan"), "line 1: learning_rate: found .nan, expected a number from 0 to 1000000");
  EXPECT_EQ(refusal("learning_rate: 1e-5x"), "line 1: learning_rate: found 1e-5x, expected a number from 0 to 1000000");
  EXPECT_EQ(refusal("train: 1"), "line 1: train: found 1, expected true or false");
  EXPECT_EQ(refusal("train: \"true\""), "line 1: train: found \"true\", expected true or false");
  EXPECT_EQ(refusal("data: {a: b}"), "line 1: data: found a mapping, expected a string");
  EXPECT_EQ(refusal("- iters"), "line 1: found a list, expected a mapping of names to values");
  EXPECT_EQ(refusal("iters"), "line 1: found iters, expected a mapping of names to values");
  EXPECT_EQ(refusal("lora_parameters:\n  keys: []"),
            "line 2: lora_parameters.keys: found a list, expected a list of the modules of a layer, such as "
            "self_attn.q_proj");
  EXPECT_EQ(refusal("lr_schedule:\n  name: cosine\n  arguments: [1, 2]"),
            "line 2: lr_schedule.name: found cosine, expected cosine_decay, linear_schedule, exponential_decay or "
            "step_decay");
  EXPECT_EQ(refusal("lr_schedule:\n  arguments: [1, 2]"), "line 1: lr_schedule.name: missing");
  EXPECT_EQ(refusal("lr_schedule:\n  name: step_decay\n  arguments: [1, 2]"),
            "line 1: lr_schedule: arguments: found 2, expected 3 (init, decay_rate, step_size)");
  EXPECT_EQ(refusal("optimizer_config: {adam: {betas: [0.9]}}"),
            "line 1: optimizer_config.adam.betas: found a list, expected two numbers from 0 to below 1");
  EXPECT_EQ(refusal("optimizer_config: {adam: {weight_decay: 1}}"),
            "line 1: optimizer_config.adam.weight_decay: unknown option");
}

TEST(TrainConfig, WhatIsNotDoneHereIsUnsupported) {
  EXPECT_NE(refusal("optimizer: muon", Errc::unsupported).find("adam, adamw or sgd"), std::string::npos);
  EXPECT_NE(refusal("fine_tune_type: galore", Errc::unsupported).find("lora, dora or full"), std::string::npos);
  EXPECT_NE(refusal("lora_parameters: {dropout: 0.1}", Errc::unsupported).find("dropout"), std::string::npos);
  EXPECT_NE(refusal("report_to: wandb", Errc::unsupported).find("report_to"), std::string::npos);
  EXPECT_NE(refusal("optimizer_config: {muon: {momentum: 0.9}}", Errc::unsupported).find("muon"), std::string::npos);
}

TEST(TrainConfig, HostileFiles) {
  EXPECT_EQ(refusal("a: &x 1\nb: *x\n"), "line 1: found the anchor &x, expected none");
  EXPECT_EQ(refusal("iters: *x").substr(0, 6), "line 1");
  EXPECT_NE(refusal("iters: !!python/object:os.system 5").find("tag"), std::string::npos);
  EXPECT_EQ(refusal("iters: 5\niters: 6"), "line 2: iters: found again, expected once (line 1)");
  EXPECT_EQ(refusal("iters: 5\n---\niters: 6\n"), "found several documents, expected one");
  EXPECT_EQ(refusal("? [a]\n: b"), "line 1: found a list or mapping as a key, expected a word");
  EXPECT_TRUE(refusal("iters: [5\n").starts_with("line "));
  EXPECT_TRUE(refusal("iters: \"5\n").starts_with("line "));
  EXPECT_TRUE(refusal("\titers: 5\n").starts_with("line "));
  EXPECT_TRUE(refusal(std::string("iters: 5\n\0", 10)).starts_with("line 2"));
  EXPECT_FALSE(refusal("a: " + std::string(10000, '[')).empty());
  EXPECT_FALSE(refusal("a: " + std::string(10000, '{')).empty());
  std::string lists = "a: ";
  for (int i = 0; i < 20; ++i) lists += "[";
  for (int i = 0; i < 20; ++i) lists += "]";
  EXPECT_EQ(refusal(lists), "line 1: found more than 16 levels");
  EXPECT_NE(refusal(std::string(70000, '#')).find("70000 bytes"), std::string::npos);
  std::string many;
  for (int i = 0; i < 2000; ++i) many += fmt::format("k{}: 1\n", i);
  EXPECT_EQ(refusal(many), "line 1001: found more than 1000 keys");
}

TEST(TrainConfig, JsonSaysItAgain) {
  const TrainConfig c = parse_train_config(kExample, "lora.yaml");
  const Json json = train_config_json(c);
  std::string previous;
  for (const auto& [key, value] : json.as_object()) {
    EXPECT_LT(previous, key);  // sorted, as mlx_lm writes them
    previous = key;
  }
  // JSON is YAML: read again it is the same.
  const TrainConfig again = parse_train_config(json.dump(2), "adapter_config.json");
  EXPECT_EQ(train_config_json(again), json);
  EXPECT_EQ(json.find("lora_parameters")->dump(),
            R"({"rank": 16, "dropout": 0.0, "scale": 10.0, "keys": ["self_attn.q_proj", "self_attn.v_proj"]})");
  EXPECT_EQ(
      json.find("optimizer_config")->dump(),
      R"({"adam": {}, "adamw": {"betas": [0.9, 0.98], "bias_correction": true, "eps": 1e-06, "weight_decay": 0.05}, "sgd": {}})");
  // And the adapter reader understands it.
  const AdapterConfig adapter = parse_adapter_config(json.dump(4), "adapter_config.json");
  EXPECT_EQ(adapter.fine_tune_type, FineTuneType::dora);
  EXPECT_EQ(adapter.rank, 16);
  EXPECT_EQ(adapter.num_layers, -1);
  EXPECT_EQ(adapter.keys.size(), 2u);
}

TEST(TrainConfig, AMissingFileIsNotFound) {
  const TemporaryFolder folder;
  EXPECT_EQ(error_of([&] { load_train_config(folder / "lora.yaml"); }).first, Errc::not_found);
}

}  // namespace
}  // namespace inkstone
