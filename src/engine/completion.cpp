#include "engine/completion.h"

#include "text/detokenizer.h"

namespace inkstone {
namespace {

MarkedText render(const LanguageModel& model, const Json& messages, const Json& tools, std::optional<bool> thinking) {
  Json kwargs;
  kwargs["add_generation_prompt"] = true;
  if (thinking) kwargs["enable_thinking"] = *thinking;
  return model.chat_template().render(messages, tools, kwargs);
}

// Whether a prompt leaves the model inside an open thinking block (the 2507 Thinking templates open it themselves).
bool opens_thinking(std::string_view prompt) {
  const size_t end = prompt.find_last_not_of(" \n\r\t");
  return end != std::string_view::npos && prompt.substr(0, end + 1).ends_with("<think>");
}

void record(const OutputEvent& event, Completion& completion) {
  switch (event.kind) {
    case OutputEvent::Kind::thinking: completion.thinking += event.text; break;
    case OutputEvent::Kind::content: completion.text += event.text; break;
    case OutputEvent::Kind::tool_call: completion.tool_calls.push_back({event.text, ""}); break;
    case OutputEvent::Kind::tool_call_arguments:
      completion.tool_calls.at(static_cast<size_t>(event.index)).arguments += event.text;
      break;
    case OutputEvent::Kind::tool_call_end:
      completion.tool_calls.at(static_cast<size_t>(event.index)).complete = true;
      break;
  }
}

// Generates from `prompt`. Each piece of decoded text goes to `on_text`.
Completion generate(LanguageModel& model, Generator& generator, std::vector<int32_t> prompt, bool inside_thinking,
                    bool thinking, const CompletionOptions& options,
                    const std::function<void(std::string_view)>& on_text) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.sampling = options.sampling.over(default_sampling(model.generation_config(), thinking));
  request.sampling.validate();
  for (const auto& [token, bias] : request.sampling.logit_bias)
    if (token >= model.config().vocab_size)
      fail(Errc::usage, "logit_bias: found token {}, expected one below the model's vocab_size {}", token,
           model.config().vocab_size);
  request.max_tokens = options.max_tokens;
  request.stop_tokens = model.stop_tokens();
  ThinkingBudget budget(model.tokenizer(), options.thinking_budget.value_or(ThinkingBudget::kUnlimited),
                        inside_thinking);
  request.thinking = &budget;

  Completion completion;
  // Special tokens are structure, not text; <think> and <tool_call> are not special and stay for the parser.
  Detokenizer detokenizer(model.tokenizer(), /*skip_special=*/true);
  GenerationCallbacks callbacks;
  callbacks.on_prompt = options.on_prompt;
  callbacks.cancelled = options.cancelled;
  callbacks.on_token = [&](const Sampled& sampled) {
    completion.tokens.push_back(sampled);
    on_text(detokenizer.add(sampled.token));
  };
  completion.generation = generator.generate(request, callbacks);
  on_text(detokenizer.finish());
  completion.thinking_tokens = budget.thinking_tokens();
  return completion;
}

}  // namespace

std::vector<int32_t> encode_chat(const LanguageModel& model, const Json& messages, const Json& tools,
                                 std::optional<bool> thinking) {
  return model.tokenizer().encode(render(model, messages, tools, thinking));
}

Completion complete_chat(LanguageModel& model, Generator& generator, const Json& messages, const Json& tools,
                         const CompletionOptions& options, const OnOutput& on_output) {
  const MarkedText prompt = render(model, messages, tools, options.thinking);
  const bool inside = opens_thinking(prompt.text);
  OutputParser parser({.starts_in_thinking = inside, .parse_tool_calls = !tools.is_null()});
  std::vector<OutputEvent> events;
  Completion parsed;
  const auto flush = [&] {
    for (const OutputEvent& event : events) {
      record(event, parsed);
      if (on_output) on_output(event);
    }
    events.clear();
  };
  Completion completion = generate(model, generator, model.tokenizer().encode(prompt), inside,
                                   options.thinking.value_or(true), options, [&](std::string_view text) {
                                     parser.feed(text, events);
                                     flush();
                                   });
  parser.finish(events);
  flush();
  completion.thinking = std::move(parsed.thinking);
  completion.text = std::move(parsed.text);
  completion.tool_calls = std::move(parsed.tool_calls);
  // A call that broke off is in the text, as it stood.
  std::erase_if(completion.tool_calls, [](const ToolCall& call) { return !call.complete; });
  return completion;
}

Completion complete_text(LanguageModel& model, Generator& generator, std::string_view prompt,
                         const CompletionOptions& options, const OnOutput& on_output) {
  std::string all;
  Completion completion = generate(model, generator, model.tokenizer().encode(prompt), opens_thinking(prompt), false,
                                   options, [&](std::string_view text) {
                                     all += text;
                                     if (on_output && !text.empty())
                                       on_output({OutputEvent::Kind::content, std::string(text), 0});
                                   });
  completion.text = std::move(all);
  return completion;
}

Json assistant_message(const Completion& completion) {
  Json message;
  message["role"] = "assistant";
  message["content"] = completion.text;
  if (!completion.thinking.empty()) message["reasoning_content"] = completion.thinking;
  for (const ToolCall& call : completion.tool_calls) {
    Json function;
    function["name"] = call.name;
    function["arguments"] = Json::parse(call.arguments, "tool call arguments");
    Json entry;
    entry["type"] = "function";
    entry["function"] = std::move(function);
    message["tool_calls"].push_back(std::move(entry));
  }
  return message;
}

}  // namespace inkstone
