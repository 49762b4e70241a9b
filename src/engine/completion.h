// Completion: from messages (or a plain prompt) to thinking, answer and tool calls. Renders, encodes, generates,
// decodes and splits; what the command line, and later the server, show.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/generator.h"
#include "engine/language_model.h"
#include "text/output_parser.h"

namespace inkstone {

struct CompletionOptions {
  SamplingOverrides sampling;          // over the model's defaults for the mode
  std::optional<int> max_tokens;       // absent: up to the context
  std::optional<bool> thinking;        // the template's enable_thinking; absent: the template's own default
  std::optional<int> thinking_budget;  // tokens of thinking before the answer must begin
  std::function<void(int done, int total)> on_prompt;
  std::function<bool()> cancelled;
};

struct ToolCall {
  std::string name;
  std::string arguments;  // a JSON object as text
  bool complete = false;  // false only while it is being written
};

struct Completion {
  std::string thinking;
  std::string text;
  std::vector<ToolCall> tool_calls;
  GenerationResult generation;
  std::vector<Sampled> tokens;  // with logprobs where they were asked for
  int thinking_tokens = 0;
};

// Called with each piece as it becomes certain. May be empty.
using OnOutput = std::function<void(const OutputEvent&)>;

// Answers a conversation: messages as the chat template takes them, tools an array or null.
Completion complete_chat(LanguageModel& model, Generator& generator, const Json& messages, const Json& tools,
                         const CompletionOptions& options, const OnOutput& on_output = {});

// Continues a plain text. Everything generated is text: nothing is parsed.
Completion complete_text(LanguageModel& model, Generator& generator, std::string_view prompt,
                         const CompletionOptions& options, const OnOutput& on_output = {});

// The prompt's ids for a conversation, as complete_chat() reads it.
std::vector<int32_t> encode_chat(const LanguageModel& model, const Json& messages, const Json& tools,
                                 std::optional<bool> thinking);

// An assistant message for the next turn's history, as templates take it: content, and reasoning_content and
// tool_calls where there are any.
Json assistant_message(const Completion& completion);

}  // namespace inkstone
