#include "train/train_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/mapped_file.h"
#include "train/yaml.h"

namespace inkstone {
namespace {

constexpr int64_t kMany = 1'000'000'000;
constexpr double kLargest = 1e6;  // of numbers of which nobody needs more
constexpr int kMaxRank = 65536;
constexpr OptimizerKind kOptimizers[] = {OptimizerKind::adam, OptimizerKind::adamw, OptimizerKind::sgd};

// A mapping of the file. Each key that is taken is crossed out; finish() refuses the first that is left.
class Fields {
 public:
  Fields(const YamlNode& node, std::string_view origin, std::string path)
      : origin_(origin), path_(std::move(path)), line_(node.line) {
    if (node.kind != YamlNode::Kind::mapping) reject(node, "a mapping of names to values");
    for (size_t i = 0; i < node.keys.size(); ++i) left_.emplace_back(&node.keys[i], &node.items[i]);
  }

  // The value of a key, which is crossed out; nullptr where it is absent or null.
  const YamlNode* take(std::string_view key) {
    const auto found = std::find_if(left_.begin(), left_.end(), [&](const auto& entry) { return *entry.first == key; });
    if (found == left_.end()) return nullptr;
    const YamlNode* value = found->second;
    left_.erase(found);
    return value->kind == YamlNode::Kind::null ? nullptr : value;
  }

  template <class T>
  void integer(std::string_view key, T& target, int64_t lowest, int64_t highest) {
    if (const YamlNode* node = take(key)) target = static_cast<T>(integer_of(key, *node, lowest, highest));
  }
  template <class T>
  void number(std::string_view key, T& target, double lowest, double highest) {
    if (const YamlNode* node = take(key)) target = static_cast<T>(number_of(key, *node, lowest, highest));
  }
  void boolean(std::string_view key, bool& target) {
    const YamlNode* node = take(key);
    if (node == nullptr) return;
    static const std::map<std::string, bool, std::less<>> kWords{{"true", true},   {"yes", true}, {"on", true},
                                                                 {"false", false}, {"no", false}, {"off", false}};
    std::string word = node->text;
    for (char& c : word) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    const auto found = kWords.find(word);
    if (node->kind != YamlNode::Kind::scalar || node->quoted || found == kWords.end())
      reject(key, *node, "true or false");
    target = found->second;
  }
  void text(std::string_view key, std::string& target) {
    const YamlNode* node = take(key);
    if (node == nullptr) return;
    if (node->kind != YamlNode::Kind::scalar || node->text.empty()) reject(key, *node, "a string");
    if (node->text.find('\0') != std::string::npos) reject(key, *node, "a string without zero bytes");
    target = node->text;
  }
  std::vector<double> numbers(std::string_view key, const YamlNode& node) const {
    if (node.kind != YamlNode::Kind::list) reject(key, node, "a list of numbers");
    std::vector<double> list;
    for (const YamlNode& item : node.items) {
      if (list.size() >= 16) reject(key, node, "at most 16 numbers");
      list.push_back(number_of(key, item, -1e12, 1e12));
    }
    return list;
  }

  [[noreturn]] void reject(std::string_view key, const YamlNode& node, std::string_view expected) const {
    fail(Errc::bad_file, "{}: line {}: {}: found {}, expected {}", origin_, node.line, name_of(key), described(node),
         expected);
  }
  [[noreturn]] void unsupported(std::string_view key, const YamlNode& node, std::string_view why) const {
    fail(Errc::unsupported, "{}: line {}: {}: found {}: {}", origin_, node.line, name_of(key), described(node), why);
  }
  std::string where() const { return fmt::format("{}: line {}: {}", origin_, line_, path_); }
  Fields inside(std::string_view key, const YamlNode& node) const { return {node, origin_, name_of(key)}; }

  void finish() const {
    if (left_.empty()) return;
    fail(Errc::bad_file, "{}: line {}: {}: unknown option", origin_, left_[0].second->line,
         name_of(left_[0].first->substr(0, 80)));
  }

 private:
  std::string name_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  }
  static std::string described(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::scalar) return node.kind_name();
    return node.quoted ? json_quote(node.text.substr(0, 80)) : node.text.substr(0, 80);
  }
  [[noreturn]] void reject(const YamlNode& node, std::string_view expected) const {
    fail(Errc::bad_file, "{}: line {}: {}found {}, expected {}", origin_, node.line, path_.empty() ? "" : path_ + ": ",
         described(node), expected);
  }

  // The whole text as a number. A leading zero is octal for one reader of YAML and not for the next: refused.
  template <class T>
  static bool parse(const YamlNode& node, T& value) {
    if (node.kind != YamlNode::Kind::scalar || node.quoted) return false;
    std::string_view text = node.text;
    if (text.starts_with('+')) text.remove_prefix(1);
    const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
    if (digits.size() > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') return false;
    if (digits.empty() || !((digits[0] >= '0' && digits[0] <= '9') || digits[0] == '.')) return false;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
  }
  int64_t integer_of(std::string_view key, const YamlNode& node, int64_t lowest, int64_t highest) const {
    int64_t value = 0;
    if (!parse(node, value) || value < lowest || value > highest)
      reject(key, node, fmt::format("a whole number from {} to {}", lowest, highest));
    return value;
  }
  double number_of(std::string_view key, const YamlNode& node, double lowest, double highest) const {
    double value = 0;
    if (!parse(node, value) || !(value >= lowest && value <= highest))
      reject(key, node, fmt::format("a number from {} to {}", lowest, highest));
    return value;
  }

  std::string_view origin_;
  std::string path_;
  int line_;
  std::vector<std::pair<const std::string*, const YamlNode*>> left_;
};

void read_optimizer(Fields fields, OptimizerKind kind, OptimizerConfig& config) {
  if (kind == OptimizerKind::sgd) {
    fields.number("momentum", config.momentum, 0, 1);
    fields.number("dampening", config.dampening, 0, 1);
    fields.boolean("nesterov", config.nesterov);
    fields.number("weight_decay", config.weight_decay, 0, kLargest);
    return fields.finish();
  }
  if (const YamlNode* betas = fields.take("betas")) {
    const std::vector<double> list = fields.numbers("betas", *betas);
    const auto fits = [](double beta) { return beta >= 0 && beta < 1; };
    if (list.size() != 2 || !fits(list[0]) || !fits(list[1]))
      fields.reject("betas", *betas, "two numbers from 0 to below 1");
    config.beta1 = static_cast<float>(list[0]);
    config.beta2 = static_cast<float>(list[1]);
  }
  fields.number("eps", config.eps, 0, 1);
  fields.boolean("bias_correction", config.bias_correction);
  if (kind == OptimizerKind::adamw) fields.number("weight_decay", config.weight_decay, 0, kLargest);
  fields.finish();
}

void read_optimizers(Fields& root, TrainConfig& config) {
  std::string name = optimizer_name(config.optimizer);
  root.text("optimizer", name);
  config.optimizer = parse_optimizer(name);
  const YamlNode* node = root.take("optimizer_config");
  if (node == nullptr) return;
  Fields all = root.inside("optimizer_config", *node);
  for (const OptimizerKind kind : kOptimizers)
    if (const YamlNode* own = all.take(optimizer_name(kind)))
      read_optimizer(all.inside(optimizer_name(kind), *own), kind, config.optimizer_configs[static_cast<size_t>(kind)]);
  for (const char* other : {"muon", "adafactor"})  // mlx_lm's files name them, mostly with nothing inside
    if (const YamlNode* own = all.take(other); own != nullptr && !own->items.empty())
      all.unsupported(other, *own, "there are adam, adamw and sgd");
  all.finish();
}

void read_schedule(Fields& root, TrainConfig& config) {
  const YamlNode* node = root.take("lr_schedule");
  if (node == nullptr) return;
  Fields fields = root.inside("lr_schedule", *node);
  ScheduleConfig schedule;
  const YamlNode* name = fields.take("name");
  if (name == nullptr) fail(Errc::bad_file, "{}.name: missing", fields.where());
  for (const ScheduleKind kind : {ScheduleKind::cosine_decay, ScheduleKind::linear_schedule,
                                  ScheduleKind::exponential_decay, ScheduleKind::step_decay})
    if (name->kind == YamlNode::Kind::scalar && name->text == schedule_name(kind)) schedule.kind = kind;
  if (schedule.kind == ScheduleKind::constant)
    fields.reject("name", *name, "cosine_decay, linear_schedule, exponential_decay or step_decay");
  if (const YamlNode* arguments = fields.take("arguments"))
    schedule.arguments = fields.numbers("arguments", *arguments);
  fields.integer("warmup", schedule.warmup, 0, kMany);
  fields.number("warmup_init", schedule.warmup_init, 0, kLargest);
  fields.finish();
  const std::string problem = schedule_problem(schedule);
  if (!problem.empty()) fail(Errc::bad_file, "{}: {}", fields.where(), problem);
  config.lr_schedule = std::move(schedule);
}

void read_lora(Fields& root, LoraParameters& lora) {
  const YamlNode* node = root.take("lora_parameters");
  if (node == nullptr) return;
  Fields fields = root.inside("lora_parameters", *node);
  fields.integer("rank", lora.rank, 1, kMaxRank);
  fields.number("dropout", lora.dropout, 0, 1);
  fields.number("scale", lora.scale, -kLargest, kLargest);
  if (const YamlNode* keys = fields.take("keys")) {
    if (keys->kind != YamlNode::Kind::list || keys->items.empty() || keys->items.size() > 1000)
      fields.reject("keys", *keys, "a list of the modules of a layer, such as self_attn.q_proj");
    for (const YamlNode& key : keys->items) {
      if (key.kind != YamlNode::Kind::scalar || key.text.empty())
        fields.reject("keys", key, "the name of a module, such as self_attn.q_proj");
      lora.keys.push_back(key.text);
    }
  }
  fields.finish();
}

// What mlx_lm knows and this program does not do: fine where it says "off", or changes no result.
void read_foreign(Fields& root) {
  root.take("trust_remote_code");
  root.take("clear_cache_threshold");
  for (const char* key : {"report_to", "project_name", "wandb", "hf_dataset", "config", "prompt_feature",
                          "completion_feature", "chat_feature", "text_feature"}) {
    const YamlNode* node = root.take(key);
    if (node == nullptr) continue;
    const bool off = node->kind == YamlNode::Kind::scalar && (node->text == "false" || node->text == "0");
    if (!off) root.unsupported(key, *node, "an option of mlx_lm's that does not exist here");
  }
}

double rounded(float value) {  // 1e-8f as the file would say it: 1e-08, not 9.99999993922529e-09
  double shortest = 0;
  const std::string text = fmt::format("{}", value);
  std::from_chars(text.data(), text.data() + text.size(), shortest);
  return shortest;
}

Json optimizer_json(OptimizerKind kind, const OptimizerConfig& config) {
  const OptimizerConfig usual = default_optimizers()[static_cast<size_t>(kind)];
  Json json = Json::Object();
  const auto say = [&](const char* key, float value, float otherwise) {
    if (value != otherwise) json[key] = rounded(value);
  };
  if (config.beta1 != usual.beta1 || config.beta2 != usual.beta2)
    json["betas"] = Json::Array{Json(rounded(config.beta1)), Json(rounded(config.beta2))};
  if (config.bias_correction) json["bias_correction"] = true;
  say("dampening", config.dampening, usual.dampening);
  say("eps", config.eps, usual.eps);
  say("momentum", config.momentum, usual.momentum);
  if (config.nesterov) json["nesterov"] = true;
  say("weight_decay", config.weight_decay, usual.weight_decay);
  return json;
}

Json schedule_json(const ScheduleConfig& schedule) {
  Json json;
  json["name"] = schedule_name(schedule.kind);
  json["warmup"] = schedule.warmup;
  json["warmup_init"] = schedule.warmup_init;
  Json::Array arguments;
  for (const double argument : schedule.arguments) {
    // Counts of steps stay whole numbers: the reference divides by them.
    if (argument >= 1 && argument == std::floor(argument) && argument < 1e15)
      arguments.emplace_back(static_cast<int64_t>(argument));
    else
      arguments.emplace_back(argument);
  }
  json["arguments"] = std::move(arguments);
  return json;
}

}  // namespace

const char* optimizer_name(OptimizerKind kind) {
  switch (kind) {
    case OptimizerKind::adam: return "adam";
    case OptimizerKind::adamw: return "adamw";
    case OptimizerKind::sgd: return "sgd";
  }
  return "?";
}

OptimizerKind parse_optimizer(std::string_view name) {
  for (const OptimizerKind kind : kOptimizers)
    if (name == optimizer_name(kind)) return kind;
  fail(Errc::unsupported, "optimizer: found {}, expected adam, adamw or sgd: there are no others here", name);
}

std::array<OptimizerConfig, 3> default_optimizers() {
  std::array<OptimizerConfig, 3> configs;
  configs[static_cast<size_t>(OptimizerKind::adamw)].weight_decay = 0.01f;
  return configs;
}

void TrainConfig::validate() const {
  const auto at_least = [](const char* name, int value, int least) {
    if (value < least) fail(Errc::usage, "{}: found {}, expected at least {}", name, value, least);
  };
  const auto or_all = [](const char* name, int value) {
    if (value < -1) fail(Errc::usage, "{}: found {}, expected a number of at least 0, or -1 for all", name, value);
  };
  if (seed > static_cast<uint64_t>(INT64_MAX))
    fail(Errc::usage, "seed: found {}, expected at most {}", seed, INT64_MAX);
  at_least("batch_size", batch_size, 1);
  at_least("iters", iters, 1);
  at_least("steps_per_report", steps_per_report, 1);
  at_least("steps_per_eval", steps_per_eval, 1);
  at_least("save_every", save_every, 1);
  at_least("max_seq_length", max_seq_length, 2);
  at_least("grad_accumulation_steps", grad_accumulation_steps, 1);
  at_least("lora_parameters.rank", lora_parameters.rank, 1);
  at_least("early_stop", early_stop, 0);
  or_all("num_layers", num_layers);
  if (num_layers == 0) fail(Errc::usage, "num_layers: found 0, expected at least 1, or -1 for all");
  or_all("val_batches", val_batches);
  or_all("test_batches", test_batches);
  if (test_batches == 0) fail(Errc::usage, "test_batches: found 0, expected at least 1, or -1 for all");
  if (!(learning_rate >= 0 && learning_rate <= kLargest))
    fail(Errc::usage, "learning_rate: found {}, expected a number from 0 to {}", learning_rate, kLargest);
  if (!(max_grad_norm >= 0 && max_grad_norm <= 1e30))
    fail(Errc::usage, "max_grad_norm: found {}, expected a number of at least 0", max_grad_norm);
  if (!std::isfinite(lora_parameters.scale))
    fail(Errc::usage, "lora_parameters.scale: found {}, expected a number", lora_parameters.scale);
  if (lora_parameters.dropout != 0)
    fail(Errc::unsupported,
         "lora_parameters.dropout: found {}, expected 0: dropout is not done here yet; fewer iterations, early_stop or "
         "a smaller rank also keep from learning by heart",
         lora_parameters.dropout);
  const OptimizerConfig& sgd = optimizer_configs[static_cast<size_t>(OptimizerKind::sgd)];
  if (sgd.nesterov && (sgd.momentum == 0 || sgd.dampening != 0))
    fail(Errc::usage, "optimizer_config.sgd: nesterov: found without momentum or with dampening");
  schedule();
}

TrainConfig parse_train_config(std::string_view yaml, std::string_view origin) {
  const YamlNode root = parse_yaml(yaml, origin);
  TrainConfig config;
  if (root.kind == YamlNode::Kind::null) return config;
  Fields fields(root, origin, "");
  fields.text("model", config.model);
  fields.boolean("train", config.train);
  fields.boolean("test", config.test);
  fields.text("data", config.data);
  std::string type = fine_tune_name(config.fine_tune_type);
  fields.text("fine_tune_type", type);
  config.fine_tune_type = parse_fine_tune_type(type);
  read_optimizers(fields, config);
  fields.integer("seed", config.seed, 0, INT64_MAX);
  fields.integer("num_layers", config.num_layers, -1, kMany);
  fields.integer("batch_size", config.batch_size, 1, kMany);
  fields.integer("iters", config.iters, 1, kMany);
  fields.integer("val_batches", config.val_batches, -1, kMany);
  fields.number("learning_rate", config.learning_rate, 0, kLargest);
  fields.integer("steps_per_report", config.steps_per_report, 1, kMany);
  fields.integer("steps_per_eval", config.steps_per_eval, 1, kMany);
  fields.text("resume_adapter_file", config.resume_adapter_file);
  fields.text("adapter_path", config.adapter_path);
  fields.integer("save_every", config.save_every, 1, kMany);
  fields.integer("test_batches", config.test_batches, -1, kMany);
  fields.integer("max_seq_length", config.max_seq_length, 2, kMany);
  fields.boolean("grad_checkpoint", config.grad_checkpoint);
  fields.integer("grad_accumulation_steps", config.grad_accumulation_steps, 1, kMany);
  read_schedule(fields, config);
  read_lora(fields, config.lora_parameters);
  fields.boolean("mask_prompt", config.mask_prompt);
  fields.number("max_grad_norm", config.max_grad_norm, 0, 1e30);
  fields.integer("early_stop", config.early_stop, 0, kMany);
  read_foreign(fields);
  fields.finish();
  config.validate();
  return config;
}

TrainConfig load_train_config(const std::filesystem::path& file) {
  return parse_train_config(read_file(file, size_t{1} << 20), file.string());
}

Json train_config_json(const TrainConfig& config) {
  const auto text_or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  Json json;
  json["adapter_path"] = config.adapter_path;
  json["batch_size"] = config.batch_size;
  json["data"] = config.data;
  json["early_stop"] = config.early_stop;
  json["fine_tune_type"] = fine_tune_name(config.fine_tune_type);
  json["grad_accumulation_steps"] = config.grad_accumulation_steps;
  json["grad_checkpoint"] = config.grad_checkpoint;
  json["iters"] = config.iters;
  json["learning_rate"] = config.learning_rate;
  Json& lora = json["lora_parameters"];
  lora["rank"] = config.lora_parameters.rank;
  lora["dropout"] = rounded(config.lora_parameters.dropout);
  lora["scale"] = rounded(config.lora_parameters.scale);
  if (!config.lora_parameters.keys.empty()) {
    Json::Array keys;
    for (const std::string& key : config.lora_parameters.keys) keys.emplace_back(key);
    lora["keys"] = std::move(keys);
  }
  json["lr_schedule"] = config.lr_schedule ? schedule_json(*config.lr_schedule) : Json();
  json["mask_prompt"] = config.mask_prompt;
  json["max_grad_norm"] = config.max_grad_norm;
  json["max_seq_length"] = config.max_seq_length;
  json["model"] = text_or_null(config.model);
  json["num_layers"] = config.num_layers;
  json["optimizer"] = optimizer_name(config.optimizer);
  for (const OptimizerKind kind : kOptimizers)
    json["optimizer_config"][optimizer_name(kind)] =
        optimizer_json(kind, config.optimizer_configs[static_cast<size_t>(kind)]);
  json["resume_adapter_file"] = text_or_null(config.resume_adapter_file);
  json["save_every"] = config.save_every;
  json["seed"] = static_cast<int64_t>(config.seed);
  json["steps_per_eval"] = config.steps_per_eval;
  json["steps_per_report"] = config.steps_per_report;
  json["test"] = config.test;
  json["test_batches"] = config.test_batches;
  json["train"] = config.train;
  json["val_batches"] = config.val_batches;
  return json;
}

}  // namespace inkstone
