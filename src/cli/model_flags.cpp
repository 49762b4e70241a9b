#include "cli/model_flags.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>

#include "base/embedded.h"
#include "base/mapped_file.h"
#include "base/system.h"
#include "cli/hub_model.h"
#include "cli/terminal.h"
#include "format/adapter.h"

namespace inkstone {
namespace {

constexpr const char* kEmbeddedModel = "embedded:/nano";

// CLI11 has no options into std::optional<bool>.
template <class T>
CLI::Option* add_optional(CLI::App& verb, const std::string& names, std::optional<T>& target, const std::string& text) {
  return verb.add_option_function<T>(
      names, [&target](const T& value) { target = value; }, text);
}

// The whole of `text` as a number; false if it is none or out of range.
template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// CLI11 would wrap a negative number and clamp a large one.
uint64_t parse_seed(const std::string& text) {
  uint64_t seed = 0;
  if (!parse_number(std::string_view(text), seed))
    fail(Errc::usage, "--seed {}: expected 0 to 18446744073709551615", text);
  return seed;
}

// "123=-5.5,7=1"
std::map<int32_t, float> parse_logit_bias(const std::vector<std::string>& entries) {
  std::map<int32_t, float> biases;
  for (const std::string& entry : entries) {
    const std::string_view text = entry;
    const size_t equals = std::min(text.find('='), text.size() - 1);
    int32_t token = 0;
    float bias = 0;
    if (!parse_number(text.substr(0, equals), token) || !parse_number(text.substr(equals + 1), bias) || token < 0)
      fail(Errc::usage, "--logit-bias {}: expected TOKEN=BIAS, such as 198=-5", entry);
    biases[token] = bias;
  }
  return biases;
}

// The model that an adapter was trained on, as adapter_config.json names it; "" where it does not say.
std::string adapter_base(const std::filesystem::path& adapter) {
  const std::filesystem::path file = adapter / kAdapterConfigFile;
  if (!file_exists(file)) return "";  // who opens the adapter says so
  const Json json = Json::parse(read_file(file, size_t{16} << 20), file.string());
  const Json* model = json.find("model");
  return model != nullptr && model->is_string() ? model->as_string() : "";
}

}  // namespace

void KvFlags::add_to(CLI::App& verb) {
  verb.add_option("--kv-bits", bits, "KV cache in 8 or 4 bits (default: bf16, or what --precision says)")
      ->check(CLI::IsMember({8, 4}));
  verb.add_option("--kv-group-size", group_size, "Values of a head that share a scale: 32, 64 or 128 (default: 64)")
      ->check(CLI::IsMember({32, 64, 128}))
      ->needs("--kv-bits");
}

void ModelFlags::add_to(CLI::App& verb) {
  add_without_context_to(verb);
  verb.add_option("-c,--ctx-size", ctx_size, "Context in tokens (default: the model's own, as far as memory reaches)")
      ->check(CLI::Range(1, 1 << 24));
}

void ModelFlags::add_without_context_to(CLI::App& verb) {
  verb.add_option("-m,--model", model, "Folder, GGUF file or name of a model (default: nano, inside this program)");
  verb.add_option("--adapter", adapter, "Folder of a LoRA or DoRA adapter as mlx_lm writes it");
  verb.add_option("-t,--threads", threads, "Threads (default: all that this process may use)")
      ->check(CLI::Range(1, 1024));
  verb.add_option_function<std::string>(
          "--precision", [this](const std::string& name) { f32 = name == "f32"; },
          "fast: operands and KV cache of 16 bits, sums in float32; f32: everything in float32")
      ->check(CLI::IsMember({"fast", "f32"}));
  verb.add_option(
      "--isa", isa,
      "scalar, avx2, avx512, amx, neon, neon_bf16, where the machine has it (default: INKSTONE_ISA, else the best)");
  kv.add_to(verb);
}

std::filesystem::path ModelFlags::folder() const {
  if (!model.empty()) return model_path("--model", model, may_pull);
  if (const std::string base = adapter.empty() ? "" : adapter_base(adapter); !base.empty()) {
    std::fprintf(stderr, "%s\n", dim(fmt::format("model {}, as the adapter says", base)).c_str());
    return model_path("--adapter: its model", base, may_pull);
  }
  std::fprintf(stderr,
               "No --model: this is nano, a tiny model inside this program. It calculates and\n"
               "knows Inkstone, and little else. --model opens a Qwen3 model: a folder in MLX\n"
               "format, a GGUF file, or a name such as qwen3:0.6b.\n\n");
  return kEmbeddedModel;
}

std::filesystem::path model_path(const char* flag, const std::string& model, bool may_pull) {
  if (!file_exists(model)) return named_model_folder(flag, model, may_pull);
  return model;
}

LoadOptions ModelFlags::load_options() const {
  LoadOptions options;
  options.device = {.precision = f32 ? Precision::f32 : Precision::fast,
                    .threads = threads,
                    .isa = isa,
                    .kv_bits = kv.bits,
                    .kv_group_size = kv.group_size};
  if (!adapter.empty()) options.adapter = adapter;
  return options;
}

int ModelFlags::context_size(const LanguageModel& opened) const {
  const int size = opened.context_size(ctx_size);
  const Residency& residency = opened.model().residency();
  if (residency.streams())
    std::fprintf(
        stderr, "%s\n",
        dim(fmt::format("weights {}, memory available {}: {} stay in memory, {} are read from the file as they "
                        "are needed (context {} tokens)",
                        human_bytes(static_cast<double>(opened.checkpoint().bytes())),
                        human_bytes(static_cast<double>(memory_info().available)),
                        human_bytes(static_cast<double>(residency.kept_bytes())),
                        human_bytes(static_cast<double>(residency.streamed_bytes())), size))
            .c_str());
  return size;
}

void AnswerFlags::add_to(CLI::App& verb) {
  add_optional(verb, "-n,--max-tokens", max_tokens, "Tokens to generate at most (default: up to the context)")
      ->check(CLI::Range(1, 1 << 24));
  add_optional(verb, "--temp", sampling.temperature, "Temperature; 0 takes the most probable token");
  add_optional(verb, "--top-p", sampling.top_p, "Nucleus: smallest set of tokens with this probability");
  add_optional(verb, "--top-k", sampling.top_k, "Only the k most probable tokens; 0: off");
  add_optional(verb, "--min-p", sampling.min_p, "Only tokens at least this probable relative to the best");
  add_optional(verb, "--repetition-penalty", sampling.repetition_penalty,
               "Divides the logits of recent tokens; 1: off");
  add_optional(verb, "--presence-penalty", sampling.presence_penalty, "Subtracted once from recent tokens");
  add_optional(verb, "--frequency-penalty", sampling.frequency_penalty, "Subtracted for each recent occurrence");
  verb.add_option_function<std::vector<std::string>>(
          "--logit-bias", [this](const auto& entries) { sampling.logit_bias = parse_logit_bias(entries); },
          "TOKEN=BIAS, added to a token's logit; may be repeated")
      ->delimiter(',');
  verb.add_option_function<std::string>(
      "--seed", [this](const std::string& text) { sampling.seed = parse_seed(text); },
      "Seed of the random numbers (default: a new one)");
  verb.add_option("--system", system, "System prompt");
  auto* think = verb.add_flag_callback(
      "--think", [this] { thinking = true; }, "Let the model think first");
  verb.add_flag_callback(
          "--no-think", [this] { thinking = false; }, "Answer without thinking")
      ->excludes(think);
  add_optional(verb, "--thinking-budget", thinking_budget, "Tokens of thinking before the answer must begin")
      ->check(CLI::Range(0, 1 << 24));
}

CompletionOptions AnswerFlags::completion_options() const {
  CompletionOptions options;
  options.sampling = sampling;
  options.max_tokens = max_tokens;
  options.thinking = thinking;
  options.thinking_budget = thinking_budget;
  options.cancelled = InterruptGuard::interrupted;
  return options;
}

std::string read_standard_input() {
  constexpr size_t kLimit = size_t{256} << 20;
  std::string text;
  char buffer[1 << 16];
  while (const size_t count = std::fread(buffer, 1, sizeof buffer, stdin)) {
    text.append(buffer, count);
    if (text.size() > kLimit) fail(Errc::usage, "standard input: found more than {} bytes", kLimit);
  }
  return text;
}

}  // namespace inkstone
