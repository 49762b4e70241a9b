// Evaluation: how often a model's most probable answer is exactly the expected one, over a .jsonl file of chats whose
// last message is that answer; or how often it finds the right one of several given answers the most probable.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/completion.h"

namespace inkstone {

struct Question {
  std::string where;                 // "FILE: line N"
  Json messages;                     // up to the answer
  Json tools;                        // an array, or null
  std::optional<bool> thinking;      // enable_thinking of chat_template_kwargs
  std::string category;              // "" where the line has none
  std::string expected;              // the answer's text, or its tool calls as JSON
  std::vector<std::string> choices;  // what may be answered, `expected` among it; empty: anything
};

// Lines with messages (the last of the assistant: its content, or its tool_calls, are expected; its thinking is not
// looked at), or with prompt and completion, or with question, choices (two texts or more) and answer (one of them, or
// its place from 0); with tools, category and chat_template_kwargs {"enable_thinking": bool} where they have them.
// Throws Error(bad_file) with file and line, Error(unsupported) for other kwargs.
std::vector<Question> load_questions(const std::filesystem::path& file);

// A text without white space at its ends; a list of tool calls as one line of JSON, arguments in the order of names.
std::string answer_text(const Completion& completion);

struct Score {
  int64_t right = 0;
  int64_t asked = 0;
  int64_t tokens = 0;  // generated

  double share() const { return asked > 0 ? static_cast<double>(right) / static_cast<double>(asked) : 0; }
};

struct Answered {
  const Question* question;
  std::string found;
  bool right;
};

// Greedy answers of at most options.max_tokens; options.thinking wins over the questions' own. Of choices the one with
// the highest log probability a byte, without thinking: so a longer one is not less probable for its length. Scores by
// category, and under "" of all of them together. `on_answer` sees each.
std::map<std::string, Score> evaluate(LanguageModel& model, Generator& generator,
                                      const std::vector<Question>& questions, CompletionOptions options,
                                      const std::function<void(const Answered&)>& on_answer);

}  // namespace inkstone
