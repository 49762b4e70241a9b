#include "cli/chat_session.h"

#include <charconv>
#include <cstdio>

#include "base/mapped_file.h"
#include "cli/terminal.h"
#include "format/atomic_file.h"
#include "text/unicode.h"

namespace inkstone {
namespace {

constexpr const char* kHelp =
    "/think, /no_think     let the model think before it answers, or not\n"
    "/set                  show the settings\n"
    "/set NAME VALUE       temp, top_p, top_k, min_p, repetition_penalty, presence_penalty, frequency_penalty, seed,\n"
    "                      max_tokens, thinking_budget; VALUE default takes it back\n"
    "/system TEXT          set the system prompt; without TEXT none\n"
    "/clear                forget the conversation\n"
    "/save FILE            write the conversation as JSON\n"
    "/load FILE            go on with one that was saved\n"
    "/help                 this list\n"
    "/bye                  leave\n"
    "\"\"\"                   begins and ends a message of several lines\n"
    "Ctrl-C stops an answer.\n";

// One setting of /set: the optional that it changes.
template <class T>
void assign(std::optional<T>& target, std::string_view name, std::string_view value) {
  if (value == "default") {
    target.reset();
    return;
  }
  T parsed{};
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  if (error != std::errc() || end != value.data() + value.size())
    fail(Errc::usage, "/set {}: found \"{}\", expected a number or default", name, value);
  target = parsed;
}

// A line of /set: the value that counts, and whether the user chose it.
template <class T, class Default>
void show(const char* name, const std::optional<T>& set, const Default& otherwise) {
  const std::string value = set ? fmt::format("{}", *set) : fmt::format("{} (default)", otherwise);
  std::fprintf(stderr, "%-19s %s\n", name, value.c_str());
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\n") + 1 - begin);
}

}  // namespace

ChatSession::ChatSession(LanguageModel& model, int context_size, const AnswerFlags& flags)
    : model_(model), generator_(model.model(), context_size), flags_(flags) {}

Json ChatSession::prompt_messages() const {
  if (flags_.system.empty()) return messages_;
  Json all = Json::Array();
  Json system;
  system["role"] = "system";
  system["content"] = flags_.system;
  all.push_back(std::move(system));
  for (const Json& message : messages_.as_array()) all.push_back(message);
  return all;
}

void ChatSession::ask(const std::string& text) {
  Json message;
  message["role"] = "user";
  message["content"] = to_valid_utf8(text);  // /save writes JSON
  messages_.push_back(std::move(message));
  const InterruptGuard guard;
  AnswerPrinter printer;
  PromptProgress progress;
  CompletionOptions options = flags_.completion_options();
  options.on_prompt = [&](int done, int total) { progress.show(done, total); };
  try {
    const Completion completion = complete_chat(model_, generator_, prompt_messages(), Json(), options,
                                                [&](const OutputEvent& event) { printer.show(event); });
    progress.clear();
    printer.finish();
    if (completion.generation.finish == FinishReason::length)
      std::fprintf(stderr, "%s\n", dim("(stopped at the token limit)").c_str());
    if (completion.generation.finish == FinishReason::cancelled) std::fprintf(stderr, "%s\n", dim("(stopped)").c_str());
    messages_.push_back(assistant_message(completion));
  } catch (...) {
    printer.finish();
    messages_.as_array().pop_back();
    throw;
  }
}

bool ChatSession::command(const std::string& line) {
  const size_t space = line.find_first_of(" \t\n");
  const std::string name = line.substr(0, space);
  const std::string argument(space == std::string::npos ? "" : trimmed(std::string_view(line).substr(space)));
  if (name == "/bye" || name == "/exit" || name == "/quit") return false;
  if (name == "/help" || name == "/?") {
    std::fputs(kHelp, stderr);
  } else if (name == "/think") {
    flags_.thinking = true;
  } else if (name == "/no_think") {
    flags_.thinking = false;
  } else if (name == "/set") {
    set(argument);
  } else if (name == "/system") {
    flags_.system = argument;
  } else if (name == "/clear") {
    messages_ = Json::Array();
    generator_.clear();
  } else if (name == "/save") {
    save(argument);
  } else if (name == "/load") {
    load(argument);
  } else {
    fail(Errc::usage, "{}: no such command; /help lists them", name);
  }
  return true;
}

void ChatSession::show_settings() const {
  const SamplingOverrides& set = flags_.sampling;
  const SamplingParams otherwise = default_sampling(model_.generation_config(), flags_.thinking.value_or(true));
  show("temp", set.temperature, otherwise.temperature);
  show("top_p", set.top_p, otherwise.top_p);
  show("top_k", set.top_k, otherwise.top_k);
  show("min_p", set.min_p, otherwise.min_p);
  show("repetition_penalty", set.repetition_penalty, otherwise.repetition_penalty);
  show("presence_penalty", set.presence_penalty, otherwise.presence_penalty);
  show("frequency_penalty", set.frequency_penalty, otherwise.frequency_penalty);
  show("seed", set.seed, "another each time");
  show("max_tokens", flags_.max_tokens, "up to the context");
  show("thinking_budget", flags_.thinking_budget, "none");
}

void ChatSession::set(std::string_view argument) {
  if (argument.empty()) return show_settings();
  SamplingOverrides& sampling = flags_.sampling;
  const size_t space = argument.find(' ');
  const std::string_view name = argument.substr(0, space);
  const std::string_view value = space == std::string_view::npos ? std::string_view() : trimmed(argument.substr(space));
  const AnswerFlags before = flags_;
  if (name == "temp" || name == "temperature")
    assign(sampling.temperature, name, value);
  else if (name == "top_p")
    assign(sampling.top_p, name, value);
  else if (name == "top_k")
    assign(sampling.top_k, name, value);
  else if (name == "min_p")
    assign(sampling.min_p, name, value);
  else if (name == "repetition_penalty")
    assign(sampling.repetition_penalty, name, value);
  else if (name == "presence_penalty")
    assign(sampling.presence_penalty, name, value);
  else if (name == "frequency_penalty")
    assign(sampling.frequency_penalty, name, value);
  else if (name == "seed")
    assign(sampling.seed, name, value);
  else if (name == "max_tokens")
    assign(flags_.max_tokens, name, value);
  else if (name == "thinking_budget")
    assign(flags_.thinking_budget, name, value);
  else
    fail(Errc::usage, "/set {}: no such setting; /help lists them", name);
  try {
    sampling.over({}).validate();
    if (flags_.max_tokens.value_or(1) < 1 || flags_.thinking_budget.value_or(0) < 0)
      fail(Errc::usage, "/set {}: found {}, expected a positive number", name, value);
  } catch (const Error&) {
    flags_ = before;
    throw;
  }
}

void ChatSession::save(const std::string& path) const {
  if (path.empty()) fail(Errc::usage, "/save: expected a file name");
  Json file;
  file["model"] = model_.folder().string();
  file["system"] = flags_.system;
  file["messages"] = messages_;
  write_file_atomically(path, file.dump(2) + "\n");
}

void ChatSession::load(const std::string& path) {
  if (path.empty()) fail(Errc::usage, "/load: expected a file name");
  const Json file = Json::parse(read_file(path, size_t{64} << 20), path);
  const Json* messages = file.find("messages");
  const Json* system = file.find("system");
  if (messages == nullptr || !messages->is_array())
    fail(Errc::bad_file, "{}: messages: expected an array, as /save writes it", path);
  for (const Json& message : messages->as_array())
    for (const char* name : {"role", "content"})
      if (const Json* value = message.find(name); value == nullptr || !value->is_string())
        fail(Errc::bad_file, "{}: messages: expected objects with a role and a content, as /save writes them", path);
  messages_ = *messages;
  flags_.system = system != nullptr && system->is_string() ? system->as_string() : "";
  std::fprintf(stderr, "%s\n", dim(fmt::format("{} messages", messages_.as_array().size())).c_str());
}

}  // namespace inkstone
