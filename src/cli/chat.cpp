#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/chat_session.h"
#include "cli/line_reader.h"
#include "cli/terminal.h"
#include "cli/verbs.h"

namespace inkstone {
namespace {

struct ChatFlags {
  ModelFlags model;
  AnswerFlags answer;
};

// Lines until one that ends with """, where the first begins with it; else the line itself. Ctrl-C in such a message
// takes it back: what is read then is empty.
std::optional<std::string> read_message(LineReader& reader) {
  std::optional<std::string> line = reader.read("> ");
  if (!line || !line->starts_with("\"\"\"")) return line;
  std::string text = line->substr(3);
  while (!text.ends_with("\"\"\"")) {
    const std::optional<std::string> more = reader.read_more(". ");
    if (!more) {
      if (reader.cancelled()) return "";
      if (reader.interactive()) return std::nullopt;
      fail(Errc::usage, "\"\"\": found the end of input, expected another \"\"\" to end the message");
    }
    text += (text.empty() ? "" : "\n") + *more;
  }
  text.resize(text.size() - 3);
  return text;
}

void run_chat(const ChatFlags& flags) {
  LanguageModel model(flags.model.folder(), flags.model.load_options());
  model.chat_template();  // a base model has none: say so before the first question
  ChatSession session(model, flags.model.context_size(model), flags.answer);
  LineReader reader;
  if (reader.interactive())
    std::fprintf(stderr, "%s\n",
                 dim(fmt::format("{} on {}. /help lists the commands, /bye leaves.", model.folder().string(),
                                 model.device().description()))
                     .c_str());
  while (const std::optional<std::string> message = read_message(reader)) {
    if (message->find_first_not_of(" \t\n") == std::string::npos) continue;
    reader.remember(*message);
    try {
      if (message->starts_with('/')) {
        if (!session.command(*message)) break;
      } else {
        session.ask(*message);
      }
    } catch (const Error& error) {
      // Without a terminal nobody can answer to an error: it ends the run.
      if (!reader.interactive() || error.code() == Errc::internal) throw;
      std::fprintf(stderr, "%s\n", one_line(error.what()).c_str());
    }
  }
}

}  // namespace

void add_chat(CLI::App& app) {
  auto flags = std::make_shared<ChatFlags>();
  CLI::App* verb = app.add_subcommand("chat", "Talk to a model");
  flags->model.add_to(*verb);
  flags->answer.add_to(*verb);
  verb->callback([flags] { run_chat(*flags); });
}

}  // namespace inkstone
