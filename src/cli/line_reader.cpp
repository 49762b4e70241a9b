#include "cli/line_reader.h"

#include <histedit.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <iostream>

#include "base/error.h"
#include "cli/terminal.h"

namespace inkstone {

struct LineReader::Editor {
  EditLine* line = nullptr;
  History* history = nullptr;
  const char* prompt = "";
};

LineReader::LineReader() : interactive_(isatty(STDIN_FILENO) == 1 && stdout_is_terminal()) {
  if (!interactive_) return;
  editor_ = std::make_unique<Editor>();
  editor_->line = el_init("inkstone", stdin, stdout, stderr);
  editor_->history = history_init();
  CHECK(editor_->line != nullptr && editor_->history != nullptr);
  HistEvent event;
  history(editor_->history, &event, H_SETSIZE, 1000);
  el_set(editor_->line, EL_CLIENTDATA, editor_.get());
  el_set(
      editor_->line, EL_PROMPT, +[](EditLine* line) {
        Editor* editor = nullptr;
        el_get(line, EL_CLIENTDATA, &editor);
        return const_cast<char*>(editor->prompt);
      });
  el_set(editor_->line, EL_EDITOR, "emacs");
  el_set(editor_->line, EL_HIST, history, editor_->history);
  el_source(editor_->line, nullptr);  // the user's ~/.editrc
}

LineReader::~LineReader() {
  if (!editor_) return;
  history_end(editor_->history);
  el_end(editor_->line);
}

std::optional<std::string> LineReader::read(const char* prompt) { return read(prompt, 2); }

std::optional<std::string> LineReader::read_more(const char* prompt) { return read(prompt, 1); }

std::optional<std::string> LineReader::read(const char* prompt, int interrupts_to_leave) {
  cancelled_ = false;
  if (!editor_) return read_plain();
  editor_->prompt = prompt;
  for (int interrupts = 0; interrupts < interrupts_to_leave;) {
    const InterruptGuard guard;
    int count = 0;
    errno = 0;
    const char* line = el_gets(editor_->line, &count);
    if (line != nullptr && count > 0) {
      std::string text(line, static_cast<size_t>(count));
      while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
      return text;
    }
    if (!InterruptGuard::interrupted()) break;  // Ctrl-D
    ++interrupts;
    cancelled_ = true;
    el_reset(editor_->line);
    if (interrupts < interrupts_to_leave)
      std::fprintf(stderr, "\n%s\n", dim("(Ctrl-C again, Ctrl-D or /bye leaves)").c_str());
  }
  std::fputc('\n', stderr);
  return std::nullopt;
}

std::optional<std::string> LineReader::read_plain() {
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  return line;
}

void LineReader::remember(const std::string& line) {
  if (!editor_) return;
  HistEvent event;
  history(editor_->history, &event, H_ENTER, line.c_str());
}

}  // namespace inkstone
