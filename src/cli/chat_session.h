// ChatSession: a conversation on the command line: its messages, its settings, and the commands that change them.
#pragma once

#include <string>
#include <string_view>

#include "cli/model_flags.h"

namespace inkstone {

class ChatSession {
 public:
  ChatSession(LanguageModel& model, int context_size, const AnswerFlags& flags);

  // Adds the user's message and prints the model's answer as it comes. Ctrl-C stops the answer; what is there stays in
  // the conversation. On an error the message is taken back.
  void ask(const std::string& text);

  // Runs "/name argument". False when the user wants to leave. Throws Error(usage) for what it does not know.
  bool command(const std::string& line);

 private:
  void set(std::string_view argument);
  void show_settings() const;
  void save(const std::string& path) const;
  void load(const std::string& path);
  Json prompt_messages() const;

  LanguageModel& model_;
  Generator generator_;
  AnswerFlags flags_;
  Json messages_ = Json::Array();  // without the system prompt
};

}  // namespace inkstone
