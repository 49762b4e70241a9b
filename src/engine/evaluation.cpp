#include "engine/evaluation.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/json_lines.h"
#include "engine/perplexity.h"

namespace inkstone {
namespace {

std::string trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n"), last = text.find_last_not_of(" \t\r\n");
  return first == std::string_view::npos ? "" : std::string(text.substr(first, last - first + 1));
}

// Members in the order of their names, at every depth (a parser has bounded it).
Json sorted(const Json& json) {
  if (json.is_array()) {
    Json::Array list;
    for (const Json& value : json.as_array()) list.push_back(sorted(value));
    return list;
  }
  if (!json.is_object()) return json;
  Json::Object object;
  for (const auto& [name, value] : json.as_object()) object.emplace_back(name, sorted(value));
  std::ranges::sort(object, {}, &Json::Member::first);
  return object;
}

Json call(const std::string& name, const Json& arguments) {
  Json entry;
  entry["name"] = name;
  entry["arguments"] = sorted(arguments);
  return entry;
}

[[noreturn]] void reject(const std::string& where, std::string_view key, std::string_view expected) {
  fail(Errc::bad_file, "{}: {}: expected {}", where, key, expected);
}

std::string expected_calls(const Json& calls, const std::string& where) {
  if (!calls.is_array() || calls.as_array().empty()) reject(where, "tool_calls", "a list of calls");
  Json::Array list;
  for (const Json& entry : calls.as_array()) {
    const Json* function = entry.find("function") != nullptr ? entry.find("function") : &entry;
    const Json* name = function->find("name");
    const Json* arguments = function->find("arguments");
    if (name == nullptr || !name->is_string() || arguments == nullptr)
      reject(where, "tool_calls", "functions with name and arguments");
    list.push_back(call(name->as_string(), arguments->is_string()
                                               ? Json::parse(arguments->as_string(), where + ": arguments")
                                               : *arguments));
  }
  return Json(std::move(list)).dump();
}

Json message(const char* role, const Json& content) {
  Json message;
  message["role"] = role;
  message["content"] = content;
  return message;
}

std::optional<bool> thinking_of(const Json& line, const std::string& where) {
  const Json* kwargs = line.find("chat_template_kwargs");
  if (kwargs == nullptr || kwargs->is_null()) return std::nullopt;
  if (!kwargs->is_object()) reject(where, "chat_template_kwargs", "an object");
  std::optional<bool> thinking;
  for (const auto& [name, value] : kwargs->as_object()) {
    if (name != "enable_thinking")
      fail(Errc::unsupported, "{}: chat_template_kwargs: {}: expected only enable_thinking", where, name);
    if (!value.is_bool()) reject(where, "enable_thinking", "true or false");
    thinking = value.as_bool();
  }
  return thinking;
}

void parse_choices(const Json& line, const std::string& where, Question& question) {
  const Json* asked = line.find("question");
  if (asked == nullptr || !asked->is_string()) reject(where, "question", "a text beside choices");
  question.messages = Json::Array{message("user", *asked)};
  const Json& choices = *line.find("choices");
  if (!choices.is_array() || choices.as_array().size() < 2) reject(where, "choices", "a list of two texts or more");
  for (const Json& choice : choices.as_array()) {
    if (!choice.is_string() || choice.as_string().empty()) reject(where, "choices", "texts that are not empty");
    question.choices.push_back(choice.as_string());
  }
  const Json* answer = line.find("answer");
  const int64_t count = std::ssize(question.choices);
  if (answer != nullptr && answer->is_int() && answer->as_int() >= 0 && answer->as_int() < count)
    question.expected = question.choices[static_cast<size_t>(answer->as_int())];
  else if (answer != nullptr && answer->is_string() && std::ranges::count(question.choices, answer->as_string()) == 1)
    question.expected = answer->as_string();
  else
    reject(where, "answer", "one of the choices, or its place from 0");
}

Question parse_question(const Json& line, const std::string& where) {
  Question question;
  question.where = where;
  question.thinking = thinking_of(line, where);
  if (const Json* category = line.find("category"); category != nullptr && category->is_string())
    question.category = category->as_string();
  if (const Json* tools = line.find("tools"); tools != nullptr && !tools->is_null()) {
    if (!tools->is_array()) reject(where, "tools", "a list");
    question.tools = *tools;
  }
  if (line.find("choices") != nullptr) {
    parse_choices(line, where, question);
    return question;
  }
  const Json* prompt = line.find("prompt");
  const Json* completion = line.find("completion");
  if (prompt != nullptr && completion != nullptr) {
    if (!prompt->is_string() || !completion->is_string()) reject(where, "prompt, completion", "strings");
    question.messages = Json::Array{message("user", *prompt)};
    question.expected = trimmed(completion->as_string());
    return question;
  }
  const Json* messages = line.find("messages");
  if (messages == nullptr || !messages->is_array() || messages->as_array().size() < 2)
    reject(where, "messages", "a list of a question and its answer, or prompt and completion");
  Json::Array all = messages->as_array();
  const Json answer = all.back();
  const Json* role = answer.find("role");
  if (role == nullptr || *role != Json("assistant")) reject(where, "messages", "the last one of the assistant");
  all.pop_back();
  question.messages = std::move(all);
  if (const Json* calls = answer.find("tool_calls"); calls != nullptr && !calls->is_null()) {
    question.expected = expected_calls(*calls, where);
    return question;
  }
  const Json* content = answer.find("content");
  if (content == nullptr || !content->is_string()) reject(where, "the last message's content", "a text");
  question.expected = trimmed(content->as_string());
  return question;
}

}  // namespace

std::vector<Question> load_questions(const std::filesystem::path& file) {
  std::vector<Question> questions;
  for_each_json_line(file, [&](const Json& line, const std::string& where) {
    if (!line.is_object()) fail(Errc::bad_file, "{}: found {}, expected an object", where, line.type_name());
    questions.push_back(parse_question(line, where));
  });
  if (questions.empty()) fail(Errc::bad_file, "{}: found no question, expected at least one", file.string());
  return questions;
}

std::string answer_text(const Completion& completion) {
  if (completion.tool_calls.empty()) return trimmed(completion.text);
  Json::Array list;
  for (const ToolCall& made : completion.tool_calls) {
    try {
      list.push_back(call(made.name, Json::parse(made.arguments, "arguments")));
    } catch (const Error&) {
      list.push_back(call(made.name, made.arguments));  // no JSON: as it is, and wrong
    }
  }
  return Json(std::move(list)).dump();
}

namespace {

// The choice with the highest log probability a byte.
std::string chosen(const LanguageModel& model, Generator& generator, const Question& question) {
  const std::vector<int32_t> prompt = encode_chat(model, question.messages, question.tools, false);
  std::string best;
  double best_score = -std::numeric_limits<double>::infinity();
  for (const std::string& choice : question.choices) {
    Passage passage{prompt, static_cast<int>(prompt.size())};
    const std::vector<int32_t> tokens = model.tokenizer().encode_plain(choice);
    passage.tokens.insert(passage.tokens.end(), tokens.begin(), tokens.end());
    const double score = continuation_log_probability(generator, passage) / static_cast<double>(choice.size());
    if (score > best_score) {
      best_score = score;
      best = choice;
    }
  }
  return best;
}

// The greedy answer as text; `tokens` becomes how many it has.
std::string answered(LanguageModel& model, Generator& generator, const Question& question,
                     const CompletionOptions& options, int64_t& tokens) {
  try {
    if (!question.choices.empty()) return chosen(model, generator, question);
    const Completion completion = complete_chat(model, generator, question.messages, question.tools, options);
    if (completion.generation.finish == FinishReason::cancelled) fail(Errc::interrupted, "interrupted");
    tokens = std::ssize(completion.generation.tokens);
    return answer_text(completion);
  } catch (const Error& error) {
    if (error.code() != Errc::context_length) throw;
    return error.what();  // too long to be answered: wrong
  }
}

}  // namespace

std::map<std::string, Score> evaluate(LanguageModel& model, Generator& generator,
                                      const std::vector<Question>& questions, CompletionOptions options,
                                      const std::function<void(const Answered&)>& on_answer) {
  options.sampling.temperature = 0.0;
  options.sampling.repetition_penalty = 1.0;
  options.sampling.presence_penalty = options.sampling.frequency_penalty = 0.0;
  const std::optional<bool> thinking = options.thinking;
  std::map<std::string, Score> scores;
  for (const Question& question : questions) {
    options.thinking = thinking ? thinking : question.thinking;
    if (options.cancelled && options.cancelled()) fail(Errc::interrupted, "interrupted");
    int64_t tokens = 0;
    const std::string found = answered(model, generator, question, options, tokens);
    const Answered answer{&question, found, found == question.expected};
    const auto count = [&](Score& score) {
      score.right += answer.right ? 1 : 0;
      score.asked += 1;
      score.tokens += tokens;
    };
    count(scores[""]);
    if (!question.category.empty()) count(scores[question.category]);
    if (on_answer) on_answer(answer);
  }
  return scores;
}

}  // namespace inkstone
