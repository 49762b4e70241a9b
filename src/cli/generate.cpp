#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "base/system.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace inkstone {
namespace {

struct GenerateFlags {
  ModelFlags model;
  AnswerFlags answer;
  std::string prompt;
  bool raw = false;
  bool json = false;
};

Json timing_report(const GenerationResult& result, double load_seconds) {
  const auto rate = [](int tokens, double seconds) { return seconds > 0 ? tokens / seconds : 0.0; };
  Json timings;
  timings["load_seconds"] = load_seconds;
  timings["prompt_seconds"] = result.prompt_seconds;
  timings["decode_seconds"] = result.decode_seconds;
  timings["prompt_tokens_per_second"] = rate(result.prompt_tokens - result.cached_tokens, result.prompt_seconds);
  timings["decode_tokens_per_second"] = rate(result.decode_steps, result.decode_seconds);
  return timings;
}

Json logprob_report(const Tokenizer& tokenizer, const std::vector<Sampled>& tokens) {
  Json list = Json::Array();
  for (const Sampled& sampled : tokens) {
    Json entry;
    entry["id"] = sampled.token;
    entry["token"] = tokenizer.decode({&sampled.token, 1});
    entry["logprob"] = sampled.logprob ? Json(static_cast<double>(*sampled.logprob)) : Json();
    Json top = Json::Array();
    for (const TokenLogprob& candidate : sampled.top) {
      Json row;
      row["id"] = candidate.token;
      row["token"] = tokenizer.decode({&candidate.token, 1});
      row["logprob"] = static_cast<double>(candidate.logprob);
      top.push_back(std::move(row));
    }
    entry["top"] = std::move(top);
    list.push_back(std::move(entry));
  }
  return list;
}

Json report(const LanguageModel& model, const Completion& completion, double load_seconds, bool logprobs) {
  const GenerationResult& result = completion.generation;
  Json json;
  json["model"] = model.folder().string();
  json["text"] = completion.text;
  json["thinking"] = completion.thinking;
  json["tool_calls"] = Json::Array();
  for (const ToolCall& call : completion.tool_calls) {
    Json entry;
    entry["name"] = call.name;
    entry["arguments"] = call.arguments;
    json["tool_calls"].push_back(std::move(entry));
  }
  json["finish_reason"] = finish_reason_name(result.finish);
  json["prompt_tokens"] = result.prompt_tokens;
  json["completion_tokens"] = static_cast<int>(result.tokens.size());
  json["thinking_tokens"] = completion.thinking_tokens;
  if (logprobs) json["logprobs"] = logprob_report(model.tokenizer(), completion.tokens);
  json["timings"] = timing_report(result, load_seconds);
  const ResidentMemory memory = resident_memory();
  json["resident_bytes"] = static_cast<int64_t>(memory.total);
  json["resident_anonymous_bytes"] = static_cast<int64_t>(memory.anonymous);
  return json;
}

Json conversation(const GenerateFlags& flags, const std::string& prompt) {
  Json messages = Json::Array();
  const auto add = [&](const char* role, const std::string& content) {
    Json message;
    message["role"] = role;
    message["content"] = content;
    messages.push_back(std::move(message));
  };
  if (!flags.answer.system.empty()) add("system", flags.answer.system);
  add("user", prompt);
  return messages;
}

void run_generate(const GenerateFlags& flags) {
  const std::string prompt = flags.prompt == "-" ? read_standard_input() : flags.prompt;
  if (prompt.empty()) fail(Errc::usage, "--prompt: found no text, expected some (or - and text on standard input)");
  const auto start = std::chrono::steady_clock::now();
  LanguageModel model(flags.model.folder(), flags.model.load_options());
  Generator generator(model.model(), flags.model.context_size(model));
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  const InterruptGuard guard;
  AnswerPrinter printer;
  PromptProgress progress;
  CompletionOptions options = flags.answer.completion_options();
  options.on_prompt = [&](int done, int total) { progress.show(done, total); };
  OnOutput on_output;
  if (!flags.json) on_output = [&](const OutputEvent& event) { printer.show(event); };
  const Completion completion =
      flags.raw ? complete_text(model, generator, prompt, options, on_output)
                : complete_chat(model, generator, conversation(flags, prompt), Json(), options, on_output);
  if (flags.json) {
    std::printf("%s\n", report(model, completion, load_seconds, options.sampling.logprobs.has_value()).dump(2).c_str());
  } else {
    printer.finish();
    if (completion.generation.finish == FinishReason::length)
      std::fprintf(stderr, "%s\n", dim("(stopped at the token limit)").c_str());
  }
  if (completion.generation.finish == FinishReason::cancelled) fail(Errc::interrupted, "interrupted");
}

}  // namespace

void add_generate(CLI::App& app) {
  auto flags = std::make_shared<GenerateFlags>();
  CLI::App* verb = app.add_subcommand("generate", "Answer one prompt");
  verb->add_option("-p,--prompt", flags->prompt, "The prompt; - reads it from standard input")->required();
  flags->model.add_to(*verb);
  flags->answer.add_to(*verb);
  CLI::Option* json = verb->add_flag("--json", flags->json, "One JSON object: text, thinking, token counts, timings");
  verb->add_option_function<int>(
          "--logprobs", [flags](int count) { flags->answer.sampling.logprobs = count; },
          "With --json: log-probabilities of each token and of so many alternatives")
      ->needs(json);
  CLI::Option* raw =
      verb->add_flag("--raw", flags->raw, "Continue the prompt as plain text, without the chat template");
  for (const char* name : {"--system", "--think", "--no-think"}) raw->excludes(verb->get_option(name));
  verb->callback([flags] { run_generate(*flags); });
}

}  // namespace inkstone
